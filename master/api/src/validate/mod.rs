//! Finds what is wrong with an object, in upstream's words.
//!
//! Types are not looked at here: decoding has done that.

pub(crate) mod configuration;
pub(crate) mod metadata;
pub mod names;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod pod_spec;
pub(crate) mod service;
pub(crate) mod workload;

use serde_json::Value;

use crate::resource::Resource;
use crate::status::FieldError;

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with an object that is to be created; it has its defaults.
#[must_use]
pub fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = metadata::create(resource, object);
    errors.extend((resource.validate)(object));
    errors
}

/// What is wrong with an object that is to replace another one.
#[must_use]
pub fn update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = metadata::update(resource, old, new);
    errors.extend((resource.validate)(new));
    errors.extend((resource.validate_update)(old, new));
    errors
}

/// What is wrong with a new status; the rest is not taken from the new object.
#[must_use]
pub fn status_update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    metadata::update(resource, old, new)
}

/// Kinds without rules.
pub(crate) fn nothing(_object: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// Kinds without rules for updates.
pub(crate) fn nothing_changed(_old: &Value, _new: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// A field must be what it was.
fn unchanged(old: &Value, new: &Value, field: &str) -> Option<FieldError> {
    let pointer = format!("/{}", field.replace('.', "/"));
    let (old, new) = (old.pointer(&pointer), new.pointer(&pointer));
    (old != new).then(|| FieldError::invalid(field, new.cloned().unwrap_or_default(), IMMUTABLE))
}

/// A value must be one of a list.
fn one_of(field: String, value: &str, known: &[&str]) -> Option<FieldError> {
    (!known.contains(&value)).then(|| {
        if value.is_empty() {
            FieldError::required(field, "")
        } else {
            FieldError::unsupported(field, value, known)
        }
    })
}

#[cfg(test)]
mod tests;
