//! Rules for containers: what they run, their ports, environment, mounts and resources.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::volume::{self, Volumes, label_name};
use super::{names, one_of, probe, security_context};
use crate::object;
use crate::quantity::Quantity;
use crate::status::FieldError;

/// Checks one container of a pod.
pub(super) fn check(
    container: &Value,
    field: &str,
    volumes: &Volumes<'_>,
    grace_s: i64,
    errors: &mut Errors,
) {
    label_name(object::text(container, "/name"), field, errors);
    let image = object::text(container, "/image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{field}.image"), image, detail));
    }
    for (name, known) in [
        ("imagePullPolicy", &["Always", "IfNotPresent", "Never"][..]),
        ("terminationMessagePolicy", &["File", "FallbackToLogsOnError"][..]),
    ] {
        let value = object::text(container, &format!("/{name}"));
        errors.extend(one_of(format!("{field}.{name}"), value, known));
    }
    if let Some(policy) = container.get("restartPolicy").and_then(Value::as_str) {
        let known = ["Always", "Never", "OnFailure"];
        errors.extend(one_of(format!("{field}.restartPolicy"), policy, &known));
    }
    ports(container, field, errors);
    environment(container, field, errors);
    mounts(container, field, volumes, errors);
    resources(container, field, errors);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = container.get(name) {
            probe::check(found, name, &format!("{field}.{name}"), errors);
        }
    }
    if let Some(lifecycle) = container.get("lifecycle") {
        probe::lifecycle(lifecycle, grace_s, &format!("{field}.lifecycle"), errors);
    }
    if let Some(context) = container.get("securityContext") {
        security_context::of_container(context, &format!("{field}.securityContext"), errors);
    }
}

/// What an ephemeral container may not have: nothing relies on it.
pub(super) fn ephemeral(container: &Value, field: &str, errors: &mut Errors) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    for name in [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        let empty = |value: &Value| match value {
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if container.get(name).is_some_and(|value| !empty(value)) {
            errors.push(FieldError::forbidden(format!("{field}.{name}"), WHY));
        }
    }
    for (index, mount) in object::items(container, "/volumeMounts").iter().enumerate() {
        for name in ["subPath", "subPathExpr"] {
            if !object::text(mount, &format!("/{name}")).is_empty() {
                let field = format!("{field}.volumeMounts[{index}].{name}");
                errors.push(FieldError::forbidden(field, WHY));
            }
        }
    }
}

/// The number of a port.
pub(super) fn port_number(value: i64, field: String, errors: &mut Errors) {
    if !(1..=65_535).contains(&value) {
        let detail = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(field, value, detail));
    }
}

fn ports(container: &Value, field: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, port) in object::items(container, "/ports").iter().enumerate() {
        let field = format!("{field}.ports[{index}]");
        let name = object::text(port, "/name");
        if !name.is_empty() {
            for why in names::port_name(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
        }
        match object::integer(port, "/containerPort") {
            0 => errors.push(FieldError::required(format!("{field}.containerPort"), "")),
            number => port_number(number, format!("{field}.containerPort"), errors),
        }
        let host = object::integer(port, "/hostPort");
        if host != 0 {
            port_number(host, format!("{field}.hostPort"), errors);
        }
        errors.extend(one_of(
            format!("{field}.protocol"),
            object::text(port, "/protocol"),
            &["SCTP", "TCP", "UDP"],
        ));
    }
}

fn environment(container: &Value, field: &str, errors: &mut Errors) {
    for (index, variable) in object::items(container, "/env").iter().enumerate() {
        let field = format!("{field}.env[{index}]");
        let name = object::text(variable, "/name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else {
            for why in names::environment_name(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
        }
        let Some(from) = variable.get("valueFrom").and_then(Value::as_object) else { continue };
        if !object::text(variable, "/value").is_empty() {
            let detail = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(format!("{field}.valueFrom"), "", detail));
        }
        if from.len() != 1 {
            let detail = if from.is_empty() {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
                 `secretKeyRef`"
            } else {
                "may not have more than one field specified at a time"
            };
            errors.push(FieldError::invalid(format!("{field}.valueFrom"), "", detail));
        }
        for name in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(reference) = from.get(name) {
                for key in ["name", "key"] {
                    if object::text(reference, &format!("/{key}")).is_empty() {
                        let field = format!("{field}.valueFrom.{name}.{key}");
                        errors.push(FieldError::required(field, ""));
                    }
                }
            }
        }
        if let Some(reference) = from.get("fieldRef") {
            let path = object::text(reference, "/fieldPath");
            const PATHS: &[&str] = &[
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ];
            let subscript =
                path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['");
            if !subscript {
                errors.extend(one_of(format!("{field}.valueFrom.fieldRef.fieldPath"), path, PATHS));
            }
        }
    }
}

fn mounts(container: &Value, field: &str, volumes: &Volumes<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, mount) in object::items(container, "/volumeMounts").iter().enumerate() {
        let field = format!("{field}.volumeMounts[{index}]");
        let (name, path) = (object::text(mount, "/name"), object::text(mount, "/mountPath"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(format!("{field}.name"), name));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{field}.mountPath"), ""));
        } else if !seen.insert(path) {
            let detail = "must be unique";
            errors.push(FieldError::invalid(format!("{field}.mountPath"), path, detail));
        }
        volume::mount_path(path, volumes.get(name), &format!("{field}.mountPath"), errors);
        for name in ["subPath", "subPathExpr"] {
            let below = object::text(mount, &format!("/{name}"));
            volume::descending(below, &format!("{field}.{name}"), errors);
        }
    }
}

fn resources(container: &Value, field: &str, errors: &mut Errors) {
    let field = format!("{field}.resources");
    let amounts = |kind: &str| {
        let pointer = format!("/resources/{kind}");
        container.pointer(&pointer).and_then(Value::as_object).into_iter().flatten()
    };
    for kind in ["limits", "requests"] {
        for (name, amount) in amounts(kind) {
            let text = amount.as_str().unwrap_or_default();
            for why in names::qualified_name(name) {
                errors.push(FieldError::invalid(format!("{field}.{kind}"), name.as_str(), &why));
            }
            if text.parse::<Quantity>().is_ok_and(|amount| amount.is_negative()) {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(format!("{field}.{kind}[{name}]"), text, detail));
            }
        }
    }
    for (name, request) in amounts("requests") {
        let limit =
            object::text(container, &format!("/resources/limits/{}", name.replace('/', "~1")));
        let request = request.as_str().unwrap_or_default();
        if let (Ok(amount), Ok(bound)) = (request.parse::<Quantity>(), limit.parse::<Quantity>())
            && amount > bound
        {
            let detail = format!("must be less than or equal to {name} limit of {bound}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &detail));
        }
    }
}
