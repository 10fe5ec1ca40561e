//! Columns of PriorityClass.

use serde_json::Value;

use super::{Column, age, boolean, integer, name, name_column, number, text};
use crate::object;

pub(crate) const PRIORITY_CLASS: &[Column] = &[
    name_column(),
    integer("Value"),
    boolean("Global-Default"),
    text("Age"),
    text("PreemptionPolicy"),
];

pub(crate) fn priority_class(object: &Value, now: i64) -> Vec<Value> {
    vec![
        name(object),
        number(object, "/value"),
        object::truth(object, "/globalDefault").into(),
        age(object, now),
        object::text(object, "/preemptionPolicy").into(),
    ]
}
