//! Rules for `metadata`.

use serde_json::Value;

use super::{names, unchanged};
use crate::object;
use crate::resource::Resource;
use crate::status::FieldError;

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

pub(super) fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, generate) =
        (object::text(object, "/metadata/name"), object::text(object, "/metadata/generateName"));
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::required("metadata.name", detail));
    }
    if !generate.is_empty() {
        // The generated part is a valid end of a name.
        let wrong = rule(resource)(generate.trim_end_matches(['-', '.']));
        errors.extend(
            wrong.iter().map(|why| FieldError::invalid("metadata.generateName", generate, why)),
        );
    }
    if !name.is_empty() {
        let mut wrong = names::path_segment(name);
        if wrong.is_empty() {
            wrong = rule(resource)(name);
        }
        errors.extend(wrong.iter().map(|why| FieldError::invalid("metadata.name", name, why)));
    }
    let namespace = object::text(object, "/metadata/namespace");
    if resource.namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required("metadata.namespace", ""));
        } else {
            errors.extend(
                names::dns_label(namespace)
                    .iter()
                    .map(|why| FieldError::invalid("metadata.namespace", namespace, why)),
            );
        }
    } else if !namespace.is_empty() {
        let detail = "not allowed on this type";
        errors.push(FieldError::forbidden("metadata.namespace", detail));
    }
    errors.extend(common(object));
    errors
}

pub(super) fn update(_resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = common(new);
    let fixed =
        ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.creationTimestamp"];
    errors.extend(fixed.into_iter().filter_map(|field| unchanged(old, new, field)));
    // An object on its way out gets no new finalizers: it would never go.
    if old.pointer("/metadata/deletionTimestamp").is_some() {
        let before = object::items(old, "/metadata/finalizers");
        let added: Vec<String> = object::items(new, "/metadata/finalizers")
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(ToString::to_string)
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    errors
}

fn rule(resource: &Resource) -> fn(&str) -> Vec<String> {
    match resource.kind {
        "Namespace" => names::dns_label,
        "Service" => names::dns_1035_label,
        _ => names::dns_subdomain,
    }
}

fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = labels(object, "metadata.labels");
    errors.extend(annotations(object, "metadata.annotations"));
    for (index, finalizer) in object::items(object, "/metadata/finalizers").iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        for why in names::qualified_name(finalizer) {
            let field = format!("metadata.finalizers[{index}]");
            errors.push(FieldError::invalid(field, finalizer, &why));
        }
    }
    let owners = object::items(object, "/metadata/ownerReferences");
    for (index, owner) in owners.iter().enumerate() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if object::text(owner, &format!("/{key}")).is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{key}");
                errors.push(FieldError::invalid(field, "", "must not be empty"));
            }
        }
    }
    let controllers = owners.iter().filter(|owner| object::truth(owner, "/controller")).count();
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid("metadata.ownerReferences", Value::Null, detail));
    }
    errors
}

/// Rules for a map of labels.
pub(super) fn labels(object: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let pointer = format!("/{}", field.replace('.', "/"));
    for (key, value) in object.pointer(&pointer).and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let wrong = names::qualified_name(key);
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, key.as_str(), why)));
        let wrong = names::label_value(value);
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, value, why)));
    }
    errors
}

/// Rules for a map of annotations.
pub(super) fn annotations(object: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    let pointer = format!("/{}", field.replace('.', "/"));
    for (key, value) in object.pointer(&pointer).and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        let wrong = names::qualified_name(&key.to_lowercase());
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field, key.as_str(), why)));
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(field, ANNOTATIONS_MAX));
    }
    errors
}
