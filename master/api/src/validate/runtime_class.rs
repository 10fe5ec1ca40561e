//! Rules for RuntimeClass.

use serde_json::Value;

use super::{names, unchanged};
use crate::object;
use crate::status::FieldError;

pub(crate) fn runtime_class(object: &Value) -> Vec<FieldError> {
    let handler = object::text(object, "/handler");
    names::dns_label(handler)
        .iter()
        .map(|why| FieldError::invalid("handler", handler, why))
        .collect()
}

/// Another handler is another class.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "handler").into_iter().collect()
}
