//! Objects as bytes: what is stored is what is sent.
//!
//! ```text
//! {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a",...},"spec":{...}}
//!                                 ^metadata   ^inside       ^end
//! ```
//! Every object is stored in this order, so that the resource version, which is the entry's
//! revision, can be put in, and kind and version cut off, without parsing it. What is in another
//! order, from an older release or another program, is put into this one first.

use std::borrow::Cow;
use std::io::Write as _;

use bramble_api::patch::bounds;
use bramble_api::{Resource, Status};
use bramble_store::{KeyValue, Revision};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::meta;

/// Where the parts of a stored object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Where `"metadata"` begins.
    metadata: usize,
    /// Where its first field begins.
    inside: usize,
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Whole.
    Object,
    /// As in a list, whose kind tells theirs.
    Item,
    /// Its metadata only, as `PartialObjectMetadata`.
    Metadata,
}

/// Reads an entry: the object with its resource version.
///
/// # Errors
///
/// 500 when the entry is no JSON object, which only a damaged store can cause.
pub(crate) fn decode(entry: &KeyValue) -> Result<Value, Status> {
    let mut object: Value =
        serde_json::from_slice(&entry.value).map_err(|_| damaged(&entry.key))?;
    meta::set(&mut object, "resourceVersion", Value::from(entry.mod_revision.to_string()));
    Ok(object)
}

/// Reads what selectors and printed columns look at: all but the managed fields, which often are
/// half of an object, and the resource version.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn decode_for_columns(entry: &KeyValue) -> Result<Value, Status> {
    let mut json = serde_json::Deserializer::from_slice(&entry.value);
    Level::Object.deserialize(&mut json).map_err(|_| damaged(&entry.key))
}

/// An entry in the form in which a resource serves it, if that is not how it is kept.
///
/// # Errors
///
/// 500 when the entry is no JSON object.
pub(crate) fn served(resource: &Resource, mut entry: KeyValue) -> Result<KeyValue, Status> {
    if resource.converted() {
        let mut object: Value =
            serde_json::from_slice(&entry.value).map_err(|_| damaged(&entry.key))?;
        resource.read(&mut object);
        entry.value = write(&object).map_err(|_| damaged(&entry.key))?.into();
    }
    Ok(entry)
}

/// Writes an object as it is stored: without its resource version, which is the entry's revision.
///
/// # Errors
///
/// 413 when it has become too large or too deep to be read again, whatever it was made of.
pub(super) fn encode(resource: &Resource, object: &Value) -> Result<Vec<u8>, Status> {
    bounds::check(object)?;
    let written = if resource.converted() {
        let mut kept = object.clone();
        resource.write(&mut kept);
        write(&kept)
    } else {
        write(object)
    };
    let bytes = written
        .map_err(|error| Status::internal(format!("could not encode the object: {error}")))?;
    if bytes.len() > bounds::RESULT_LEN_MAX {
        return Err(Status::too_large(bounds::RESULT_LEN_MAX));
    }
    Ok(bytes)
}

/// Appends an entry's object, with its resource version.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn append(out: &mut Vec<u8>, entry: &KeyValue, shape: Shape) -> Result<(), Status> {
    append_at(out, entry, entry.mod_revision, shape)
}

/// As [`append`], with another revision: that of its deletion.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn append_at(
    out: &mut Vec<u8>,
    entry: &KeyValue,
    revision: Revision,
    shape: Shape,
) -> Result<(), Status> {
    let (value, layout) = laid_out(&entry.value).ok_or_else(|| damaged(&entry.key))?;
    let (metadata, rest) = value.split_at(layout.inside);
    let (head, metadata) = metadata.split_at(layout.metadata);
    let rest = match shape {
        Shape::Object => {
            out.extend_from_slice(head);
            rest
        }
        Shape::Item => {
            out.push(b'{');
            rest
        }
        Shape::Metadata => {
            out.extend_from_slice(
                br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
            );
            rest.get(..object_len(rest)).unwrap_or(rest)
        }
    };
    out.extend_from_slice(metadata);
    // Writing into memory cannot fail.
    let _ = write!(out, "\"resourceVersion\":\"{revision}\"");
    if rest.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(rest);
    if shape == Shape::Metadata {
        out.push(b'}');
    }
    Ok(())
}

fn damaged(key: &str) -> Status {
    Status::internal(format!("the stored object `{key}` is damaged"))
}

/// The value in the order that is expected here, and where its parts are.
fn laid_out(value: &[u8]) -> Option<(Cow<'_, [u8]>, Layout)> {
    if let Some(layout) = layout(value) {
        return Some((Cow::Borrowed(value), layout));
    }
    let object: Value = serde_json::from_slice(value).ok()?;
    let written = write(&object).ok()?;
    let layout = layout(&written)?;
    Some((Cow::Owned(written), layout))
}

fn layout(value: &[u8]) -> Option<Layout> {
    let rest = value.strip_prefix(br#"{"apiVersion":""#)?;
    let rest = after_quote(rest)?.strip_prefix(br#","kind":""#)?;
    let rest = after_quote(rest)?.strip_prefix(b",")?;
    let metadata = value.len() - rest.len();
    let rest = rest.strip_prefix(br#""metadata":{"#)?;
    Some(Layout { metadata, inside: value.len() - rest.len() })
}

/// What follows the end of a text without escapes.
fn after_quote(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    text.get(end..)?.strip_prefix(b"\"")
}

/// Length of the rest of an object, of which the opening brace was read, with its closing brace.
fn object_len(rest: &[u8]) -> usize {
    let (mut depth, mut text, mut escaped) = (1_usize, false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' if !text => depth += 1,
            b'}' if !text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    rest.len()
}

fn write(object: &Value) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(1_024);
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or("");
    out.extend_from_slice(br#"{"apiVersion":"#);
    serde_json::to_writer(&mut out, text("apiVersion"))?;
    out.extend_from_slice(br#","kind":"#);
    serde_json::to_writer(&mut out, text("kind"))?;
    out.extend_from_slice(br#","metadata":{"#);
    let metadata = object.get("metadata").and_then(Value::as_object);
    let stored = metadata.into_iter().flatten().filter(|(field, _)| *field != "resourceVersion");
    for (index, (field, value)) in stored.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_field(&mut out, field, value)?;
    }
    out.push(b'}');
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
            out.push(b',');
            write_field(&mut out, field, value)?;
        }
    }
    out.push(b'}');
    Ok(out)
}

fn write_field(out: &mut Vec<u8>, field: &str, value: &Value) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, field)?;
    out.push(b':');
    serde_json::to_writer(out, value)
}

/// Where in an object we are, when it is read without its managed fields.
#[derive(Clone, Copy)]
enum Level {
    Object,
    Metadata,
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            let value = match (self, field.as_str()) {
                (Self::Object, "metadata") => map.next_value_seed(Self::Metadata)?,
                (Self::Metadata, "managedFields") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Self::Object | Self::Metadata, _) => map.next_value()?,
            };
            fields.insert(field, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::objects::Objects;

    fn config_maps() -> &'static Arc<Resource> {
        Objects::resource("", "configmaps")
    }

    fn entry(value: &[u8]) -> KeyValue {
        let (create_revision, mod_revision, version) = (1, 7, 1);
        let value = value.into();
        KeyValue { key: "/core/pods/a/b".into(), value, create_revision, mod_revision, version }
    }

    #[track_caller]
    fn check(object: &Value) {
        let stored = encode(config_maps(), object).unwrap();
        let mut expected = object.clone();
        meta::set(&mut expected, "resourceVersion", json!("7"));
        // In our order, and in that of another program.
        for value in [stored.clone(), serde_json::to_vec(object).unwrap()] {
            let entry = entry(&value);
            assert_eq!(decode(&entry).unwrap(), expected);
            let shaped = |shape| -> Value {
                let mut out = Vec::new();
                append(&mut out, &entry, shape).unwrap();
                serde_json::from_slice(&out).unwrap()
            };
            assert_eq!(shaped(Shape::Object), expected);
            let mut item = expected.clone();
            item.as_object_mut()
                .unwrap()
                .retain(|field, _| field != "kind" && field != "apiVersion");
            assert_eq!(shaped(Shape::Item), item);
            let metadata = json!({"kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1", "metadata": expected["metadata"]});
            assert_eq!(shaped(Shape::Metadata), metadata);
        }
        assert!(layout(&stored).is_some(), "{}", String::from_utf8_lossy(&stored));
    }

    #[test]
    fn bytes_say_what_the_parsed_object_says() {
        check(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}));
        check(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}));
        check(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata": "}{\"\\"},
            "metadata": {"annotations": {"a": "\"}{\\", "b": "\\\""}, "labels": {}, "name": "a",
                "resourceVersion": "3"}}));
        check(&json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"x": [{"y": {}}, "}"]},
            "a": null, "z": 1.5}));
    }

    #[test]
    fn deleted_object_has_the_revision_of_its_deletion() {
        let stored = encode(
            config_maps(),
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
        );
        let mut out = Vec::new();
        append_at(&mut out, &entry(&stored.unwrap()), 9, Shape::Object).unwrap();
        let object: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn managed_fields_are_skipped_in_metadata_only() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"managedFields": [{"manager": "a"}], "name": "a"},
            "data": {"managedFields": "b"}});
        let mut expected = object.clone();
        meta::remove(&mut expected, "managedFields");
        let entry = entry(&encode(config_maps(), &object).unwrap());
        assert_eq!(decode_for_columns(&entry).unwrap(), expected);
    }

    #[test]
    fn damaged_entry_is_an_error() {
        for value in [b"".as_slice(), b"[]", b"{\"apiVersion\":\"v1", b"{\"apiVersion\":\"v1\"}x"] {
            let mut out = Vec::new();
            let result = append(&mut out, &entry(value), Shape::Object);
            assert!(result.is_err() || value == b"[]", "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn what_is_kept_in_another_form_is_served_in_its_own() {
        let events = Objects::resource("events.k8s.io", "events");
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "a"}, "note": "n", "regarding": {"kind": "Pod"}});
        let kept = entry(&encode(events, &event).unwrap());
        let core = decode(&served(Objects::resource("", "events"), kept.clone()).unwrap()).unwrap();
        assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("n")));
        let own = decode(&served(events, kept).unwrap()).unwrap();
        assert_eq!((&own["note"], &own["regarding"]), (&event["note"], &event["regarding"]));
    }
}
