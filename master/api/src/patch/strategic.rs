//! Strategic merge patch: merge patch that knows which lists are merged by which key, with
//! directives (`$patch`, `$retainKeys`, `$setElementOrder/..`, `$deleteFromPrimitiveList/..`).

use std::collections::{BTreeMap, BTreeSet};

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
        let kept: BTreeSet<&str> = kept.iter().filter_map(Value::as_str).collect();
        fields.retain(|key, _| kept.contains(key.as_str()));
    }
    for (key, gone) in patch {
        if let (Some(name), Some(gone)) = (key.strip_prefix(DELETE), gone.as_array())
            && let Some(list) = fields.get_mut(name).and_then(Value::as_array_mut)
        {
            let gone: BTreeSet<String> = gone.iter().map(ToString::to_string).collect();
            list.retain(|item| !gone.contains(&item.to_string()));
        }
    }
    // Orders are given in terms of the lists as they were before.
    let before: Vec<(&str, Vec<Value>, &Vec<Value>)> = patch
        .iter()
        .filter_map(|(key, order)| {
            let (name, order) = (key.strip_prefix(ORDER)?, order.as_array()?);
            let list = fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            Some((name, list, order))
        })
        .collect();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        merge_field(field_type(kind, key), list_merge(kind, key), fields, key, value)?;
    }
    for (name, before, order) in before {
        if let Some(list) = fields.get_mut(name).and_then(Value::as_array_mut) {
            let identity = Identity::of(list_merge(kind, name));
            sort(identity, list, order, &before);
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
            let before = old.clone();
            let mut seen = BTreeSet::new();
            old.extend_from_slice(patch);
            old.retain(|item| seen.insert(item.to_string()));
            sort(Identity::Whole, old, patch, &before);
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
    let identity = Identity::Key(merge_key);
    let before = old.clone();
    let mut slots: Vec<Option<Value>> = std::mem::take(old).into_iter().map(Some).collect();
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, item) in slots.iter().enumerate() {
        if let Some(name) = item.as_ref().and_then(|item| identity.name(item)) {
            places.entry(name).or_default().push(place);
        }
    }
    let mut order = Vec::new();
    for (directive, fields) in items {
        let Some(wanted) = fields.get(merge_key) else {
            let shown = super::bounds::shortened(&Value::Object(fields.clone()).to_string());
            return Err(Status::bad_request(format!(
                "map: {shown} does not contain declared merge key: {merge_key}"
            )));
        };
        let name = wanted.to_string();
        if directive == Some("delete") {
            for place in places.remove(&name).unwrap_or_default() {
                if let Some(slot) = slots.get_mut(place) {
                    *slot = None;
                }
            }
            continue;
        }
        let first = places.get(&name).and_then(|places| places.first()).copied();
        match first.and_then(|place| slots.get_mut(place)) {
            Some(Some(Value::Object(found))) => merge_object(kind, found, fields)?,
            Some(_) | None => {
                let mut new = Map::new();
                merge_object(kind, &mut new, fields)?;
                places.entry(name).or_default().push(slots.len());
                slots.push(Some(Value::Object(new)));
            }
        }
        let mut named = Map::new();
        named.insert(merge_key.to_owned(), wanted.clone());
        order.push(Value::Object(named));
    }
    old.extend(slots.into_iter().flatten());
    sort(identity, old, &order, &before);
    Ok(())
}

/// What tells an item of a list from others.
#[derive(Debug, Clone, Copy)]
enum Identity<'a> {
    /// A field of it.
    Key(&'a str),
    /// All of it.
    Whole,
}

impl<'a> Identity<'a> {
    /// The identity of the items of a list that is merged in that way.
    fn of(merge: Merge<'a>) -> Self {
        match merge {
            Merge::ByKey(key) => Self::Key(key),
            Merge::Values | Merge::Replace => Self::Whole,
        }
    }
}

impl Identity<'_> {
    fn name(self, item: &Value) -> Option<String> {
        match self {
            Self::Key(key) => item.get(key).map(ToString::to_string),
            Self::Whole => Some(item.to_string()),
        }
    }

    /// Places of the items of a list, by name; of the same name the first counts.
    fn places(self, list: &[Value]) -> BTreeMap<String, usize> {
        let mut places = BTreeMap::new();
        for (place, item) in list.iter().enumerate() {
            if let Some(name) = self.name(item) {
                places.entry(name).or_insert(place);
            }
        }
        places
    }
}

/// Puts the items that the client has named into its order. The others keep theirs, and each comes
/// before the first named item that it was before; this is how upstream weaves the two.
fn sort(identity: Identity<'_>, list: &mut Vec<Value>, order: &[Value], before: &[Value]) {
    let (wanted, was) = (identity.places(order), identity.places(before));
    let mut named: Vec<(usize, Option<usize>, Value)> = Vec::new();
    let mut others: Vec<(Option<usize>, Value)> = Vec::new();
    for item in std::mem::take(list) {
        let name = identity.name(&item);
        let place = name.as_ref().and_then(|name| was.get(name)).copied();
        match name.and_then(|name| wanted.get(&name)) {
            Some(wanted) => named.push((*wanted, place, item)),
            None => others.push((place, item)),
        }
    }
    named.sort_by_key(|(wanted, ..)| *wanted);
    others.sort_by_key(|(place, _)| *place);
    let mut others = others.into_iter().peekable();
    for (_, place, item) in named {
        let earlier = |(other, _): &(Option<usize>, Value)| {
            other.zip(place).is_some_and(|(other, place)| other < place)
        };
        while let Some((_, other)) = others.next_if(earlier) {
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
            json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "c"}, {"name": "b"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a"]}, "spec": {"tolerations": [{"key": "a"}]}}),
            json!({"metadata": {"finalizers": ["b"]}, "spec": {"tolerations": [{"key": "b"}]}}),
            json!({"metadata": {"finalizers": ["b", "a"]}, "spec": {"tolerations": [{"key": "b"}]}}),
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
    fn a_new_order_is_taken_also_without_a_directive() {
        let object = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "x"}]}});
        check(
            object.clone(),
            json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}, {"name": "x"}]}}),
        );
        check(
            object,
            json!({"spec": {"$setElementOrder/containers":
                [{"name": "x"}, {"name": "b"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "x"}, {"name": "b"}, {"name": "a"}]}}),
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
