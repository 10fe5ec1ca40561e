//! Looking into objects of any kind.
//!
//! Commands work on JSON, so that they serve kinds that this build has never heard of.

use std::collections::BTreeMap;

use serde_json::Value;

/// Text at a JSON pointer, or nothing.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whole number at a JSON pointer, or 0.
pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Truth at a JSON pointer, or false.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// Elements of the array at a JSON pointer, or none.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Names and values of the object at a JSON pointer, as text, in the order of the names.
pub(crate) fn pairs(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    map.into_iter().flatten().map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// A value as people read it: text without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Name of an object.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Namespace of an object, or nothing.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// Whether an object is going away.
pub(crate) fn terminating(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// The owner that controls an object.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// A selector's `matchLabels` and `matchExpressions` as the API takes it in a query.
pub(crate) fn selector(selector: &Value) -> String {
    let mut parts: Vec<_> = pairs(selector, "/matchLabels")
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for expression in items(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let values: Vec<_> = items(expression, "/values").iter().map(plain).collect();
        let values = values.join(",");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_become_queries() {
        let full = json!({
            "matchLabels": {"tier": "front", "app": "web"},
            "matchExpressions": [
                {"key": "env", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "new", "operator": "Exists"},
                {"key": "zone", "operator": "NotIn", "values": ["c"]},
            ],
        });
        assert_eq!(selector(&full), "app=web,tier=front,env in (a,b),!old,new,zone notin (c)");
        assert_eq!(selector(&json!({})), "");
    }

    #[test]
    fn what_is_absent_reads_as_nothing() {
        let object = json!({"a": {"b": "c"}});
        assert_eq!(
            (text(&object, "/a/b"), text(&object, "/a/x"), number(&object, "/a")),
            ("c", "", 0)
        );
        assert!(items(&object, "/a").is_empty() && pairs(&object, "/x").is_empty());
    }
}
