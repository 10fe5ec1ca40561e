//! Columns of the kinds of `storage.k8s.io`.

use serde_json::Value;

use super::{Column, age, boolean, integer, joined, name, name_column, shown, text, truth_text};
use crate::object;

pub(crate) const STORAGE_CLASS: &[Column] = &[
    name_column(),
    text("Provisioner"),
    text("ReclaimPolicy"),
    text("VolumeBindingMode"),
    text("AllowVolumeExpansion"),
    text("Age"),
];

pub(crate) fn storage_class(object: &Value, now: i64) -> Vec<Value> {
    let own = object::text(object, "/metadata/name");
    let marks = [
        "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
        "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
    ];
    let default = marks.iter().any(|mark| object::text(object, mark) == "true");
    let shown_name = if default { format!("{own} (default)") } else { own.to_owned() };
    vec![
        shown_name.into(),
        object::text(object, "/provisioner").into(),
        shown(object, "/reclaimPolicy", "Delete"),
        shown(object, "/volumeBindingMode", "Immediate"),
        truth_text(object, "/allowVolumeExpansion"),
        age(object, now),
    ]
}

pub(crate) const VOLUME_ATTACHMENT: &[Column] =
    &[name_column(), text("Attacher"), text("PV"), text("Node"), boolean("Attached"), text("Age")];

pub(crate) fn volume_attachment(object: &Value, now: i64) -> Vec<Value> {
    vec![
        name(object),
        object::text(object, "/spec/attacher").into(),
        object::text(object, "/spec/source/persistentVolumeName").into(),
        object::text(object, "/spec/nodeName").into(),
        object::truth(object, "/status/attached").into(),
        age(object, now),
    ]
}

pub(crate) const CSI_DRIVER: &[Column] = &[
    name_column(),
    boolean("AttachRequired"),
    boolean("PodInfoOnMount"),
    boolean("StorageCapacity"),
    text("TokenRequests"),
    boolean("RequiresRepublish"),
    text("Modes"),
    text("Age"),
];

pub(crate) fn csi_driver(object: &Value, now: i64) -> Vec<Value> {
    let attach = object.pointer("/spec/attachRequired").and_then(Value::as_bool).unwrap_or(true);
    let modes: Vec<&str> = object::items(object, "/spec/volumeLifecycleModes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let tokens = match joined(object, "/spec/tokenRequests", "/audience") {
        none if none.is_empty() => "<unset>".to_owned(),
        audiences => audiences,
    };
    let modes = if modes.is_empty() { "<none>".to_owned() } else { modes.join(",") };
    vec![
        name(object),
        attach.into(),
        object::truth(object, "/spec/podInfoOnMount").into(),
        object::truth(object, "/spec/storageCapacity").into(),
        tokens.into(),
        object::truth(object, "/spec/requiresRepublish").into(),
        modes.into(),
        age(object, now),
    ]
}

pub(crate) const CSI_NODE: &[Column] = &[name_column(), integer("Drivers"), text("Age")];

pub(crate) fn csi_node(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::items(object, "/spec/drivers").len().into(), age(object, now)]
}

pub(crate) const CSI_STORAGE_CAPACITY: &[Column] =
    &[name_column(), text("StorageClassName"), text("Capacity")];

pub(crate) fn csi_storage_capacity(object: &Value, _now: i64) -> Vec<Value> {
    vec![
        name(object),
        object::text(object, "/storageClassName").into(),
        shown(object, "/capacity", "<unset>"),
    ]
}

pub(crate) const VOLUME_ATTRIBUTES_CLASS: &[Column] =
    &[name_column(), text("DriverName"), text("Age")];

pub(crate) fn volume_attributes_class(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::text(object, "/driverName").into(), age(object, now)]
}
