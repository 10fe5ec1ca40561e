//! Columns of CertificateSigningRequest.

use serde_json::Value;

use super::{Column, age, name, name_column, text};
use crate::{duration, object};

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Age"),
    text("SignerName"),
    text("Requestor"),
    text("RequestedDuration"),
    text("Condition"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let lasting = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    vec![
        name(object),
        age(object, now),
        object::text(object, "/spec/signerName").into(),
        object::text(object, "/spec/username").into(),
        lasting.map_or_else(|| "<none>".to_owned(), duration::human).into(),
        condition(object).into(),
    ]
}

/// Conditions in upstream's order, or that there are none.
fn condition(request: &Value) -> String {
    let is = |kind: &str| {
        object::items(request, "/status/conditions")
            .iter()
            .any(|condition| object::text(condition, "/type") == kind)
    };
    let mut words: Vec<&str> = if is("Denied") {
        vec!["Denied"]
    } else if is("Approved") {
        vec!["Approved"]
    } else {
        vec!["Pending"]
    };
    if is("Failed") {
        words.push("Failed");
    }
    if !object::text(request, "/status/certificate").is_empty() {
        words.push("Issued");
    }
    words.join(",")
}
