//! Columns of ResourceClaim and ResourceSlice.

use serde_json::Value;

use super::{Column, age, name, name_column, shown, text};
use crate::object;

pub(crate) const CLAIM: &[Column] = &[name_column(), text("State"), text("Age")];

pub(crate) fn claim(object: &Value, now: i64) -> Vec<Value> {
    let mut states = Vec::new();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        states.push("deleted");
    }
    if object.pointer("/status/allocation").is_none() {
        if object.pointer("/metadata/deletionTimestamp").is_none() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        let reserved = !object::items(object, "/status/reservedFor").is_empty();
        if reserved {
            states.push("reserved");
        }
    }
    vec![name(object), states.join(",").into(), age(object, now)]
}

pub(crate) const SLICE: &[Column] =
    &[name_column(), text("Node"), text("Driver"), text("Pool"), text("Age")];

pub(crate) fn slice(object: &Value, now: i64) -> Vec<Value> {
    vec![
        name(object),
        shown(object, "/spec/nodeName", "<unset>"),
        object::text(object, "/spec/driver").into(),
        object::text(object, "/spec/pool/name").into(),
        age(object, now),
    ]
}
