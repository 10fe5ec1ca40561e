//! Defaults of Deployment, ReplicaSet, StatefulSet, DaemonSet and ReplicationController.

use serde_json::{Map, Value, json};

use super::core::claim_spec;
use super::{items_mut, object_mut, pod::pod_spec};
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

pub(super) fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = object_mut(spec, "template") {
        template.entry("metadata").or_insert_with(|| json!({}));
        if let Some(spec) = object_mut(template, "spec") {
            pod_spec(spec);
        }
    }
}

/// A stateful set.
pub(crate) fn stateful_set(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "updateStrategy", json!({}));
    if let Some(strategy) = object_mut(spec, "updateStrategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                default(rolling, "partition", 0);
            }
        }
    }
    default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(policy) = object_mut(spec, "persistentVolumeClaimRetentionPolicy") {
        default(policy, "whenDeleted", "Retain");
        default(policy, "whenScaled", "Retain");
    }
    for claim in items_mut(spec, "volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
        claim.entry("metadata").or_insert_with(|| json!({}));
        if let Some(spec) = object_mut(claim, "spec") {
            claim_spec(spec);
        }
        default(claim, "status", json!({}));
        if let Some(status) = object_mut(claim, "status") {
            default(status, "phase", "Pending");
        }
    }
    template(spec);
}

/// A daemon set.
pub(crate) fn daemon_set(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "updateStrategy", json!({}));
    if let Some(strategy) = object_mut(spec, "updateStrategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = object_mut(strategy, "rollingUpdate") {
                default(rolling, "maxUnavailable", 1);
                default(rolling, "maxSurge", 0);
            }
        }
    }
    template(spec);
}

/// A replication controller: its selector and its own labels default to the labels of its pods.
pub(crate) fn replication_controller(fields: &mut Map<String, Value>) {
    let labels =
        fields.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    if let (Some(labels), Some(metadata)) = (labels.clone(), object_mut(fields, "metadata")) {
        default(metadata, "labels", labels);
    }
    let Some(spec) = object_mut(fields, "spec") else { return };
    if let Some(labels) = labels {
        default(spec, "selector", labels);
    }
    default(spec, "replicas", 1);
    template(spec);
}
