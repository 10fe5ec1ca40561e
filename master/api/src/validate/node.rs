//! Rules for Node.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::{names, one_of};
use crate::object;
use crate::status::FieldError;

pub(crate) fn node(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let mut seen = BTreeSet::new();
    for (index, taint) in object::items(object, "/spec/taints").iter().enumerate() {
        let field = format!("spec.taints[{index}]");
        let (key, value, effect) = (
            object::text(taint, "/key"),
            object::text(taint, "/value"),
            object::text(taint, "/effect"),
        );
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{field}.key"), key, &why));
        }
        for why in names::label_value(value) {
            errors.push(FieldError::invalid(format!("{field}.value"), value, &why));
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.extend(one_of(format!("{field}.effect"), effect, &effects));
        if !seen.insert((key, effect)) {
            let detail = "taints must be unique by key and effect pair";
            let error = FieldError::duplicate(field, taint.clone());
            errors.push(FieldError { detail: format!("{}: {detail}", error.detail), ..error });
        }
    }
    errors.list()
}

/// What a node has been given stays with it.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["podCIDR", "podCIDRs", "providerID"] {
        let (before, after) =
            (old.pointer(&format!("/spec/{field}")), new.pointer(&format!("/spec/{field}")));
        if before.is_some() && before != after {
            let detail = "node updates may not change it except from \"\" to valid";
            errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
        }
    }
    errors
}
