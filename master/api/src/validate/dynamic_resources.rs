//! Rules for the kinds of `resource.k8s.io`.

use serde_json::Value;

use super::{all_unchanged, required};
use crate::object;
use crate::status::FieldError;

/// What is claimed does not change.
pub(crate) fn spec_unchanged(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec"])
}

pub(crate) fn slice(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["spec.driver", "spec.pool.name"]);
    let places = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let count = places
        .iter()
        .filter(|place| match object.pointer(&format!("/spec/{place}")) {
            Some(Value::Bool(set)) => *set,
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
            None => false,
        })
        .count();
    if count != 1 {
        let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
                      `perDeviceNodeSelection` is required";
        let spec = object.get("spec").cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec", spec, detail));
    }
    if object::integer(object, "/spec/pool/resourceSliceCount") < 1 {
        let detail = "must be greater than zero";
        errors.push(FieldError::invalid("spec.pool.resourceSliceCount", 0, detail));
    }
    errors
}

pub(crate) fn slice_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec.driver", "spec.pool.name", "spec.nodeName"])
}
