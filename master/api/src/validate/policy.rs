//! Rules for PodDisruptionBudget.

use serde_json::Value;

use super::errors::Errors;
use super::selector;
use crate::object;
use crate::status::FieldError;

pub(crate) fn pod_disruption_budget(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let amounts = ["minAvailable", "maxUnavailable"];
    let present = |name: &str| object.pointer(&format!("/spec/{name}"));
    if amounts.iter().all(|name| present(name).is_some()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        let spec = object.get("spec").cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec", spec, detail));
    }
    for name in amounts {
        let Some(value) = present(name) else { continue };
        let number = match value {
            Value::String(text) => text
                .strip_suffix('%')
                .and_then(|text| text.parse::<i64>().ok())
                .filter(|percent| (0..=100).contains(percent)),
            Value::Number(number) => number.as_i64().filter(|number| *number >= 0),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if number.is_none() {
            let detail = if value.is_string() {
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                 '1%',  or '93%', regex used for validation is '[0-9]+%')"
            } else {
                "must be greater than or equal to 0"
            };
            errors.push(FieldError::invalid(format!("spec.{name}"), value.clone(), detail));
        }
    }
    if let Some(found) = object.pointer("/spec/selector") {
        selector::labels(found, "spec.selector", &mut errors);
    }
    let policy = object::text(object, "/spec/unhealthyPodEvictionPolicy");
    let known = ["AlwaysAllow", "IfHealthyBudget"];
    if !policy.is_empty() && !known.contains(&policy) {
        errors.push(FieldError::unsupported("spec.unhealthyPodEvictionPolicy", policy, &known));
    }
    errors.list()
}
