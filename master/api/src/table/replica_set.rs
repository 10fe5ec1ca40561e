//! Columns of ReplicaSet.

use serde_json::Value;

use super::{Column, age, containers, integer, label_selector, name, name_column, text, wide};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    integer("Desired"),
    integer("Current"),
    integer("Ready"),
    text("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let number = |pointer: &str| object::integer(object, pointer).into();
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![
        name(object),
        number("/spec/replicas"),
        number("/status/replicas"),
        number("/status/readyReplicas"),
        age(object, now),
        names,
        images,
        label_selector(object.pointer("/spec/selector").unwrap_or(&Value::Null)),
    ]
}
