//! Server-side printing: the `Table` that `kubectl get` shows.

pub(crate) mod admissionregistration;
pub(crate) mod apiregistration;
pub(crate) mod apps;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod configuration;
pub(crate) mod core;
pub(crate) mod deployment;
pub(crate) mod dynamic_resources;
pub(crate) mod endpoint_slice;
pub(crate) mod event;
pub(crate) mod flowcontrol;
pub(crate) mod lease;
pub(crate) mod namespace;
pub(crate) mod networking;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod rbac;
pub(crate) mod replica_set;
pub(crate) mod runtime_class;
pub(crate) mod scheduling;
pub(crate) mod service;
pub(crate) mod storage;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::{duration, object, timestamp};

/// A column of a printed table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string` or `integer`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only by `-o wide`.
    pub priority: u8,
}

/// What of each object goes along with its row; the query parameter `includeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata`.
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; none if it is no known word.
    #[must_use]
    pub fn from_query(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "Metadata") => Some(Self::Metadata),
            Some("None") => Some(Self::None),
            Some("Object") => Some(Self::Object),
            Some(_) => None,
        }
    }
}

/// Prints objects as a `Table`.
///
/// `list_metadata` is the metadata of the list (or of the single object); `with_columns` is
/// false for the later events of a watch; `now` is in seconds since 1970.
#[must_use]
pub fn table(
    resource: &Resource,
    items: &[Value],
    list_metadata: &Value,
    include: IncludeObject,
    with_columns: bool,
    now: i64,
) -> Value {
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut row = json!({"cells": resource.cells(item, now)});
            let object = match include {
                IncludeObject::None => None,
                IncludeObject::Metadata => Some(json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": item.get("metadata").cloned().unwrap_or_else(|| json!({})),
                })),
                IncludeObject::Object => Some(item.clone()),
            };
            if let (Some(object), Some(fields)) = (object, row.as_object_mut()) {
                fields.insert("object".to_owned(), object);
            }
            row
        })
        .collect();
    let columns = if with_columns { resource.columns().into() } else { Value::Null };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_fields(list_metadata),
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn list_fields(metadata: &Value) -> Value {
    let mut fields = Map::new();
    for key in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = metadata.get(key) {
            fields.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(fields)
}

impl Column {
    /// How a table announces it.
    pub(crate) fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": "",
            "priority": self.priority,
        })
    }
}

/// Columns of kinds without columns of their own.
pub(crate) const PLAIN_COLUMNS: &[Column] = &[name_column(), text("Age")];

/// Cells of kinds without columns of their own.
pub(crate) fn plain_cells(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

/// Columns of kinds that are printed with the time of their creation.
pub(crate) const CREATED_AT_COLUMNS: &[Column] =
    &[name_column(), Column { name: "Created At", kind: "string", format: "", priority: 0 }];

/// Cells of kinds that are printed with the time of their creation.
pub(crate) fn created_at_cells(object: &Value, _now: i64) -> Vec<Value> {
    vec![name(object), object::text(object, "/metadata/creationTimestamp").into()]
}

pub(crate) const fn name_column() -> Column {
    Column { name: "Name", kind: "string", format: "name", priority: 0 }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0 }
}

const fn integer(name: &'static str) -> Column {
    Column { name, kind: "integer", format: "", priority: 0 }
}

const fn boolean(name: &'static str) -> Column {
    Column { name, kind: "boolean", format: "", priority: 0 }
}

const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1 }
}

/// Name of an object.
pub(crate) fn name(object: &Value) -> Value {
    object::text(object, "/metadata/name").into()
}

/// Age of an object.
fn age(object: &Value, now: i64) -> Value {
    since(object::text(object, "/metadata/creationTimestamp"), now).into()
}

/// Time since a timestamp; `<unknown>` if there is none.
fn since(time: &str, now: i64) -> String {
    match timestamp::parse(time) {
        Some(then) => duration::human(now.saturating_sub(then)),
        None => "<unknown>".to_owned(),
    }
}

/// Text at a place; `<none>` if there is none.
fn text_or_none(object: &Value, pointer: &str) -> Value {
    or_none(object::text(object, pointer))
}

/// Number at a place.
fn number(object: &Value, pointer: &str) -> Value {
    object::integer(object, pointer).into()
}

/// Truth value at a place, as a text.
fn truth_text(object: &Value, pointer: &str) -> Value {
    object::truth(object, pointer).to_string().into()
}

/// Number or text at a place as a text; `absent` if there is none.
fn shown(object: &Value, pointer: &str, absent: &str) -> Value {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string().into(),
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => absent.into(),
    }
}

/// A map of texts in the notation of the command line.
fn label_map(labels: Option<&Value>) -> Value {
    let pairs: BTreeMap<&String, &str> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
        .collect();
    let text: Vec<String> =
        pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&text.join(","))
}

/// Texts of the items of a list, with commas between.
fn joined(object: &Value, list: &str, item: &str) -> String {
    let texts: Vec<&str> =
        object::items(object, list).iter().map(|one| object::text(one, item)).collect();
    texts.join(",")
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Names and images of the containers of a template.
fn containers(object: &Value, pointer: &str) -> (Value, Value) {
    let list = object::items(object, pointer);
    let join = |key: &str| {
        list.iter().map(|container| object::text(container, key)).collect::<Vec<_>>().join(",")
    };
    (join("/name").into(), join("/image").into())
}

/// A `LabelSelector` in the notation of the command line.
fn label_selector(selector: &Value) -> Value {
    let mut parts = BTreeMap::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
    {
        parts.insert(key.clone(), format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in object::items(selector, "/matchExpressions") {
        let key = object::text(expression, "/key");
        let values: Vec<&str> =
            object::items(expression, "/values").iter().filter_map(Value::as_str).collect();
        let values = values.join(",");
        let text = match object::text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.insert(key.to_owned(), text);
    }
    or_none(&parts.into_values().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
