//! Rules for Pod: its spec, and what of it may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::errors::Errors;
use super::pod_spec;
use crate::object;
use crate::status::FieldError;

pub(crate) fn pod(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    pod_spec::pod_spec(object.get("spec").unwrap_or(&Value::Null), "spec", &mut errors);
    // They come by a subresource only, to a pod that is there.
    if !object::items(object, "/spec/ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    errors.list()
}

/// Only images, deadlines, added tolerations and removed gates of a pod may change; while a gate
/// holds it back, it may also become more choosy.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let after = tolerations(new);
    if !tolerations(old).is_subset(&after) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    let deadline = |pod: &Value| pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64);
    if let Some(old_deadline) = deadline(old)
        && deadline(new).is_none_or(|new_deadline| new_deadline > old_deadline)
    {
        let detail = format!("must be less than or equal to previous value `{old_deadline}`");
        let value = deadline(new).map_or(Value::Null, Value::from);
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", value, &detail));
    }
    gates(old, new, &mut errors);
    let count = |pod: &Value, list: &str| object::items(pod, &format!("/spec/{list}")).len();
    for list in ["containers", "initContainers"] {
        if count(old, list) != count(new, list) {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            return errors.list();
        }
    }
    let gated = !object::items(old, "/spec/schedulingGates").is_empty();
    if gated {
        node_selector(old, new, &mut errors);
    }
    if fixed_part(old, gated) != fixed_part(new, gated) {
        let detail = "pod updates may not change fields other than \
                      `spec.containers[*].image`,`spec.initContainers[*].image`,\
                      `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                      tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 \
                      if it was previously negative)";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors.list()
}

/// The tolerations of a pod without their seconds, which may change.
fn tolerations(pod: &Value) -> BTreeSet<String> {
    object::items(pod, "/spec/tolerations")
        .iter()
        .map(|toleration| {
            let mut toleration = toleration.clone();
            if let Some(fields) = toleration.as_object_mut() {
                fields.remove("tolerationSeconds");
            }
            toleration.to_string()
        })
        .collect()
}

/// Gates are opened, never added.
fn gates(old: &Value, new: &Value, errors: &mut Errors) {
    let names = |pod| {
        object::items(pod, "/spec/schedulingGates").iter().map(|gate| object::text(gate, "/name"))
    };
    let before: BTreeSet<&str> = names(old).collect();
    for (index, name) in names(new).enumerate().filter(|(_, name)| !before.contains(name)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.push(FieldError::forbidden(format!("spec.schedulingGates[{index}].name"), detail));
    }
}

/// A node selector may only get more entries.
fn node_selector(old: &Value, new: &Value, errors: &mut Errors) {
    let entries = object::map(new, "/spec/nodeSelector");
    let kept = object::map(old, "/spec/nodeSelector")
        .into_iter()
        .flatten()
        .all(|(key, value)| entries.is_some_and(|entries| entries.get(key) == Some(value)));
    if !kept {
        let shown = entries.cloned().map_or(Value::Null, Value::Object);
        let detail = "additions only are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid("spec.nodeSelector", shown, detail));
    }
}

fn fixed_part(pod: &Value, gated: bool) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_else(|| json!({}));
    let Some(fields) = spec.as_object_mut() else { return spec };
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        fields.remove(name);
    }
    if gated {
        fields.remove("nodeSelector");
    }
    for name in ["containers", "initContainers"] {
        let list = fields.get_mut(name).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    spec
}
