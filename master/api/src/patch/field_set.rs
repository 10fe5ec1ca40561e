//! Sets of fields, as `managedFields` names them: paths whose parts are `f:field`,
//! `k:{"key":"value"}` for an item of a list, and `v:value` for an item of a set.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::field_type;
use crate::schema::{ListType, Type};

/// A path from the root of an object.
pub(super) type Path = Vec<String>;

/// Paths that someone owns.
pub(super) type FieldSet = BTreeSet<Path>;

/// Default of a key of a list that an item leaves out: only protocols have one.
const PROTOCOL: &str = "TCP";

/// All fields that a value sets.
pub(super) fn of_value(kind: Type<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    collect(kind, value, &mut Path::new(), &mut set);
    set
}

fn collect(kind: Type<'_>, value: &Value, path: &mut Path, set: &mut FieldSet) {
    match (kind, value) {
        (Type::Message(message), Value::Object(fields))
            if !fields.is_empty() && !message.atomic() =>
        {
            collect_fields(kind, fields, path, set);
        }
        (Type::Map(_), Value::Object(fields)) if !fields.is_empty() => {
            collect_fields(kind, fields, path, set);
        }
        (
            Type::List(item_kind, list_type @ (ListType::Map(_) | ListType::Set)),
            Value::Array(items),
        ) if !items.is_empty() => {
            for item in items {
                path.push(item_part(list_type, item));
                set.insert(path.clone());
                if let (ListType::Map(_), Value::Object(fields)) = (list_type, item) {
                    collect_fields(item_kind.kind(), fields, path, set);
                }
                path.pop();
            }
        }
        _ => {
            set.insert(path.clone());
        }
    }
}

fn collect_fields(
    kind: Type<'_>,
    fields: &Map<String, Value>,
    path: &mut Path,
    set: &mut FieldSet,
) {
    for (key, value) in fields {
        path.push(format!("f:{key}"));
        collect(field_type(kind, key), value, path, set);
        path.pop();
    }
}

/// Part of a path for an item of a list.
pub(super) fn item_part(list_type: ListType<'_>, item: &Value) -> String {
    match list_type {
        ListType::Map(keys) => {
            // Sorted, so that the same item always has the same name.
            let keys: BTreeSet<&str> = keys.iter().collect();
            let parts: Vec<String> = keys
                .into_iter()
                .filter_map(|key| {
                    let value = match item.get(key) {
                        Some(value) => value.clone(),
                        None if key == "protocol" => PROTOCOL.into(),
                        None => return None,
                    };
                    Some(format!("\"{key}\":{value}"))
                })
                .collect();
            format!("k:{{{}}}", parts.join(","))
        }
        ListType::Set | ListType::Atomic => format!("v:{item}"),
    }
}

/// Whether a path leads to a field that tells an item of a list from others.
pub(super) fn is_item_key(path: &[String]) -> bool {
    let [.., item, field] = path else { return false };
    let (Some(keys), Some(field)) = (item.strip_prefix("k:"), field.strip_prefix("f:")) else {
        return false;
    };
    serde_json::from_str::<Value>(keys).is_ok_and(|keys| keys.get(field).is_some())
}

/// Value at a path.
pub(super) fn lookup<'a>(kind: Type<'_>, value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((part, rest)) = path.split_first() else { return Some(value) };
    if let Some(key) = part.strip_prefix("f:") {
        return lookup(field_type(kind, key), value.get(key)?, rest);
    }
    let Type::List(item_kind, list_type) = kind else { return None };
    let item = value.as_array()?.iter().find(|item| item_part(list_type, item) == *part)?;
    lookup(item_kind.kind(), item, rest)
}

/// Removes what is at a path, and the parents that are empty after that.
pub(super) fn remove(kind: Type<'_>, value: &mut Value, path: &[String]) {
    let Some((part, rest)) = path.split_first() else { return };
    let empty = |value: &Value| match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if let (Some(key), Some(fields)) = (part.strip_prefix("f:"), value.as_object_mut()) {
        if let Some(child) = fields.get_mut(key) {
            remove(field_type(kind, key), child, rest);
            if rest.is_empty() || empty(child) {
                fields.remove(key);
            }
        }
    } else if let (Type::List(item_kind, list_type), Some(items)) = (kind, value.as_array_mut()) {
        let place = items.iter().position(|item| item_part(list_type, item) == *part);
        if let Some((place, item)) = place.and_then(|place| Some((place, items.get_mut(place)?))) {
            remove(item_kind.kind(), item, rest);
            if rest.is_empty() {
                items.remove(place);
            }
        }
    }
}

/// Reads `fieldsV1`.
pub(super) fn from_fields_v1(fields: &Value) -> FieldSet {
    fn read(fields: &Value, path: &mut Path, set: &mut FieldSet) {
        let Some(children) = fields.as_object() else { return };
        if children.is_empty() && !path.is_empty() {
            set.insert(path.clone());
        }
        for (part, child) in children {
            if part == "." {
                set.insert(path.clone());
            } else {
                path.push(part.clone());
                read(child, path, set);
                path.pop();
            }
        }
    }
    let mut set = FieldSet::new();
    read(fields, &mut Path::new(), &mut set);
    set
}

/// Writes `fieldsV1`.
pub(super) fn to_fields_v1(set: &FieldSet) -> Value {
    let mut root = Map::new();
    for path in set {
        // A path that others continue has to say that it is owned itself.
        let continued = set
            .range(path.clone()..)
            .nth(1)
            .is_some_and(|next| next.len() > path.len() && next.starts_with(path));
        let own = continued.then(|| ".".to_owned());
        insert(&mut root, &mut path.iter().cloned().chain(own));
    }
    Value::Object(root)
}

fn insert(node: &mut Map<String, Value>, parts: &mut dyn Iterator<Item = String>) {
    let Some(part) = parts.next() else { return };
    let child = node.entry(part).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(child) = child {
        insert(child, parts);
    }
}

/// A path as messages show it: `.spec.containers[name="a"].image`.
pub(super) fn display(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        match part.split_once(':') {
            Some(("f", key)) => {
                text.push('.');
                text.push_str(key);
            }
            Some(("k", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                text.push_str(&format!("[{}]", keys.join(",")));
            }
            Some((_, value)) => text.push_str(&format!("[={value}]")),
            None => text.push_str(part),
        }
    }
    text
}
