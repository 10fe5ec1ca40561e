//! Columns of EndpointSlice.

use serde_json::Value;

use super::{Column, age, name, name_column, text};
use crate::object;

/// Ports and endpoints that are printed; the rest is counted.
const SHOWN_MAX: usize = 3;

pub(crate) const COLUMNS: &[Column] =
    &[name_column(), text("AddressType"), text("Ports"), text("Endpoints"), text("Age")];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let ports = object::items(object, "/ports").iter().map(|port| {
        match port.get("port").and_then(Value::as_i64) {
            Some(number) => number.to_string(),
            None => "*".to_owned(),
        }
    });
    let addresses = object::items(object, "/endpoints")
        .iter()
        .flat_map(|endpoint| object::items(endpoint, "/addresses"))
        .filter_map(Value::as_str)
        .map(ToOwned::to_owned);
    vec![
        name(object),
        object::text(object, "/addressType").into(),
        shorten(ports.collect()),
        shorten(addresses.collect()),
        age(object, now),
    ]
}

fn shorten(all: Vec<String>) -> Value {
    if all.is_empty() {
        return "<unset>".into();
    }
    let shown: Vec<&str> = all.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let shown = shown.join(",");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown.into(),
        more => format!("{shown} + {more} more...").into(),
    }
}
