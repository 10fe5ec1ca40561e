//! Rules for probes and for what runs at the start and the end of a container.

use serde_json::Value;

use super::container::port_number;
use super::errors::Errors;
use super::{names, one_of};
use crate::object;
use crate::status::FieldError;

/// A probe of that name.
pub(super) fn check(probe: &Value, name: &str, field: &str, errors: &mut Errors) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], field, errors);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        let value = object::integer(probe, &format!("/{key}"));
        if value < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("{field}.{key}"), value, detail));
        }
    }
    let grace = probe.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if let Some(grace) = grace.filter(|grace| *grace <= 0) {
        let field = format!("{field}.terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(field, grace, "must be greater than 0"));
    }
    let successes = object::integer(probe, "/successThreshold");
    if name != "readinessProbe" && successes > 1 {
        let field = format!("{field}.successThreshold");
        errors.push(FieldError::invalid(field, successes, "must be 1"));
    }
}

/// What runs after the start and before the end; `grace_s` is what the end may take.
pub(super) fn lifecycle(lifecycle: &Value, grace_s: i64, field: &str, errors: &mut Errors) {
    for name in ["postStart", "preStop"] {
        let Some(hook) = lifecycle.get(name) else { continue };
        let field = format!("{field}.{name}");
        handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], &field, errors);
        if let Some(sleep) = hook.get("sleep") {
            let seconds = object::integer(sleep, "/seconds");
            if seconds < 0 || seconds > grace_s {
                let detail = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
                );
                let field = format!("{field}.sleep.seconds");
                errors.push(FieldError::invalid(field, seconds, &detail));
            }
        }
    }
}

/// Exactly one of the handlers has to be there, and it has to make sense.
fn handler(value: &Value, handlers: &[&str], field: &str, errors: &mut Errors) {
    let mut found = handlers.iter().filter(|handler| value.get(**handler).is_some());
    if found.next().is_none() {
        errors.push(FieldError::required(field, "must specify a handler type"));
    }
    let detail = "may not specify more than 1 handler type";
    errors.extend(found.map(|more| FieldError::forbidden(format!("{field}.{more}"), detail)));
    if let Some(exec) = value.get("exec")
        && object::items(exec, "/command").is_empty()
    {
        errors.push(FieldError::required(format!("{field}.exec.command"), ""));
    }
    if let Some(get) = value.get("httpGet") {
        let field = format!("{field}.httpGet");
        if object::text(get, "/path").is_empty() {
            errors.push(FieldError::required(format!("{field}.path"), ""));
        }
        let scheme = object::text(get, "/scheme");
        errors.extend(one_of(format!("{field}.scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for name in ["httpGet", "tcpSocket", "grpc"] {
        let field = format!("{field}.{name}.port");
        match value.get(name).map(|handler| handler.get("port")) {
            Some(Some(Value::String(port))) => {
                let wrong = names::port_name(port).into_iter();
                errors.extend(wrong.map(|why| FieldError::invalid(&field, port.as_str(), &why)));
            }
            Some(port) => {
                port_number(port.and_then(Value::as_i64).unwrap_or_default(), field, errors);
            }
            None => {}
        }
    }
}
