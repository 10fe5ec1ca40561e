//! Reading and writing `metadata` and the few other fields that are the same in all objects.

use bramble_api::Resource;
use serde_json::{Map, Value};

/// Returns a text field of `metadata`; empty when it is absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or("")
}

/// Returns a number field of `metadata`.
pub(crate) fn number(object: &Value, field: &str) -> Option<i64> {
    object.get("metadata")?.get(field)?.as_i64()
}

/// Sets a field of `metadata`.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(meta) = child(object, "metadata") {
        meta.insert(field.to_owned(), value);
    }
}

/// Removes a field of `metadata`.
pub(crate) fn remove(object: &mut Value, field: &str) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove(field);
    }
}

/// Returns `object[field]` as a map, made if it is absent; none when it is something else.
pub(crate) fn child<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let entry = object.as_object_mut()?.entry(field).or_insert_with(|| Map::new().into());
    if entry.is_null() {
        *entry = Map::new().into();
    }
    entry.as_object_mut()
}

/// Returns a text at a JSON pointer; empty when it is absent.
pub(crate) fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// Tells whether an object is being deleted.
pub(crate) fn deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// Tells whether `metadata.finalizers`, or `spec.finalizers` of a namespace, holds something.
pub(crate) fn held(resource: &Resource, object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|list| !list.is_empty()) || (resource.strategy.held)(object)
}

/// Raises `metadata.generation` by one, where there is one.
pub(crate) fn raise_generation(object: &mut Value) {
    if let Some(generation) = number(object, "generation") {
        set(object, "generation", Value::from(generation + 1));
    }
}

/// Tells whether two states differ in more than `resourceVersion` and times of managed fields.
pub(crate) fn differ(a: &Value, b: &Value) -> bool {
    strip(a) != strip(b)
}

fn strip(object: &Value) -> Value {
    let mut object = object.clone();
    remove(&mut object, "resourceVersion");
    let fields = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for entry in fields.into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::objects::Objects;

    #[test]
    fn fresh_times_of_managed_fields_are_no_difference() {
        let old = json!({"metadata": {"resourceVersion": "1",
            "managedFields": [{"manager": "a", "time": "1"}]}, "spec": 1});
        let mut new = json!({"metadata": {"resourceVersion": "2",
            "managedFields": [{"manager": "a", "time": "2"}]}, "spec": 1});
        assert!(!super::differ(&old, &new));
        new["spec"] = json!(2);
        assert!(super::differ(&old, &new));
    }

    #[test]
    fn only_a_namespace_is_held_by_its_spec() {
        let mut object = json!({"spec": {"finalizers": ["kubernetes"]}});
        assert!(super::held(Objects::resource("", "namespaces"), &object));
        let pods = Objects::resource("", "pods");
        assert!(!super::held(pods, &object));
        object["metadata"] = json!({"finalizers": ["x"]});
        assert!(super::held(pods, &object));
    }
}
