//! Columns of Node.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Column, age, name, name_column, or_none, text, wide};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Status"),
    text("Roles"),
    text("Age"),
    text("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let info = |key: &str| object::text(object, &format!("/status/nodeInfo/{key}"));
    let unknown =
        |text: &str| -> Value { if text.is_empty() { "<unknown>".into() } else { text.into() } };
    vec![
        name(object),
        status(object).into(),
        or_none(&roles(object)),
        age(object, now),
        info("kubeletVersion").into(),
        or_none(address(object, "InternalIP")),
        or_none(address(object, "ExternalIP")),
        unknown(info("osImage")),
        unknown(info("kernelVersion")),
        unknown(info("containerRuntimeVersion")),
    ]
}

fn status(node: &Value) -> String {
    let ready = object::items(node, "/status/conditions")
        .iter()
        .find(|condition| object::text(condition, "/type") == "Ready");
    let mut status = match ready.map(|condition| object::text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object::truth(node, "/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            Some(_) => None,
            None if key == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
            None => None,
        })
        .collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    object::items(node, "/status/addresses")
        .iter()
        .find(|address| object::text(address, "/type") == kind)
        .map_or("", |address| object::text(address, "/address"))
}
