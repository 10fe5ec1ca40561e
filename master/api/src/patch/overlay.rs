//! The two steps of an apply: lay what is applied over what is there, and take away what its
//! manager no longer wants.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, Part};
use super::field_type;
use crate::schema::{ListType, Type};

/// Lays an applied value over a live one.
pub(super) fn merge(kind: Type<'_>, live: &mut Value, applied: &Value) {
    match (kind, live, applied) {
        (Type::Message(message), Value::Object(fields), Value::Object(applied))
            if !message.atomic() =>
        {
            merge_fields(kind, fields, applied);
        }
        (Type::Map(_), Value::Object(fields), Value::Object(applied)) => {
            merge_fields(kind, fields, applied);
        }
        (
            Type::List(item_kind, list_type @ (ListType::Map(_) | ListType::Set)),
            Value::Array(items),
            Value::Array(applied),
        ) => *items = weave(item_kind.kind(), list_type, std::mem::take(items), applied),
        (_, live, applied) => *live = applied.clone(),
    }
}

fn merge_fields(kind: Type<'_>, fields: &mut Map<String, Value>, applied: &Map<String, Value>) {
    for (key, value) in applied {
        match fields.get_mut(key) {
            Some(old) => merge(field_type(kind, key), old, value),
            None => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Where an item of a live list goes.
enum Live {
    /// It is in the live list only.
    Alone(Value),
    /// It is at this place of the applied list, too.
    Applied(usize),
}

/// Merges two lists item by item. What is applied keeps its order; what is only live stays before
/// and after the items that are in the same order in both.
fn weave(
    kind: Type<'_>,
    list_type: ListType<'_>,
    live: Vec<Value>,
    applied: &[Value],
) -> Vec<Value> {
    let names: Vec<Part<'_>> = applied.iter().map(|item| Part::of_item(list_type, item)).collect();
    let mut places: BTreeMap<&Part<'_>, usize> = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        places.entry(name).or_insert(place);
    }
    let mut shared: BTreeMap<usize, Value> = BTreeMap::new();
    let mut order = Vec::with_capacity(live.len());
    for item in live {
        match places.get(&Part::of_item(list_type, &item)) {
            Some(place) => {
                order.push(Live::Applied(*place));
                shared.entry(*place).or_insert(item);
            }
            None => order.push(Live::Alone(item)),
        }
    }
    let in_both: BTreeSet<usize> = shared.keys().copied().collect();
    let mut merged = applied.iter().enumerate().map(|(place, item)| match shared.remove(&place) {
        Some(mut old) => {
            if matches!(list_type, ListType::Map(_)) {
                merge(kind, &mut old, item);
            }
            old
        }
        None => item.clone(),
    });
    let mut woven = Vec::with_capacity(order.len() + applied.len());
    let mut next = 0;
    for item in order {
        match item {
            Live::Alone(item) => woven.push(item),
            // One that is out of order comes where the applied list has it.
            Live::Applied(place) if in_both.range(next..).next() == Some(&place) => {
                woven.extend(merged.by_ref().take(place + 1 - next));
                next = place + 1;
            }
            Live::Applied(_) => {}
        }
    }
    woven.extend(merged);
    woven
}

/// Takes away what a manager owned and no longer wants, unless others hold it; true if anything
/// went. Objects and lists that are empty after that go, too.
pub(super) fn prune(
    kind: Type<'_>,
    value: &mut Value,
    gone: &FieldSet<'_>,
    kept: Option<&FieldSet<'_>>,
) -> bool {
    match (kind, value) {
        (kind, Value::Object(fields)) => {
            let mut went = false;
            for (part, child) in &gone.children {
                let Part::Field(key) = part else { continue };
                let kept = kept.and_then(|kept| kept.get(part));
                let Some(value) = fields.get_mut(*key) else { continue };
                let remove = if child.own && kept.is_none() {
                    true
                } else {
                    let changed = prune(field_type(kind, key), value, child, kept);
                    went |= changed;
                    changed && is_empty(value) && kept.is_none_or(|kept| !kept.own)
                };
                if remove {
                    fields.remove(*key);
                    went = true;
                }
            }
            went
        }
        (Type::List(item_kind, list_type), Value::Array(items)) => {
            let before = items.len();
            let mut went = false;
            items.retain_mut(|item| {
                let part = Part::of_item(list_type, item);
                let Some(child) = gone.get(&part) else { return true };
                let kept = kept.and_then(|kept| kept.get(&part));
                if child.own && kept.is_none() {
                    return false;
                }
                // An item that stays for others keeps the fields that tell it apart.
                let mut child = child.clone();
                if let ListType::Map(keys) = list_type {
                    child.children.retain(
                        |part, _| !matches!(part, Part::Field(field) if keys.iter().any(|key| key == *field)),
                    );
                }
                went |= prune(item_kind.kind(), item, &child, kept);
                true
            });
            went || items.len() != before
        }
        (
            _,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        ) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
