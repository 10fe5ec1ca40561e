//! Rules for `metadata`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::{names, unchanged};
use crate::object;
use crate::resource::Resource;
use crate::status::FieldError;

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Finalizers without a domain, as upstream.
const STANDARD_FINALIZERS: [&str; 3] = ["foregroundDeletion", "kubernetes", "orphan"];

pub(super) fn create(resource: &Resource, object: &Value, errors: &mut Errors) {
    let (name, generate) =
        (object::text(object, "/metadata/name"), object::text(object, "/metadata/generateName"));
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::required("metadata.name", detail));
    }
    if !generate.is_empty() {
        // The generated part is a valid end of a name.
        let wrong = (resource.strategy.name)(generate.trim_end_matches(['-', '.']));
        errors.extend(
            wrong.iter().map(|why| FieldError::invalid("metadata.generateName", generate, why)),
        );
    }
    if !name.is_empty() {
        let mut wrong = names::path_segment(name);
        if wrong.is_empty() {
            wrong = (resource.strategy.name)(name);
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
    common(object, errors);
}

pub(super) fn update(old: &Value, new: &Value, errors: &mut Errors) {
    common(new, errors);
    let fixed =
        ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.creationTimestamp"];
    errors.extend(fixed.into_iter().filter_map(|field| unchanged(old, new, field)));
    // An object on its way out gets no new finalizers: it would never go.
    if old.pointer("/metadata/deletionTimestamp").is_some() {
        let texts = |object| object::items(object, "/metadata/finalizers").iter();
        let before: BTreeSet<&str> = texts(old).filter_map(Value::as_str).collect();
        let added: Vec<String> = texts(new)
            .filter(|finalizer| !finalizer.as_str().is_some_and(|text| before.contains(text)))
            .take(super::errors::ERRORS_MAX)
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
}

fn common(object: &Value, errors: &mut Errors) {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    labels(metadata, "labels", "metadata", errors);
    annotations(metadata, "metadata", errors);
    for (index, finalizer) in object::items(metadata, "/finalizers").iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let field = format!("metadata.finalizers[{index}]");
        let wrong = names::qualified_name(finalizer);
        let known = finalizer.contains('/') || STANDARD_FINALIZERS.contains(&finalizer);
        if wrong.is_empty() && !known {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&field, finalizer, detail));
        }
        errors.extend(wrong.iter().map(|why| FieldError::invalid(&field, finalizer, why)));
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
}

/// Rules for a map of labels at a key of an object; `parent` is the object's own path.
pub(super) fn labels(object: &Value, key: &str, parent: &str, errors: &mut Errors) {
    let field = format!("{parent}.{key}");
    for (key, value) in object.get(key).and_then(Value::as_object).into_iter().flatten() {
        if errors.full() {
            return;
        }
        let value = value.as_str().unwrap_or_default();
        let wrong = names::qualified_name(key).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(&field, key.as_str(), &why)));
        let wrong = names::label_value(value).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(&field, value, &why)));
    }
}

/// Rules for the annotations in metadata; `parent` is the path of the metadata.
pub(super) fn annotations(metadata: &Value, parent: &str, errors: &mut Errors) {
    let field = format!("{parent}.annotations");
    let mut size = 0;
    let found = metadata.get("annotations").and_then(Value::as_object);
    for (key, value) in found.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        let wrong = names::qualified_name(&key.to_lowercase()).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(&field, key.as_str(), &why)));
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(&field, ANNOTATIONS_MAX));
    }
}
