//! Rules for Deployment and ReplicaSet.

use serde_json::Value;

use super::errors::Errors;
use super::{metadata, one_of, pod_spec, selector, unchanged};
use crate::object;
use crate::selector::Selector;
use crate::status::FieldError;

pub(crate) fn deployment(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(replica_set(object));
    let kind = object::text(object, "/spec/strategy/type");
    errors.extend(one_of("spec.strategy.type".to_owned(), kind, &["Recreate", "RollingUpdate"]));
    let rolling = object.pointer("/spec/strategy/rollingUpdate");
    if kind == "Recreate" && rolling.is_some() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    let mut zeros = 0;
    for key in ["maxUnavailable", "maxSurge"] {
        let Some(value) = rolling.and_then(|rolling| rolling.get(key)) else { continue };
        let field = format!("spec.strategy.rollingUpdate.{key}");
        let number = match value {
            Value::String(text) => text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok()),
            Value::Number(number) => number.as_i64(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number {
            None => {
                let detail = "a valid percent string must be a numeric string followed by an \
                              ending '%' (e.g. '1%',  or '93%', regex used for validation is \
                              '[0-9]+%')";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) if number < 0 => {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) if number > 100 && value.is_string() && key == "maxUnavailable" => {
                let detail = "must not be greater than 100%";
                errors.push(FieldError::invalid(field, value.clone(), detail));
            }
            Some(number) => zeros += usize::from(number == 0),
        }
    }
    if zeros == 2 {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, detail));
    }
    let deadline = object::integer(object, "/spec/progressDeadlineSeconds");
    if deadline <= object::integer(object, "/spec/minReadySeconds") {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, detail));
    }
    errors.list()
}

pub(crate) fn replica_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for key in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        let value = object::integer(object, &format!("/spec/{key}"));
        if value < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{key}"), value, detail));
        }
    }
    let labels = object.pointer("/spec/template/metadata/labels").unwrap_or(&Value::Null);
    if let Some(found) = object.pointer("/spec/selector") {
        selector::labels(found, "spec.selector", &mut errors);
    }
    match object.pointer("/spec/selector") {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => match Selector::from_label_selector(selector) {
            Err(error) if errors.is_empty() => {
                let detail = error.to_string();
                errors.push(FieldError::invalid("spec.selector", selector.clone(), &detail));
            }
            // What is wrong with it has been told.
            Err(_) => {}
            Ok(parsed) if parsed.is_everything() => {
                let detail = "empty selector is invalid for deployment";
                errors.push(FieldError::invalid("spec.selector", selector.clone(), detail));
            }
            Ok(parsed) if !parsed.matches_labels(labels) => {
                let detail = "`selector` does not match template `labels`";
                let field = "spec.template.metadata.labels";
                errors.push(FieldError::invalid(field, labels.clone(), detail));
            }
            Ok(_) => {}
        },
    }
    let Some(template) = object.pointer("/spec/template") else {
        errors.push(FieldError::required("spec.template", ""));
        return errors.list();
    };
    let metadata = template.get("metadata").unwrap_or(&Value::Null);
    metadata::labels(metadata, "labels", "spec.template.metadata", &mut errors);
    metadata::annotations(metadata, "spec.template.metadata", &mut errors);
    let spec = template.get("spec").unwrap_or(&Value::Null);
    pod_spec::pod_spec(spec, "spec.template.spec", &mut errors);
    if !object::items(spec, "/ephemeralContainers").is_empty() {
        let field = "spec.template.spec.ephemeralContainers";
        errors
            .push(FieldError::forbidden(field, "ephemeral containers not allowed in pod template"));
    }
    let policy = object::text(spec, "/restartPolicy");
    if !policy.is_empty() && policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::unsupported(field, policy, &["Always"]));
    }
    errors.list()
}

/// Which pods belong to an object is settled once.
pub(crate) fn selector_unchanged(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "spec.selector").into_iter().collect()
}
