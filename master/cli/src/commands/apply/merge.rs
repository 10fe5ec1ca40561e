//! The change that leads from the object in the cluster to the one in the file.
//!
//! Pure. What the file says is set; what it said when it was applied last and says no longer is
//! taken out; everything else is left as it is. Elements of a list that have names are matched by
//! them, so that what the server filled in (a node port, a default) survives.

use serde_json::{Map, Value, json};

/// Where kubectl and bramble keep what was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What can name an element of a list, by preference.
const ELEMENT_NAMES: [&str; 5] = ["name", "containerPort", "port", "mountPath", "ip"];

/// The object with a note of itself.
pub(super) fn with_last_applied(object: &Value) -> Value {
    let mut noted = object.clone();
    let mut plain = object.clone();
    if let Some(annotations) =
        plain.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let note = format!("{plain}\n");
    if let Some(metadata) = noted.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), Value::String(note));
        }
    }
    noted
}

/// What was applied last, or nothing.
pub(super) fn last_applied(existing: &Value) -> Value {
    let annotations = existing.pointer("/metadata/annotations");
    let note = annotations.and_then(|all| all.get(LAST_APPLIED)).and_then(Value::as_str);
    note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or(Value::Null)
}

/// The JSON merge patch from `live` to what `wanted` asks for.
pub(super) fn patch(last: &Value, wanted: &Value, live: &Value) -> Value {
    difference(live, &merged(last, wanted, live))
}

fn merged(last: &Value, wanted: &Value, live: &Value) -> Value {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => merged_objects(last, wanted, live),
        (Value::Array(wanted), Value::Array(live)) => merged_arrays(last, wanted, live),
        (wanted, _) => wanted.clone(),
    }
}

fn merged_objects(last: &Value, wanted: &Map<String, Value>, live: &Map<String, Value>) -> Value {
    let mut result = Map::new();
    for (field, now) in live {
        if !wanted.contains_key(field) && last.get(field).is_none() {
            result.insert(field.clone(), now.clone());
        }
    }
    for (field, value) in wanted {
        // A field that is null in the file is one that shall not be set.
        if value.is_null() {
            continue;
        }
        let before = last.get(field).unwrap_or(&Value::Null);
        let now = live.get(field).unwrap_or(&Value::Null);
        result.insert(field.clone(), merged(before, value, now));
    }
    // Fields of a rolling update make no sense with another strategy, and the server says so.
    if wanted.get("type").is_some_and(|kind| kind == "Recreate") {
        result.remove("rollingUpdate");
    }
    Value::Object(result)
}

fn merged_arrays(last: &Value, wanted: &[Value], live: &[Value]) -> Value {
    let named = |elements: &[Value], field: &str| elements.iter().all(|e| e.get(field).is_some());
    let Some(field) =
        ELEMENT_NAMES.into_iter().find(|field| named(wanted, field) && named(live, field))
    else {
        return Value::Array(wanted.to_vec());
    };
    let of = |elements: &[Value], element: &Value| {
        elements.iter().find(|other| other.get(field) == element.get(field)).cloned()
    };
    let last = last.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut result: Vec<Value> = wanted
        .iter()
        .map(|element| {
            let before = of(last, element).unwrap_or_default();
            let now = of(live, element).unwrap_or_default();
            merged(&before, element, &now)
        })
        .collect();
    // Others may have added elements of their own.
    let foreign = live.iter().filter(|one| of(wanted, one).is_none() && of(last, one).is_none());
    result.extend(foreign.cloned());
    Value::Array(result)
}

/// RFC 7386: fields that differ, null for those that go.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for field in from.keys().filter(|field| !to.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    for (field, value) in to {
        match from.get(field) {
            Some(before) if before == value => {}
            Some(before) => {
                patch.insert(field.clone(), difference(before, value));
            }
            None => {
                patch.insert(field.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: Value, wanted: Value, live: Value, expected: Value) {
        assert_eq!(patch(&last, &wanted, &live), expected);
    }

    #[test]
    fn only_what_changed_is_sent() {
        let live = json!({"spec": {"replicas": 1, "paused": false}, "status": {"ready": 1}});
        check(
            json!({}),
            json!({"spec": {"replicas": 3}}),
            live.clone(),
            json!({"spec": {"replicas": 3}}),
        );
        check(json!({}), json!({"spec": {"replicas": 1}}), live, json!({}));
    }

    #[test]
    fn what_the_file_no_longer_says_is_taken_out() {
        check(
            json!({"spec": {"a": 1, "b": 2}}),
            json!({"spec": {"a": 1}}),
            json!({"spec": {"a": 1, "b": 2, "c": 3}}),
            json!({"spec": {"b": null}}),
        );
    }

    #[test]
    fn elements_are_matched_by_name_and_keep_what_the_server_filled_in() {
        let last = json!({"ports": [{"port": 80}, {"port": 81}]});
        let live = json!({"ports": [
            {"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081},
            {"port": 90, "nodePort": 30090},
        ]});
        check(
            last,
            json!({"ports": [{"port": 80, "targetPort": 8080}]}),
            live,
            json!({"ports": [
                {"port": 80, "targetPort": 8080, "nodePort": 30080},
                {"port": 90, "nodePort": 30090},
            ]}),
        );
    }

    #[test]
    fn list_without_names_is_replaced() {
        check(json!({}), json!({"args": ["a"]}), json!({"args": ["b"]}), json!({"args": ["a"]}));
    }

    #[test]
    fn strategy_can_be_changed_to_recreate() {
        check(
            json!({}),
            json!({"strategy": {"type": "Recreate"}}),
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"type": "Recreate", "rollingUpdate": null}}),
        );
    }

    #[test]
    fn note_of_itself_is_read_back_and_does_not_nest() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"x": 1}});
        let noted = with_last_applied(&object);
        assert_eq!(last_applied(&noted), object);
        let again = with_last_applied(&noted);
        let inner = last_applied(&again);
        assert_eq!(inner["metadata"]["annotations"], json!({}));
        assert_eq!(last_applied(&object), Value::Null);
    }
}
