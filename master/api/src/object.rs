//! Reads of JSON objects that tolerate what is absent.

use serde_json::{Map, Value};

/// Text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Integer at a JSON pointer; 0 if there is none.
pub(crate) fn integer(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Truth value at a JSON pointer; false if there is none.
pub(crate) fn truth(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// Items of the list at a JSON pointer; none if there is no list.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object at a JSON pointer, if there is one.
pub(crate) fn map<'a>(value: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    value.pointer(pointer).and_then(Value::as_object)
}

/// The object below `key`, created if it is absent or null; none if `value` is no object or
/// something else is there.
pub(crate) fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = value.as_object_mut()?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// Sets `key` unless something is there; an empty text counts as nothing, as in upstream.
pub(crate) fn default(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let absent = object.get(key).is_none_or(|old| old.is_null() || old.as_str() == Some(""));
    if absent {
        object.insert(key.to_owned(), value.into());
    }
}
