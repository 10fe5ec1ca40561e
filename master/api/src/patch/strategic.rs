//! Strategic merge patch: merge patch that knows which lists are merged by which key, with
//! directives (`$patch`, `$retainKeys`, `$setElementOrder/..`, `$deleteFromPrimitiveList/..`).

use serde_json::{Map, Value};

use super::{field_type, root_type};
use crate::resource::Resource;
use crate::schema::{Merge, Type};
use crate::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies a patch to an object.
///
/// # Errors
/// The patch is no object, has an unknown directive, or an item of a list has no merge key.
pub fn apply(resource: &Resource, object: &Value, patch: &Value) -> Result<Value, Status> {
    let mut result = object.clone();
    let (Some(fields), Some(patch)) = (result.as_object_mut(), patch.as_object()) else {
        return Err(Status::bad_request("error decoding patch: an object is expected"));
    };
    merge_object(root_type(resource), fields, patch)?;
    Ok(result)
}

/// How a field is merged, if it is a list.
fn list_merge<'a>(kind: Type<'a>, key: &str) -> Merge<'a> {
    let Type::Message(message) = kind else { return Merge::Replace };
    message.field(key).map_or(Merge::Replace, |field| field.merge())
}

fn merge_object(
    kind: Type<'_>,
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), Status> {
    match directive(patch)? {
        Some("replace") => {
            *fields = plain(patch);
            return Ok(());
        }
        Some("delete") => {
            fields.clear();
            return Ok(());
        }
        _ => {}
    }
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        fields.retain(|key, _| kept.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, gone) in patch {
        if let (Some(name), Some(gone)) = (key.strip_prefix(DELETE), gone.as_array())
            && let Some(list) = fields.get_mut(name).and_then(Value::as_array_mut)
        {
            list.retain(|item| !gone.contains(item));
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        merge_field(field_type(kind, key), list_merge(kind, key), fields, key, value)?;
    }
    for (key, order) in patch {
        if let (Some(name), Some(order)) = (key.strip_prefix(ORDER), order.as_array())
            && let Some(list) = fields.get_mut(name).and_then(Value::as_array_mut)
        {
            sort(list_merge(kind, name), list, order);
        }
    }
    Ok(())
}

fn merge_field(
    kind: Type<'_>,
    merge: Merge<'_>,
    fields: &mut Map<String, Value>,
    key: &str,
    patch: &Value,
) -> Result<(), Status> {
    match (patch, fields.get_mut(key)) {
        (Value::Null, _) => {
            fields.remove(key);
        }
        (Value::Object(patch), Some(Value::Object(old))) => merge_object(kind, old, patch)?,
        (Value::Object(patch), _) => {
            // Merged into nothing, so that directives within are obeyed and dropped.
            let mut new = Map::new();
            let deleted = directive(patch)? == Some("delete");
            merge_object(kind, &mut new, patch)?;
            if !deleted {
                fields.insert(key.to_owned(), Value::Object(new));
            }
        }
        (Value::Array(patch), Some(Value::Array(old))) => merge_list(kind, merge, key, old, patch)?,
        (Value::Array(patch), _) => {
            let mut new = Vec::new();
            merge_list(kind, merge, key, &mut new, patch)?;
            fields.insert(key.to_owned(), Value::Array(new));
        }
        (scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_)), _) => {
            fields.insert(key.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_list(
    kind: Type<'_>,
    merge: Merge<'_>,
    key: &str,
    old: &mut Vec<Value>,
    patch: &[Value],
) -> Result<(), Status> {
    match merge {
        Merge::Replace => *old = patch.to_vec(),
        Merge::Values => {
            for item in patch {
                if !old.contains(item) {
                    old.push(item.clone());
                }
            }
        }
        Merge::ByKey(merge_key) => {
            let item_kind = if let Type::List(item, _) = kind { item.kind() } else { Type::Any };
            merge_items(item_kind, key, merge_key, old, patch)?;
        }
    }
    Ok(())
}

fn merge_items(
    kind: Type<'_>,
    list: &str,
    merge_key: &str,
    old: &mut Vec<Value>,
    patch: &[Value],
) -> Result<(), Status> {
    let mut replace = false;
    let mut items = Vec::new();
    for item in patch {
        let Some(fields) = item.as_object() else {
            return Err(Status::bad_request(format!("items of `{list}` have to be objects")));
        };
        let directive = directive(fields)?;
        if directive == Some("replace") && fields.len() == 1 {
            replace = true;
        } else {
            items.push((directive, fields));
        }
    }
    if replace {
        old.clear();
    }
    for (directive, fields) in items {
        let Some(wanted) = fields.get(merge_key) else {
            let shown = Value::Object(fields.clone());
            return Err(Status::bad_request(format!(
                "map: {shown} does not contain declared merge key: {merge_key}"
            )));
        };
        let same = |item: &Value| item.get(merge_key) == Some(wanted);
        if directive == Some("delete") {
            old.retain(|item| !same(item));
        } else if let Some(Value::Object(found)) = old.iter_mut().find(|item| same(item)) {
            merge_object(kind, found, fields)?;
        } else {
            let mut new = Map::new();
            merge_object(kind, &mut new, fields)?;
            old.push(Value::Object(new));
        }
    }
    Ok(())
}

/// Puts the items that the client has named into its order. Items that it does not know of stay
/// before those that they were before.
fn sort(merge: Merge<'_>, list: &mut Vec<Value>, order: &[Value]) {
    let place = |item: &Value| {
        let identity = |value: &Value| match merge {
            Merge::ByKey(key) => value.get(key).cloned(),
            Merge::Values | Merge::Replace => Some(value.clone()),
        };
        order.iter().position(|wanted| identity(wanted) == identity(item))
    };
    let mut named: Vec<(usize, usize, Value)> = Vec::new();
    let mut others: Vec<(usize, Value)> = Vec::new();
    for (index, item) in std::mem::take(list).into_iter().enumerate() {
        match place(&item) {
            Some(place) => named.push((place, index, item)),
            None => others.push((index, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    let mut others = others.into_iter().peekable();
    for (_, index, item) in named {
        while let Some((_, other)) = others.next_if(|(other, _)| *other < index) {
            list.push(other);
        }
        list.push(item);
    }
    list.extend(others.map(|(_, item)| item));
}

fn directive(patch: &Map<String, Value>) -> Result<Option<&str>, Status> {
    match patch.get(DIRECTIVE) {
        None => Ok(None),
        Some(Value::String(text)) if matches!(text.as_str(), "replace" | "delete" | "merge") => {
            Ok(Some(text))
        }
        Some(other) => Err(Status::bad_request(format!("Unknown patch type: {other}"))),
    }
}

fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, _)| !key.starts_with('$'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

    fn check(object: Value, patch: Value, expected: Value) {
        let pods = registry::by_kind("", "Pod").unwrap();
        assert_eq!(apply(pods, &object, &patch).unwrap(), expected);
    }

    #[test]
    fn lists_are_merged_by_their_key() {
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "b"}, {"name": "c"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a"]}, "spec": {"tolerations": [{"key": "a"}]}}),
            json!({"metadata": {"finalizers": ["b"]}, "spec": {"tolerations": [{"key": "b"}]}}),
            json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"tolerations": [{"key": "b"}]}}),
        );
    }

    #[test]
    fn directives_are_obeyed() {
        let object = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        check(
            object.clone(),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
        );
        check(
            object.clone(),
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c"}]}}),
        );
        check(
            object,
            json!({"spec": {"containers": [{"name": "c"}],
                "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
            json!({"metadata": {"finalizers": ["b"]}}),
        );
        check(
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"},
                "$retainKeys": ["name", "configMap"]}]}}),
            json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}),
        );
        check(
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"labels": {"$patch": "replace", "c": "d"}}}),
            json!({"metadata": {"labels": {"c": "d"}}}),
        );
        check(
            json!({"metadata": {"labels": {"a": "b", "c": "d"}}}),
            json!({"metadata": {"labels": {"a": null}}}),
            json!({"metadata": {"labels": {"c": "d"}}}),
        );
    }

    #[test]
    fn items_without_key_and_unknown_directives_are_refused() {
        let pods = registry::by_kind("", "Pod").unwrap();
        let object = json!({"spec": {}});
        for patch in [
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"$patch": "explode"}}),
            json!([]),
        ] {
            assert_eq!(apply(pods, &object, &patch).unwrap_err().code, 400);
        }
    }
}
