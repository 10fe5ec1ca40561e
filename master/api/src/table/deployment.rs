//! Columns of Deployment.

use serde_json::Value;

use super::{Column, age, containers, integer, label_selector, name, name_column, text, wide};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Ready"),
    integer("Up-to-date"),
    integer("Available"),
    text("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let number = |pointer: &str| object::integer(object, pointer);
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![
        name(object),
        format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas")).into(),
        number("/status/updatedReplicas").into(),
        number("/status/availableReplicas").into(),
        age(object, now),
        names,
        images,
        label_selector(object.pointer("/spec/selector").unwrap_or(&Value::Null)),
    ]
}
