//! Columns of kinds of `v1` that have no module of their own.

use serde_json::{Map, Value};

use super::{Column, age, containers, label_map, name, name_column, number, or_none, text, wide};
use crate::object;

pub(crate) const REPLICATION_CONTROLLER: &[Column] = super::replica_set::COLUMNS;

pub(crate) fn replication_controller(object: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![
        name(object),
        number(object, "/spec/replicas"),
        number(object, "/status/replicas"),
        number(object, "/status/readyReplicas"),
        age(object, now),
        names,
        images,
        label_map(object.pointer("/spec/selector")),
    ]
}

pub(crate) const PERSISTENT_VOLUME: &[Column] = &[
    name_column(),
    text("Capacity"),
    text("Access Modes"),
    text("Reclaim Policy"),
    text("Status"),
    text("Claim"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    text("Reason"),
    text("Age"),
    wide("VolumeMode"),
];

pub(crate) fn persistent_volume(object: &Value, now: i64) -> Vec<Value> {
    let claim = match object.pointer("/spec/claimRef") {
        Some(claim) => {
            format!("{}/{}", object::text(claim, "/namespace"), object::text(claim, "/name"))
        }
        None => String::new(),
    };
    let mut phase = object::text(object, "/status/phase").to_owned();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".clone_into(&mut phase);
    }
    vec![
        name(object),
        object::text(object, "/spec/capacity/storage").into(),
        access_modes(object, "/spec/accessModes").into(),
        object::text(object, "/spec/persistentVolumeReclaimPolicy").into(),
        phase.into(),
        claim.into(),
        storage_class(object).into(),
        unset(object, "/spec/volumeAttributesClassName"),
        object::text(object, "/status/reason").into(),
        age(object, now),
        unset(object, "/spec/volumeMode"),
    ]
}

pub(crate) const PERSISTENT_VOLUME_CLAIM: &[Column] = &[
    name_column(),
    text("Status"),
    text("Volume"),
    text("Capacity"),
    text("Access Modes"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    text("Age"),
    wide("VolumeMode"),
];

pub(crate) fn persistent_volume_claim(object: &Value, now: i64) -> Vec<Value> {
    let mut phase = object::text(object, "/status/phase").to_owned();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".clone_into(&mut phase);
    }
    let volume = object::text(object, "/spec/volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = object::text(object, "/status/capacity/storage").to_owned();
        (capacity, access_modes(object, "/status/accessModes"))
    };
    vec![
        name(object),
        phase.into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        storage_class(object).into(),
        unset(object, "/spec/volumeAttributesClassName"),
        age(object, now),
        unset(object, "/spec/volumeMode"),
    ]
}

fn unset(object: &Value, pointer: &str) -> Value {
    match object::text(object, pointer) {
        "" => "<unset>".into(),
        text => text.into(),
    }
}

/// The annotation that was there before the field still counts.
fn storage_class(object: &Value) -> &str {
    let annotation = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";
    match object::text(object, annotation) {
        "" => object::text(object, "/spec/storageClassName"),
        old => old,
    }
}

/// Access modes in their short forms, each once, in upstream's order.
fn access_modes(object: &Value, pointer: &str) -> String {
    let modes = object::items(object, pointer);
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .iter()
    .filter(|(mode, _)| modes.iter().any(|found| found == mode))
    .map(|(_, short)| *short)
    .collect::<Vec<_>>()
    .join(",")
}

pub(crate) const RESOURCE_QUOTA: &[Column] =
    &[name_column(), text("Request"), text("Limit"), text("Age")];

pub(crate) fn resource_quota(object: &Value, now: i64) -> Vec<Value> {
    let empty = Map::new();
    let hard = object.pointer("/status/hard").and_then(Value::as_object).unwrap_or(&empty);
    let mut names: Vec<&String> = hard.keys().collect();
    names.sort();
    let used = |name: &str| {
        let used = object.pointer("/status/used").and_then(|used| used.get(name));
        used.and_then(Value::as_str).unwrap_or("0").to_owned()
    };
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for name in names {
        let most = hard.get(name).and_then(Value::as_str).unwrap_or_default();
        let text = format!("{name}: {}/{most}", used(name));
        if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

pub(crate) const POD_TEMPLATE: &[Column] =
    &[name_column(), text("Containers"), text("Images"), text("Pod Labels")];

pub(crate) fn pod_template(object: &Value, _now: i64) -> Vec<Value> {
    let (names, images) = containers(object, "/template/spec/containers");
    vec![name(object), names, images, label_map(object.pointer("/template/metadata/labels"))]
}

/// Addresses that are printed; the rest is counted.
const ADDRESSES_MAX: usize = 3;

pub(crate) const ENDPOINTS: &[Column] = &[name_column(), text("Endpoints"), text("Age")];

pub(crate) fn endpoints(object: &Value, now: i64) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in object::items(object, "/subsets") {
        let ports = object::items(subset, "/ports");
        for address in object::items(subset, "/addresses") {
            let ip = object::text(address, "/ip");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{ip}:{}", object::integer(port, "/port"))));
        }
    }
    let shown: Vec<&str> = all.iter().take(ADDRESSES_MAX).map(String::as_str).collect();
    let more = all.len().saturating_sub(ADDRESSES_MAX);
    let text = match more {
        0 => shown.join(","),
        more => format!("{} + {more} more...", shown.join(",")),
    };
    vec![name(object), or_none(&text), age(object, now)]
}
