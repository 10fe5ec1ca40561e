//! Definitions of kinds and of the messages in them, made from the table of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::custom::{self, Custom};
use crate::resource::Resource;
use crate::schema::{self, Descriptions, Field, ListType, Merge, Message, Type};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

/// What a definition is made from.
enum Source<'a> {
    Message(Message<'a>),
    Leaf(Value),
    Custom(&'a Resource, &'a Custom),
}

/// Definitions that these resources need, by name.
pub(super) fn all<'a>(
    dialect: Dialect,
    resources: &[&'a Resource],
) -> impl Iterator<Item = (String, Value)> + use<'a> {
    let mut found = BTreeMap::new();
    for resource in resources {
        match (resource.custom(), resource.schema()) {
            (Some(_), _) => custom(dialect, resource, &mut found),
            (None, Some(message)) => collect(dialect, message, &mut found),
            (None, None) => {}
        }
    }
    // Names are in order, so that the messages of a package follow each other.
    let mut described = (String::new(), Descriptions::default());
    found.into_iter().map(move |(name, source)| {
        let definition = match source {
            Source::Message(message) => {
                if described.0 != message.package() {
                    let descriptions = schema::built_in().descriptions(message.package());
                    described = (message.package().to_owned(), descriptions);
                }
                object(dialect, message, &described.1)
            }
            Source::Leaf(definition) => definition,
            Source::Custom(resource, custom) => {
                custom::definition(resource, custom.document(), dialect == Dialect::V2)
            }
        };
        (name, definition)
    })
}

/// Name of the definition of a resource's objects; none if there is none.
pub(super) fn of_objects(resource: &Resource) -> Option<String> {
    match resource.custom() {
        Some(_) => Some(custom::definition_name(resource)),
        None => resource.schema().map(name),
    }
}

/// The definitions of a custom resource's objects and of lists of them.
fn custom<'a>(dialect: Dialect, resource: &'a Resource, found: &mut BTreeMap<String, Source<'a>>) {
    let Some(own) = resource.custom() else { return };
    for message in schema::object_meta().into_iter().chain(schema::list_meta()) {
        collect(dialect, message, found);
    }
    let name = custom::definition_name(resource);
    let list = format!("{}{}", name.trim_end_matches(&*resource.kind), resource.list_kind());
    let reference = schema::list_meta().map(|message| dialect.reference(&self::name(message)));
    let definition = json!({
        "description": format!("A list of {}", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": reference,
            "items": {"type": "array", "items": dialect.reference(&name)},
        },
        "x-kubernetes-group-version-kind": [{
            "group": resource.group, "version": resource.version, "kind": resource.list_kind(),
        }],
    });
    found.insert(list, Source::Leaf(definition));
    found.insert(name, Source::Custom(resource, own));
}

/// Name of a message's definition.
pub(super) fn name(message: Message<'_>) -> String {
    format!("{}.{}", message.package(), message.name())
}

fn collect<'a>(dialect: Dialect, message: Message<'a>, found: &mut BTreeMap<String, Source<'a>>) {
    if found.insert(name(message), Source::Message(message)).is_some() {
        return;
    }
    for field in message.fields() {
        let mut kind = field.kind();
        while let Type::Map(inner) | Type::AtomicMap(inner) | Type::List(inner, _) = kind {
            kind = inner.kind();
        }
        if let Type::Message(inner) = kind {
            collect(dialect, inner, found);
        } else if let Type::Union(inner) = kind {
            union(inner, found);
        } else if let Some((name, definition)) = leaf(dialect, kind) {
            found.insert(name.to_owned(), Source::Leaf(definition));
        }
    }
}

/// What may be one or another has a definition that says nothing.
fn union<'a>(message: Message<'a>, found: &mut BTreeMap<String, Source<'a>>) {
    found.insert(name(message), Source::Leaf(json!({})));
}

/// Name and definition of a type that is no message but has a definition of its own.
fn leaf(dialect: Dialect, kind: Type<'_>) -> Option<(&'static str, Value)> {
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
        (Type::FieldsV1, _) => (FIELDS_V1, json!({"type": "object"})),
        (Type::Any, _) => (RAW_EXTENSION, json!({"type": "object"})),
        (
            Type::String
            | Type::Bool
            | Type::Int32
            | Type::Int64
            | Type::Double
            | Type::Bytes
            | Type::Message(_)
            | Type::Union(_)
            | Type::Map(_)
            | Type::AtomicMap(_)
            | Type::List(..),
            _,
        ) => return None,
    })
}

fn object(dialect: Dialect, message: Message<'_>, descriptions: &Descriptions) -> Value {
    let mut properties = Map::new();
    if message.typed() {
        for name in ["apiVersion", "kind"] {
            properties.insert(name.to_owned(), json!({"type": "string"}));
        }
    }
    let mut required = Vec::new();
    for (place, field) in message.fields().enumerate() {
        if field.required() {
            required.push(field.name());
        }
        let property = property(dialect, field, descriptions.field(message, place));
        properties.insert(field.name().to_owned(), property);
    }
    let mut definition = Map::new();
    let description = descriptions.message(message);
    if !description.is_empty() {
        definition.insert("description".to_owned(), description.into());
    }
    definition.insert("type".to_owned(), "object".into());
    definition.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        definition.insert("required".to_owned(), json!(required));
    }
    if message.atomic() {
        definition.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    let kinds: Vec<Value> = message
        .kinds()
        .map(|(group, version, kind)| json!({"group": group, "version": version, "kind": kind}))
        .collect();
    if !kinds.is_empty() {
        definition.insert("x-kubernetes-group-version-kind".to_owned(), Value::Array(kinds));
    }
    Value::Object(definition)
}

fn property(dialect: Dialect, field: Field<'_>, description: &str) -> Value {
    let mut property = value(dialect, field.kind());
    // Beside a reference of version 3 nothing else counts.
    if dialect == Dialect::V3 && property.get("$ref").is_some() {
        property = json!({"allOf": [property]});
    }
    let Some(parts) = property.as_object_mut() else { return property };
    if !description.is_empty() {
        parts.insert("description".to_owned(), description.into());
    }
    let merge = match field.merge() {
        Merge::Replace => None,
        Merge::Values => Some("merge"),
        Merge::ByKey(key) => {
            parts.insert("x-kubernetes-patch-merge-key".to_owned(), key.into());
            Some("merge")
        }
    };
    let strategies: Vec<&str> =
        merge.into_iter().chain(field.retains_keys().then_some("retainKeys")).collect();
    if !strategies.is_empty() {
        parts.insert("x-kubernetes-patch-strategy".to_owned(), strategies.join(",").into());
    }
    property
}

/// Schema of what a field holds.
fn value(dialect: Dialect, kind: Type<'_>) -> Value {
    match kind {
        Type::Quantity => dialect.reference(QUANTITY),
        Type::IntOrString => dialect.reference(INT_OR_STRING),
        Type::Time => dialect.reference(TIME),
        Type::MicroTime => dialect.reference(MICRO_TIME),
        Type::FieldsV1 => dialect.reference(FIELDS_V1),
        Type::Any => dialect.reference(RAW_EXTENSION),
        Type::String => json!({"type": "string"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Message(message) | Type::Union(message) => dialect.reference(&name(message)),
        Type::Map(inner) => {
            json!({"type": "object", "additionalProperties": value(dialect, inner.kind())})
        }
        Type::AtomicMap(inner) => json!({
            "type": "object",
            "additionalProperties": value(dialect, inner.kind()),
            "x-kubernetes-map-type": "atomic",
        }),
        Type::List(inner, merge) => list(&value(dialect, inner.kind()), merge),
    }
}

fn list(items: &Value, merge: ListType<'_>) -> Value {
    match merge {
        ListType::Atomic => {
            json!({"type": "array", "items": items, "x-kubernetes-list-type": "atomic"})
        }
        ListType::Set => json!({"type": "array", "items": items, "x-kubernetes-list-type": "set"}),
        ListType::Map(keys) => json!({
            "type": "array",
            "items": items,
            "x-kubernetes-list-map-keys": keys.iter().collect::<Vec<_>>(),
            "x-kubernetes-list-type": "map",
        }),
    }
}
