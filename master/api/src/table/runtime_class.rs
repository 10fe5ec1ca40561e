//! Columns of RuntimeClass.

use serde_json::Value;

use super::{Column, age, name, name_column, text};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[name_column(), text("Handler"), text("Age")];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::text(object, "/handler").into(), age(object, now)]
}
