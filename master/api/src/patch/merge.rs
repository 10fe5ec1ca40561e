//! JSON merge patch, RFC 7396.

use serde_json::{Map, Value};

/// Merges a patch into an object: null removes, objects are merged, all else replaces.
pub fn apply(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(fields) = object else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            apply(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_are_merged_as_the_rfc_says() {
        let check = |mut object: Value, patch: Value, expected: Value| {
            apply(&mut object, &patch);
            assert_eq!(object, expected);
        };
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b", "b": 1}), json!({"a": null}), json!({"b": 1}));
        check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"c": {"d": null}}}),
            json!({"a": {"b": 1, "c": {}}}),
        );
        check(json!("x"), json!({"a": 1}), json!({"a": 1}));
    }
}
