//! Columns of PodDisruptionBudget.

use serde_json::Value;

use super::{Column, age, integer, name, name_column, number, shown, text};

pub(crate) const POD_DISRUPTION_BUDGET: &[Column] = &[
    name_column(),
    text("Min Available"),
    text("Max Unavailable"),
    integer("Allowed Disruptions"),
    text("Age"),
];

pub(crate) fn pod_disruption_budget(object: &Value, now: i64) -> Vec<Value> {
    vec![
        name(object),
        shown(object, "/spec/minAvailable", "N/A"),
        shown(object, "/spec/maxUnavailable", "N/A"),
        number(object, "/status/disruptionsAllowed"),
        age(object, now),
    ]
}
