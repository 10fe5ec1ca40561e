//! Columns of ConfigMap, Secret and ServiceAccount.

use serde_json::Value;

use super::{Column, age, integer, name, name_column, text};
use crate::object;

pub(crate) const CONFIG_MAP_COLUMNS: &[Column] = &[name_column(), integer("Data"), text("Age")];

pub(crate) fn config_map_cells(object: &Value, now: i64) -> Vec<Value> {
    let entries = count(object, "data") + count(object, "binaryData");
    vec![name(object), entries.into(), age(object, now)]
}

pub(crate) const SECRET_COLUMNS: &[Column] =
    &[name_column(), text("Type"), integer("Data"), text("Age")];

pub(crate) fn secret_cells(object: &Value, now: i64) -> Vec<Value> {
    let kind = object::text(object, "/type").into();
    vec![name(object), kind, count(object, "data").into(), age(object, now)]
}

pub(crate) const SERVICE_ACCOUNT_COLUMNS: &[Column] =
    &[name_column(), integer("Secrets"), text("Age")];

pub(crate) fn service_account_cells(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), object::items(object, "/secrets").len().into(), age(object, now)]
}

fn count(object: &Value, key: &str) -> usize {
    object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}
