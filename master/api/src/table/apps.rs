//! Columns of StatefulSet, DaemonSet and ControllerRevision.

use serde_json::Value;

use super::{
    Column, age, containers, integer, label_map, label_selector, name, name_column, number,
    or_none, text, wide,
};
use crate::object;

pub(crate) const STATEFUL_SET: &[Column] =
    &[name_column(), text("Ready"), text("Age"), wide("Containers"), wide("Images")];

pub(crate) fn stateful_set(object: &Value, now: i64) -> Vec<Value> {
    let ready = object::integer(object, "/status/readyReplicas");
    let wanted = object::integer(object, "/spec/replicas");
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![name(object), format!("{ready}/{wanted}").into(), age(object, now), names, images]
}

pub(crate) const DAEMON_SET: &[Column] = &[
    name_column(),
    integer("Desired"),
    integer("Current"),
    integer("Ready"),
    integer("Up-to-date"),
    integer("Available"),
    text("Node Selector"),
    text("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(crate) fn daemon_set(object: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![
        name(object),
        number(object, "/status/desiredNumberScheduled"),
        number(object, "/status/currentNumberScheduled"),
        number(object, "/status/numberReady"),
        number(object, "/status/updatedNumberScheduled"),
        number(object, "/status/numberAvailable"),
        label_map(object.pointer("/spec/template/spec/nodeSelector")),
        age(object, now),
        names,
        images,
        label_selector(object.pointer("/spec/selector").unwrap_or(&Value::Null)),
    ]
}

pub(crate) const CONTROLLER_REVISION: &[Column] =
    &[name_column(), text("Controller"), integer("Revision"), text("Age")];

pub(crate) fn controller_revision(object: &Value, now: i64) -> Vec<Value> {
    let controller = object::items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| object::truth(owner, "/controller"));
    let controller = controller.map_or(String::new(), |owner| {
        let kind = object::text(owner, "/kind").to_lowercase();
        let name = object::text(owner, "/name");
        match object::text(owner, "/apiVersion").split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    });
    vec![name(object), or_none(&controller), number(object, "/revision"), age(object, now)]
}
