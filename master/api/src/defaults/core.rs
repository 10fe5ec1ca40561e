//! Defaults of kinds of `v1` that have no module of their own.

use serde_json::{Map, Value};

use super::workload::template;
use super::{items_mut, object_mut};
use crate::object::default;

/// A persistent volume.
pub(crate) fn persistent_volume(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "persistentVolumeReclaimPolicy", "Retain");
    default(spec, "volumeMode", "Filesystem");
    if let Some(path) = object_mut(spec, "hostPath")
        && !path.contains_key("type")
    {
        path.insert("type".to_owned(), "".into());
    }
}

/// A claim of a persistent volume.
pub(crate) fn persistent_volume_claim(fields: &mut Map<String, Value>) {
    if let Some(spec) = object_mut(fields, "spec") {
        claim_spec(spec);
    }
}

/// What a claim asks for, also in a template.
pub(super) fn claim_spec(spec: &mut Map<String, Value>) {
    default(spec, "volumeMode", "Filesystem");
    // Either name of the source of data stands for both.
    if let Some(source) = spec.get("dataSource").cloned() {
        default(spec, "dataSourceRef", source);
    }
}

/// Limits that follow from others: what containers get is at most what they may have.
pub(crate) fn limit_range(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    for limit in items_mut(spec, "limits") {
        if limit.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        let mut fill = |target: &str, source: &str| {
            let Some(Value::Object(amounts)) = limit.get(source).cloned() else { return };
            let slot = limit.entry(target).or_insert_with(|| Value::Object(Map::new()));
            if let Some(present) = slot.as_object_mut() {
                for (name, amount) in amounts {
                    present.entry(name).or_insert(amount);
                }
            }
        };
        fill("default", "max");
        fill("defaultRequest", "default");
        fill("defaultRequest", "min");
    }
}

/// A template of pods.
pub(crate) fn pod_template(fields: &mut Map<String, Value>) {
    template(fields);
}

/// Addresses of a service.
pub(crate) fn endpoints(fields: &mut Map<String, Value>) {
    for subset in items_mut(fields, "subsets") {
        items_mut(subset, "ports").for_each(|port| default(port, "protocol", "TCP"));
    }
}
