//! OpenAPI version 2 in protobuf: the package `openapi.v2` of gnostic, which kubectl reads.
//!
//! Written from the JSON form by a table of field numbers. The table has the fields that our
//! documents use and no others; a test holds that nothing of the JSON is left out.

use serde_json::Value;

/// A message: what becomes of each key of a JSON object.
struct Layout {
    /// Key in JSON, number in protobuf, and what it holds.
    fields: &'static [(&'static str, u32, Shape)],
    /// All other keys.
    rest: Rest,
}

/// What becomes of the keys that have no field of their own.
enum Rest {
    /// There are none.
    Nothing,
    /// Vendor extensions: a list of name and JSON, with this number.
    Extensions(u32),
    /// A list of name and value, with this number.
    Entries(u32, Shape),
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Shape {
    /// Text.
    Text,
    /// A text for each item.
    Texts,
    /// Truth value.
    Flag,
    /// Floating-point number.
    Double,
    /// Whole number.
    Int,
    /// JSON of any shape.
    Any,
    /// JSON of any shape for each item.
    Anys,
    /// A message with a schema, or with a truth value.
    SchemaOrFlag,
    /// A message.
    Message(&'static Layout),
    /// A message with one field of number 1, which is this.
    Wrapped(&'static Shape),
    /// A parameter for each item; where each one is sent decides its message.
    Parameters,
}

/// Fields of `Document`.
const SWAGGER: u32 = 1;
const INFO: u32 = 2;
const PATHS: u32 = 8;
const DEFINITIONS: u32 = 9;

static INFO_LAYOUT: Layout = Layout {
    fields: &[("title", 1, Shape::Text), ("version", 2, Shape::Text)],
    rest: Rest::Nothing,
};

static PATH_ITEM: Layout = Layout {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Shape::Parameters),
    ],
    rest: Rest::Nothing,
};

static OPERATION: Layout = Layout {
    fields: &[
        ("operationId", 5, Shape::Text),
        ("consumes", 7, Shape::Texts),
        ("parameters", 8, Shape::Parameters),
        ("responses", 9, Shape::Message(&RESPONSES)),
    ],
    rest: Rest::Extensions(13),
};

static RESPONSES: Layout =
    Layout { fields: &[], rest: Rest::Entries(1, Shape::Wrapped(&Shape::Message(&RESPONSE))) };

static RESPONSE: Layout =
    Layout { fields: &[("description", 1, Shape::Text)], rest: Rest::Nothing };

static BODY_PARAMETER: Layout = Layout {
    fields: &[
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("required", 4, Shape::Flag),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    rest: Rest::Nothing,
};

static QUERY_PARAMETER: Layout = Layout {
    fields: &[
        ("in", 2, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 6, Shape::Text),
        ("uniqueItems", 20, Shape::Flag),
    ],
    rest: Rest::Nothing,
};

static PATH_PARAMETER: Layout = Layout {
    fields: &[
        ("required", 1, Shape::Flag),
        ("in", 2, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 5, Shape::Text),
    ],
    rest: Rest::Nothing,
};

static SCHEMA: Layout = Layout {
    fields: &[
        ("$ref", 1, Shape::Text),
        ("format", 2, Shape::Text),
        ("title", 3, Shape::Text),
        ("description", 4, Shape::Text),
        ("default", 5, Shape::Any),
        ("multipleOf", 6, Shape::Double),
        ("maximum", 7, Shape::Double),
        ("exclusiveMaximum", 8, Shape::Flag),
        ("minimum", 9, Shape::Double),
        ("exclusiveMinimum", 10, Shape::Flag),
        ("maxLength", 11, Shape::Int),
        ("minLength", 12, Shape::Int),
        ("pattern", 13, Shape::Text),
        ("maxItems", 14, Shape::Int),
        ("minItems", 15, Shape::Int),
        ("maxProperties", 17, Shape::Int),
        ("minProperties", 18, Shape::Int),
        ("required", 19, Shape::Texts),
        ("enum", 20, Shape::Anys),
        ("additionalProperties", 21, Shape::SchemaOrFlag),
        ("type", 22, Shape::Wrapped(&Shape::Text)),
        ("items", 23, Shape::Wrapped(&Shape::Message(&SCHEMA))),
        ("properties", 25, Shape::Message(&PROPERTIES)),
    ],
    rest: Rest::Extensions(31),
};

static PROPERTIES: Layout = Layout { fields: &[], rest: Rest::Entries(1, Shape::Message(&SCHEMA)) };

/// Writes a whole document.
pub(super) fn document(
    info: &Value,
    paths: impl Iterator<Item = (String, Value)>,
    definitions: impl Iterator<Item = (String, Value)>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, SWAGGER, b"2.0");
    put(&mut bytes, INFO, Shape::Message(&INFO_LAYOUT), info);
    let mut entries = Vec::new();
    for (name, item) in paths {
        put_entry(&mut entries, 2, &name, Shape::Message(&PATH_ITEM), &item);
    }
    put_bytes(&mut bytes, PATHS, &entries);
    entries.clear();
    for (name, schema) in definitions {
        put_entry(&mut entries, 1, &name, Shape::Message(&SCHEMA), &schema);
    }
    put_bytes(&mut bytes, DEFINITIONS, &entries);
    bytes
}

fn put(bytes: &mut Vec<u8>, number: u32, shape: Shape, value: &Value) {
    match shape {
        Shape::Text => put_bytes(bytes, number, value.as_str().unwrap_or_default().as_bytes()),
        Shape::Texts => {
            for item in value.as_array().into_iter().flatten() {
                put(bytes, number, Shape::Text, item);
            }
        }
        Shape::Flag => {
            put_varint(bytes, u64::from(number) << 3);
            put_varint(bytes, u64::from(value.as_bool().unwrap_or_default()));
        }
        Shape::Double => {
            put_varint(bytes, u64::from(number) << 3 | 1);
            let value = value.as_f64().unwrap_or_default();
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Shape::Int => {
            put_varint(bytes, u64::from(number) << 3);
            put_varint(bytes, value.as_i64().unwrap_or_default().cast_unsigned());
        }
        Shape::Any => put_bytes(bytes, number, &any(value)),
        Shape::Anys => {
            for item in value.as_array().into_iter().flatten() {
                put(bytes, number, Shape::Any, item);
            }
        }
        Shape::SchemaOrFlag => {
            let mut either = Vec::new();
            if value.is_boolean() {
                put(&mut either, 2, Shape::Flag, value);
            } else {
                put(&mut either, 1, Shape::Message(&SCHEMA), value);
            }
            put_bytes(bytes, number, &either);
        }
        Shape::Message(layout) => put_bytes(bytes, number, &message(layout, value)),
        Shape::Wrapped(inner) => {
            let mut wrapped = Vec::new();
            put(&mut wrapped, 1, *inner, value);
            put_bytes(bytes, number, &wrapped);
        }
        Shape::Parameters => {
            for item in value.as_array().into_iter().flatten() {
                put_bytes(bytes, number, &parameter(item));
            }
        }
    }
}

fn message(layout: &Layout, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let own = layout.fields.iter().find(|(name, ..)| name == key);
        match (own, &layout.rest) {
            (Some((_, number, shape)), _) => put(&mut bytes, *number, *shape, value),
            (None, Rest::Entries(number, shape)) => {
                put_entry(&mut bytes, *number, key, *shape, value);
            }
            (None, Rest::Extensions(number)) => {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_bytes(&mut entry, 2, &any(value));
                put_bytes(&mut bytes, *number, &entry);
            }
            (None, Rest::Nothing) => debug_assert!(false, "`{key}` has no place in protobuf"),
        }
    }
    bytes
}

/// Gnostic's `Any`: its field 2 is YAML, which JSON is.
fn any(value: &Value) -> Vec<u8> {
    let mut any = Vec::new();
    put_bytes(&mut any, 2, value.to_string().as_bytes());
    any
}

/// `ParametersItem`: a parameter in the body, or one in the query or path.
fn parameter(value: &Value) -> Vec<u8> {
    let mut parameter = Vec::new();
    let place = value.get("in").and_then(Value::as_str);
    if place == Some("body") {
        put(&mut parameter, 1, Shape::Message(&BODY_PARAMETER), value);
    } else {
        let mut elsewhere = Vec::new();
        if place == Some("path") {
            put(&mut elsewhere, 4, Shape::Message(&PATH_PARAMETER), value);
        } else {
            put(&mut elsewhere, 3, Shape::Message(&QUERY_PARAMETER), value);
        }
        put_bytes(&mut parameter, 2, &elsewhere);
    }
    let mut item = Vec::new();
    put_bytes(&mut item, 1, &parameter);
    item
}

fn put_entry(bytes: &mut Vec<u8>, number: u32, name: &str, shape: Shape, value: &Value) {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, name.as_bytes());
    put(&mut entry, 2, shape, value);
    put_bytes(bytes, number, &entry);
}

fn put_bytes(bytes: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // Only the lowest seven bits are kept, so nothing is cut off.
        bytes.extend((value & 0x7f | 0x80).to_le_bytes().first());
        value >>= 7;
    }
    bytes.extend(value.to_le_bytes().first());
}
