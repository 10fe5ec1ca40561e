//! Rules for FlowSchema and PriorityLevelConfiguration.

use serde_json::Value;

use super::{one_of, required};
use crate::object;
use crate::status::FieldError;

pub(crate) fn flow_schema(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["spec.priorityLevelConfiguration.name"]);
    let precedence = object::integer(object, "/spec/matchingPrecedence");
    if !(1..=10_000).contains(&precedence) {
        let detail = "must be a value between 1 and 10000";
        errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, detail));
    }
    errors
}

pub(crate) fn priority_level(object: &Value) -> Vec<FieldError> {
    let kind = object::text(object, "/spec/type");
    let mut errors: Vec<FieldError> =
        one_of("spec.type".to_owned(), kind, &["Exempt", "Limited"]).into_iter().collect();
    if kind == "Limited" && object.pointer("/spec/limited").is_none() {
        let detail = "must not be empty when type is Limited";
        errors.push(FieldError::required("spec.limited", detail));
    }
    if kind == "Exempt" && object.pointer("/spec/limited").is_some() {
        let detail = "must be nil if the type is not Limited";
        errors.push(FieldError::forbidden("spec.limited", detail));
    }
    errors
}
