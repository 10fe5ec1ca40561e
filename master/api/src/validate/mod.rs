//! Finds what is wrong with an object, in upstream's words.
//!
//! Types are not looked at here: decoding has done that.

pub(crate) mod admissionregistration;
pub(crate) mod apiextensions;
pub(crate) mod apiregistration;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod configuration;
mod container;
pub(crate) mod core;
pub(crate) mod dynamic_resources;
mod errors;
pub(crate) mod flowcontrol;
pub(crate) mod metadata;
pub mod names;
pub(crate) mod networking;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod pod_spec;
pub(crate) mod policy;
pub(crate) mod priority_class;
mod probe;
pub(crate) mod rbac;
pub(crate) mod runtime_class;
mod scheduling;
mod security_context;
mod selector;
pub(crate) mod service;
pub(crate) mod storage;
mod structural;
mod volume;
pub(crate) mod workload;

use serde_json::Value;

pub use self::errors::ERRORS_MAX;
pub(crate) use self::errors::Errors;
use crate::object;
use crate::resource::Resource;
use crate::status::FieldError;

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with an object that is to be created; it has its defaults.
#[must_use]
pub fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::create(resource, object, &mut errors);
    errors.extend(resource.problems(object, None));
    errors.list()
}

/// What is wrong with an object that is to replace another one.
#[must_use]
pub fn update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::update(old, new, &mut errors);
    errors.extend(resource.problems(new, Some(old)));
    errors.list()
}

/// What is wrong with a new status; the rest is not taken from the new object.
#[must_use]
pub fn status_update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata::update(old, new, &mut errors);
    errors.extend(resource.status_problems(new, old));
    errors.list()
}

/// What is wrong with new resources of a pod's containers.
#[must_use]
pub fn resize(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(resource.problems_of_whole(new));
    errors.extend(pod::resize(old, new));
    errors.list()
}

/// What is wrong with new ephemeral containers of a pod.
#[must_use]
pub fn ephemeral(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(resource.problems_of_whole(new));
    errors.extend(pod::ephemeral(old, new));
    errors.list()
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

/// Fields that must be what they were.
fn all_unchanged(old: &Value, new: &Value, fields: &[&str]) -> Vec<FieldError> {
    fields.iter().filter_map(|field| unchanged(old, new, field)).collect()
}

/// Texts that must be there.
fn required(object: &Value, fields: &[&str]) -> Vec<FieldError> {
    let absent = fields
        .iter()
        .filter(|field| object::text(object, &format!("/{}", field.replace('.', "/"))).is_empty());
    absent.map(|field| FieldError::required(*field, "")).collect()
}

/// Numbers that must not be negative.
fn not_negative(object: &Value, fields: &[&str]) -> Vec<FieldError> {
    fields
        .iter()
        .filter_map(|field| {
            let value = object::integer(object, &format!("/{}", field.replace('.', "/")));
            let detail = "must be greater than or equal to 0";
            (value < 0).then(|| FieldError::invalid(*field, value, detail))
        })
        .collect()
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
