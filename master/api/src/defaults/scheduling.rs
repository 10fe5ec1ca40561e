//! Defaults of PriorityClass.

use serde_json::{Map, Value};

use crate::object::default;

/// A priority of pods.
pub(crate) fn priority_class(fields: &mut Map<String, Value>) {
    default(fields, "preemptionPolicy", "PreemptLowerPriority");
}
