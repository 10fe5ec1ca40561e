//! Fills in what users leave out, as upstream does; running it twice changes nothing.

pub(crate) mod admissionregistration;
pub(crate) mod apiextensions;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod configuration;
pub(crate) mod core;
pub(crate) mod dynamic_resources;
pub(crate) mod flowcontrol;
pub(crate) mod networking;
pub(crate) mod pod;
pub(crate) mod rbac;
pub(crate) mod scheduling;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod workload;

use serde_json::{Map, Value};

use crate::resource::Resource;

/// Fills in what an object leaves out; after decoding and after every patch.
pub fn apply(resource: &Resource, object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        resource.fill_in(fields);
    }
}

/// Kinds without defaults.
pub(crate) fn nothing(_object: &mut Map<String, Value>) {}

/// The objects of the list at `key`.
fn items_mut<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// The object at `key`, if there is one.
fn object_mut<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(key).and_then(Value::as_object_mut)
}

#[cfg(test)]
mod tests;
