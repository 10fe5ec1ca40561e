//! Columns of Lease.

use serde_json::Value;

use super::{Column, age, name, name_column, text};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[name_column(), text("Holder"), text("Age")];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::text(object, "/spec/holderIdentity").into(), age(object, now)]
}
