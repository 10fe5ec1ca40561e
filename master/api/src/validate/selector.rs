//! Rules for selectors: of labels, of nodes, and the keys that spread and affinity name.

use serde_json::Value;

use super::errors::Errors;
use super::{metadata, names};
use crate::object;
use crate::status::FieldError;

const LISTED: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const NOT_LISTED: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
const OPERATOR: &str = "not a valid selector operator";

/// A `LabelSelector`; null is none.
pub(super) fn labels(selector: &Value, field: &str, errors: &mut Errors) {
    metadata::labels(selector, "matchLabels", field, errors);
    for (index, expression) in object::items(selector, "/matchExpressions").iter().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        let values = object::items(expression, "/values");
        match object::text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(FieldError::required(format!("{field}.values"), LISTED));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(FieldError::forbidden(format!("{field}.values"), NOT_LISTED));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(FieldError::invalid(format!("{field}.operator"), other, OPERATOR));
            }
        }
        key(object::text(expression, "/key"), &format!("{field}.key"), errors);
        label_values(values, &field, errors);
    }
}

/// The terms of a `NodeSelector`, of which a node must satisfy one.
pub(super) fn node_terms(selector: &Value, field: &str, errors: &mut Errors) {
    let field = format!("{field}.nodeSelectorTerms");
    let terms = object::items(selector, "/nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&field, "must have at least one node selector term"));
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(term, &format!("{field}[{index}]"), errors);
    }
}

/// One term of a `NodeSelector`.
pub(super) fn node_term(term: &Value, field: &str, errors: &mut Errors) {
    for (index, expression) in object::items(term, "/matchExpressions").iter().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        let values = object::items(expression, "/values");
        match object::text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(FieldError::required(format!("{field}.values"), LISTED));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(FieldError::forbidden(format!("{field}.values"), NOT_LISTED));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(format!("{field}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                errors.push(FieldError::invalid(format!("{field}.operator"), other, OPERATOR));
            }
        }
        key(object::text(expression, "/key"), &format!("{field}.key"), errors);
        label_values(values, &field, errors);
    }
    for (index, requirement) in object::items(term, "/matchFields").iter().enumerate() {
        let field = format!("{field}.matchFields[{index}]");
        let values = object::items(requirement, "/values");
        match object::text(requirement, "/operator") {
            "In" | "NotIn" if values.len() != 1 => {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node \
                              field selector";
                errors.push(FieldError::required(format!("{field}.values"), detail));
            }
            "In" | "NotIn" => {}
            other => {
                errors.push(FieldError::invalid(format!("{field}.operator"), other, OPERATOR));
            }
        }
        let name = object::text(requirement, "/key");
        if name != "metadata.name" {
            let detail = "not a valid field selector key";
            errors.push(FieldError::invalid(format!("{field}.key"), name, detail));
            continue;
        }
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
            let wrong = names::dns_subdomain(value).into_iter();
            errors.extend(
                wrong.map(|why| {
                    FieldError::invalid(format!("{field}.values[{index}]"), value, &why)
                }),
            );
        }
    }
}

/// The key of a label.
pub(super) fn key(key: &str, field: &str, errors: &mut Errors) {
    let wrong = names::qualified_name(key).into_iter();
    errors.extend(wrong.map(|why| FieldError::invalid(field, key, &why)));
}

/// A key of labels by which nodes are grouped.
pub(super) fn topology_key(name: &str, field: &str, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(FieldError::required(field, "can not be empty"));
    }
    key(name, field, errors);
}

fn label_values(values: &[Value], field: &str, errors: &mut Errors) {
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        let wrong = names::label_value(value).into_iter();
        errors.extend(
            wrong.map(|why| FieldError::invalid(format!("{field}.values[{index}]"), value, &why)),
        );
    }
}
