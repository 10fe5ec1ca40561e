//! Rules for ConfigMap, Secret, Namespace, Lease and Event.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::names;
use crate::status::FieldError;
use crate::{convert, object};

/// Content of a config map or secret, in bytes.
const CONTENT_MAX: usize = 1024 * 1024;

pub(crate) fn config_map(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    keys(object, "data", &mut errors);
    keys(object, "binaryData", &mut errors);
    let entries = |name: &str| object.get(name).and_then(Value::as_object).into_iter().flatten();
    let data: BTreeSet<&String> = entries("data").map(|(key, _)| key).collect();
    for (key, _) in entries("binaryData").filter(|(key, _)| data.contains(key)) {
        let detail = "duplicate of key present in data";
        errors.push(FieldError::invalid(format!("data[{key}]"), key.as_str(), detail));
    }
    let texts = entries("data").map(|(_, value)| value.as_str().map_or(0, str::len));
    let bytes = entries("binaryData").map(|(_, value)| decoded_length(value));
    if texts.chain(bytes).sum::<usize>() > CONTENT_MAX {
        errors.push(FieldError::too_long("", CONTENT_MAX));
    }
    errors.list()
}

pub(crate) fn secret(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    keys(object, "data", &mut errors);
    let entries = object.get("data").and_then(Value::as_object).into_iter().flatten();
    if entries.map(|(_, value)| decoded_length(value)).sum::<usize>() > CONTENT_MAX {
        errors.push(FieldError::too_long("data", CONTENT_MAX));
    }
    let needed: &[&str] = match object::text(object, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    let held = |key: &str| object.get("data").and_then(|data| data.get(key));
    for key in needed {
        if held(key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    if object::text(object, "/type") == "kubernetes.io/basic-auth"
        && held("username").is_none()
        && held("password").is_none()
    {
        for key in ["username", "password"] {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    for key in [".dockerconfigjson", ".dockercfg"].iter().filter(|key| needed.contains(key)) {
        let content = held(key).and_then(Value::as_str).and_then(crate::protobuf::from_base64);
        let problem = content.and_then(|content| {
            serde_json::from_slice::<serde_json::Map<String, Value>>(&content).err()
        });
        if let Some(problem) = problem {
            let field = format!("data[{key}]");
            let shown = "<secret contents redacted>";
            errors.push(FieldError::invalid(field, shown, &problem.to_string()));
        }
    }
    errors.list()
}

/// The labels of a namespace that say what its pods may do have to be understood.
pub(crate) fn namespace(object: &Value) -> Vec<FieldError> {
    crate::pod_security::wrong_labels(object)
}

/// What is marked immutable stays as it is; the type of a secret does in any case.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = super::unchanged(old, new, "type").into_iter().collect();
    if object::truth(old, "/immutable") {
        let detail = "field is immutable when `immutable` is set";
        for field in ["data", "binaryData", "immutable"] {
            if old.get(field) != new.get(field) {
                errors.push(FieldError::forbidden(field, detail));
            }
        }
    }
    errors
}

pub(crate) fn lease(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let positive = |field: &str, least: i64, detail: &str| {
        let value = object.pointer(&format!("/spec/{field}")).and_then(Value::as_i64);
        value
            .filter(|value| *value < least)
            .map(|value| FieldError::invalid(format!("spec.{field}"), value, detail))
    };
    errors.extend(positive("leaseDurationSeconds", 1, "must be greater than 0"));
    errors.extend(positive("leaseTransitions", 0, "must be greater than or equal to 0"));
    errors
}

pub(crate) fn event(object: &Value) -> Vec<FieldError> {
    let namespace = object::text(object, "/metadata/namespace");
    let involved = object::text(object, "/involvedObject/namespace");
    // Events of objects without a namespace are in `default`.
    let expected = if involved.is_empty() { "default" } else { involved };
    if namespace == expected || (involved.is_empty() && namespace == "kube-system") {
        return Vec::new();
    }
    let detail = "does not match event.namespace";
    vec![FieldError::invalid("involvedObject.namespace", involved, detail)]
}

/// An event in the form of its own group, which has more that must be there.
pub(crate) fn event_of_group(object: &Value) -> Vec<FieldError> {
    let mut errors =
        super::required(object, &["reportingController", "reportingInstance", "action", "reason"]);
    if object.get("eventTime").is_none_or(Value::is_null) {
        errors.push(FieldError::required("eventTime", ""));
    }
    let mut kept = object.clone();
    convert::event::from_group(&mut kept);
    errors.extend(event(&kept));
    errors
}

fn keys(object: &Value, field: &str, errors: &mut Errors) {
    for (key, _) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
        let wrong = names::config_key(key).into_iter();
        errors.extend(
            wrong.map(|why| FieldError::invalid(format!("{field}[{key}]"), key.as_str(), &why)),
        );
    }
}

fn decoded_length(base64: &Value) -> usize {
    base64.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4)
}
