//! Definitions of kinds and of the messages in them, made from the table of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::resource::Resource;
use crate::schema::{self, Field, ListType, Message, Type};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
/// The only JSON of any shape is what `managedFields` holds.
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

/// What a definition is made from.
enum Source {
    Kind(&'static Message, &'static Resource),
    Message(&'static Message),
    Leaf(Value),
}

/// Definitions that these resources need, by name.
pub(super) fn all(
    dialect: Dialect,
    resources: &[&'static Resource],
) -> impl Iterator<Item = (String, Value)> {
    let mut found = BTreeMap::new();
    for resource in resources {
        if let Some(message) = schema::find(resource.group, resource.kind) {
            found.insert(name(message), Source::Kind(message, resource));
            collect(dialect, message.fields, &mut found);
        }
    }
    found.into_iter().map(move |(name, source)| {
        let definition = match source {
            Source::Kind(message, resource) => kind(dialect, message, resource),
            Source::Message(message) => object(dialect, message),
            Source::Leaf(definition) => definition,
        };
        (name, definition)
    })
}

/// Name of a message's definition.
pub(super) fn name(message: &Message) -> String {
    format!("{}.{}", message.package.path(), message.name)
}

fn collect(dialect: Dialect, fields: &'static [Field], found: &mut BTreeMap<String, Source>) {
    for field in fields {
        let mut kind = field.kind;
        while let Type::Map(inner) | Type::AtomicMap(inner) | Type::List(inner, _) = kind {
            kind = *inner;
        }
        if let Type::Message(message) = kind {
            // The fields of an embedded message are the outer one's.
            let known = !field.name.is_empty()
                && found.insert(name(message), Source::Message(message)).is_some();
            if !known {
                collect(dialect, message.fields, found);
            }
        } else if let Some((name, definition)) = leaf(dialect, kind) {
            found.insert(name.to_owned(), Source::Leaf(definition));
        }
    }
}

/// Name and definition of a type that is no message but has a definition of its own.
fn leaf(dialect: Dialect, kind: Type) -> Option<(&'static str, Value)> {
    Some(match (kind, dialect) {
        (Type::Quantity, Dialect::V2) => (QUANTITY, json!({"type": "string"})),
        (Type::Quantity, Dialect::V3) => {
            (QUANTITY, json!({"oneOf": [{"type": "string"}, {"type": "number"}]}))
        }
        (Type::IntOrString, Dialect::V2) => {
            (INT_OR_STRING, json!({"type": "string", "format": "int-or-string"}))
        }
        (Type::IntOrString, Dialect::V3) => {
            let either = json!([{"type": "integer"}, {"type": "string"}]);
            (INT_OR_STRING, json!({"format": "int-or-string", "oneOf": either}))
        }
        (Type::Time, _) => (TIME, json!({"type": "string", "format": "date-time"})),
        (Type::MicroTime, _) => (MICRO_TIME, json!({"type": "string", "format": "date-time"})),
        (Type::Any, _) => (FIELDS_V1, json!({"type": "object"})),
        (
            Type::String
            | Type::Bool
            | Type::Int32
            | Type::Int64
            | Type::Double
            | Type::Bytes
            | Type::Message(_)
            | Type::Map(_)
            | Type::AtomicMap(_)
            | Type::List(..),
            _,
        ) => return None,
    })
}

fn kind(dialect: Dialect, message: &Message, resource: &Resource) -> Value {
    let mut definition = object(dialect, message);
    if let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) {
        for name in ["apiVersion", "kind"] {
            properties.insert(name.to_owned(), json!({"type": "string"}));
        }
    }
    if let Some(parts) = definition.as_object_mut() {
        let kind =
            json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
        parts.insert("x-kubernetes-group-version-kind".to_owned(), kind);
    }
    definition
}

fn object(dialect: Dialect, message: &Message) -> Value {
    let mut properties = Map::new();
    insert_fields(dialect, message.fields, &mut properties);
    let mut definition = json!({"type": "object", "properties": properties});
    if let Some(parts) = definition.as_object_mut().filter(|_| message.atomic) {
        parts.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    definition
}

fn insert_fields(dialect: Dialect, fields: &[Field], properties: &mut Map<String, Value>) {
    for field in fields {
        match (field.name, field.kind) {
            ("", Type::Message(embedded)) => insert_fields(dialect, embedded.fields, properties),
            (name, kind) => {
                properties.insert(name.to_owned(), value(dialect, kind));
            }
        }
    }
}

/// Schema of what a field holds.
fn value(dialect: Dialect, kind: Type) -> Value {
    match kind {
        Type::Quantity => dialect.reference(QUANTITY),
        Type::IntOrString => dialect.reference(INT_OR_STRING),
        Type::Time => dialect.reference(TIME),
        Type::MicroTime => dialect.reference(MICRO_TIME),
        Type::Any => dialect.reference(FIELDS_V1),
        Type::String => json!({"type": "string"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Message(message) => dialect.reference(&name(message)),
        Type::Map(inner) => {
            json!({"type": "object", "additionalProperties": value(dialect, *inner)})
        }
        Type::AtomicMap(inner) => json!({
            "type": "object",
            "additionalProperties": value(dialect, *inner),
            "x-kubernetes-map-type": "atomic",
        }),
        Type::List(inner, merge) => list(&value(dialect, *inner), merge),
    }
}

fn list(items: &Value, merge: ListType) -> Value {
    match merge {
        ListType::Atomic => {
            json!({"type": "array", "items": items, "x-kubernetes-list-type": "atomic"})
        }
        ListType::Set => json!({"type": "array", "items": items, "x-kubernetes-list-type": "set"}),
        ListType::Map(keys) => json!({
            "type": "array",
            "items": items,
            "x-kubernetes-list-map-keys": keys,
            "x-kubernetes-list-type": "map",
        }),
    }
}
