//! Rules for Pod: its spec, and what of it may change.

use serde_json::{Value, json};

use super::pod_spec;
use crate::object;
use crate::status::FieldError;

pub(crate) fn pod(object: &Value) -> Vec<FieldError> {
    pod_spec::pod_spec(object.get("spec").unwrap_or(&Value::Null), "spec")
}

/// Only images, deadlines and added tolerations of a pod may change.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let before = object::items(old, "/spec/tolerations");
    let after = object::items(new, "/spec/tolerations");
    // The seconds of a toleration may change, so they are not compared.
    let bare = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    if !before.iter().all(|one| after.iter().any(|other| bare(one) == bare(other))) {
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
    let count = |pod: &Value| object::items(pod, "/spec/containers").len();
    if count(old) != count(new) {
        let detail = "pod updates may not add or remove containers";
        errors.push(FieldError::forbidden("spec.containers", detail));
        return errors;
    }
    if fixed_part(old) != fixed_part(new) {
        let detail = "pod updates may not change fields other than \
                      `spec.containers[*].image`,`spec.initContainers[*].image`,\
                      `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                      tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 \
                      if it was previously negative)";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

fn fixed_part(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_else(|| json!({}));
    let Some(fields) = spec.as_object_mut() else { return spec };
    fields.remove("activeDeadlineSeconds");
    fields.remove("tolerations");
    for name in ["containers", "initContainers"] {
        let list = fields.get_mut(name).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    spec
}
