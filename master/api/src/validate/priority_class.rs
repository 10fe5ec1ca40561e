//! Rules for PriorityClass.

use serde_json::Value;

use super::errors::Errors;
use super::{all_unchanged, one_of};
use crate::object;
use crate::status::FieldError;

/// The highest priority that users may give away; above it is the system's.
const USER_MAX: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(crate) fn priority_class(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let name = object::text(object, "/metadata/name");
    let value = object::integer(object, "/value");
    if name.starts_with("system-") {
        if !SYSTEM.contains(&(name, value)) {
            let detail = "priority class names with 'system-' prefix are reserved for system use \
                          only. error: not a known system priority class";
            errors.push(FieldError::forbidden("metadata.name", detail));
        }
    } else if value > USER_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_MAX}");
        errors.push(FieldError::forbidden("value", detail));
    }
    let policy = object::text(object, "/preemptionPolicy");
    let known = ["Never", "PreemptLowerPriority"];
    errors.extend(one_of("preemptionPolicy".to_owned(), policy, &known));
    errors.list()
}

pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = all_unchanged(old, new, &["preemptionPolicy"]);
    if old.get("value") != new.get("value") {
        let detail = "may not be changed in an update.";
        errors.push(FieldError::forbidden("value", detail));
    }
    errors
}
