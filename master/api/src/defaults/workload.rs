//! Defaults of Deployment and ReplicaSet.

use serde_json::{Map, Value, json};

use super::{object_mut, pod::pod_spec};
use crate::object::default;

/// A deployment.
pub(crate) fn deployment(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    if let Some(strategy) = object_mut(spec, "strategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
    }
    template(spec);
}

/// A replica set.
pub(crate) fn replica_set(fields: &mut Map<String, Value>) {
    let labels =
        fields.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    // Labels of the object itself default to those of its pods, as upstream has it.
    if let (Some(labels), Some(metadata)) = (labels, object_mut(fields, "metadata")) {
        default(metadata, "labels", labels);
    }
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "replicas", 1);
    template(spec);
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = object_mut(spec, "template") {
        template.entry("metadata").or_insert_with(|| json!({}));
        if let Some(spec) = object_mut(template, "spec") {
            pod_spec(spec);
        }
    }
}
