//! Admission that needs other objects than the one that is written: priorities, limit ranges, quotas
//! and runtime classes.
//!
//! Values in, values out: who calls brings the other objects and turns what is said here into the
//! API's answers. The words are upstream's.

pub mod limit_range;
pub mod priority;
pub mod resource_quota;
pub mod runtime_class;

use bramble_api::quantity::Quantity;
use serde_json::{Map, Value};

/// The text at a JSON pointer; empty if there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list at a JSON pointer; none if there is no list.
fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The fields of an object at a JSON pointer.
fn fields<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let fields = object.pointer(pointer).and_then(Value::as_object);
    fields.into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value))
}

/// Reads a quantity; a number that was stored without quotes is one, too.
fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Amounts by name at a JSON pointer.
fn amounts(object: &Value, pointer: &str) -> Amounts {
    let all = fields(object, pointer);
    all.filter_map(|(name, value)| Some((name.to_owned(), quantity(value)?))).collect()
}

/// Amounts of resources by name.
pub type Amounts = std::collections::BTreeMap<String, Quantity>;

/// Adds amounts to others.
fn add(into: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = into.entry(name.clone()).or_insert(Quantity::ZERO);
        *sum = sum.checked_add(*amount).unwrap_or(*sum);
    }
}

/// Raises amounts to others where those are larger.
fn raise(into: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let present = into.entry(name.clone()).or_insert(*amount);
        *present = (*present).max(*amount);
    }
}

/// What a pod asks for or is limited to in total (`requests` or `limits`): sidecars run beside all
/// that starts after them, other init containers alone, so only the largest of them counts.
fn pod_total(pod: &Value, what: &str) -> Amounts {
    let of = |container: &Value| amounts(container, &format!("/resources/{what}"));
    let (mut total, mut sidecars, mut peak) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in items(pod, "/spec/containers") {
        add(&mut total, &of(container));
    }
    for container in items(pod, "/spec/initContainers") {
        let mut running = sidecars.clone();
        add(&mut running, &of(container));
        raise(&mut peak, &running);
        if text(container, "/restartPolicy") == "Always" {
            sidecars = running;
        }
    }
    add(&mut total, &sidecars);
    raise(&mut total, &peak);
    let overhead = amounts(pod, "/spec/overhead");
    if what == "requests" {
        add(&mut total, &overhead);
    } else {
        // Only what is limited at all is limited with its overhead.
        for (name, amount) in &mut total {
            if let Some(sum) = overhead.get(name).and_then(|it| amount.checked_add(*it)) {
                *amount = sum;
            }
        }
    }
    total
}
