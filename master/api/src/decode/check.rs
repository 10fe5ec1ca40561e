//! Compares an object with the table of fields: drops what is unknown, refuses wrong types,
//! writes quantities in canonical form.

use serde_json::{Map, Value};

use super::place::{MENTIONED_MAX, Part, Place};
use crate::patch::bounds::shortened;
use crate::quantity::{ParseQuantityError, Quantity};
use crate::schema::{Field, Message, Type};
use crate::timestamp;

/// Why a value does not fit its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckTypesError {
    /// A value has the wrong JSON type.
    #[error(
        "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {expected}"
    )]
    WrongType {
        /// JSON type that was found; for numbers out of range with the number.
        found: String,
        /// Message that the field belongs to.
        owner: String,
        /// Path of the field without list indices.
        path: String,
        /// Type of the field.
        expected: String,
    },
    /// A quantity is malformed.
    #[error("{source} ({path})")]
    Quantity {
        /// Path of the field.
        path: String,
        /// What is wrong.
        source: ParseQuantityError,
    },
    /// A time is malformed.
    #[error("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse ({path})")]
    Time {
        /// Path of the field.
        path: String,
        /// What was found.
        text: String,
    },
    /// Bytes are not base64.
    #[error("illegal base64 data ({path})")]
    Base64 {
        /// Path of the field.
        path: String,
    },
}

/// Removes unknown fields and nulls from an object, and names the first unknown fields as paths.
///
/// # Errors
/// A field has a value of the wrong type.
pub fn prune(message: Message<'_>, object: &mut Value) -> Result<Vec<String>, CheckTypesError> {
    let mut walk = Walk { unknown: Vec::new() };
    let here = Here { owner: message.name(), place: None };
    walk.value(Type::Message(message), object, here)?;
    walk.unknown.sort();
    Ok(walk.unknown)
}

struct Walk {
    unknown: Vec<String>,
}

/// Where in the object the walk is.
#[derive(Clone, Copy)]
struct Here<'a> {
    owner: &'a str,
    place: Option<&'a Place<'a>>,
}

impl Here<'_> {
    fn path(&self) -> String {
        self.place.map(Place::plain).unwrap_or_default()
    }

    fn wrong(&self, value: &Value, expected: Type<'_>) -> CheckTypesError {
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if matches!(expected, Type::Int32 | Type::Int64) => {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        CheckTypesError::WrongType {
            found,
            owner: self.owner.to_owned(),
            path: self.path(),
            expected: name(expected),
        }
    }
}

impl Walk {
    fn value(
        &mut self,
        kind: Type<'_>,
        value: &mut Value,
        here: Here<'_>,
    ) -> Result<(), CheckTypesError> {
        match (kind, &mut *value) {
            (Type::Any | Type::FieldsV1, _)
            | (Type::String, Value::String(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Double, Value::Number(_))
            | (Type::IntOrString, Value::String(_)) => Ok(()),
            (Type::Int32 | Type::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) =>
            {
                Ok(())
            }
            (Type::Int64, Value::Number(number)) if number.as_i64().is_some() => Ok(()),
            (Type::Bytes, Value::String(text)) => {
                // Clients may break base64 into lines, and upstream takes it.
                text.retain(|letter| letter != '\n' && letter != '\r');
                if base64_valid(text) {
                    Ok(())
                } else {
                    Err(CheckTypesError::Base64 { path: here.path() })
                }
            }
            (Type::Time | Type::MicroTime, Value::String(text)) => {
                let micros = timestamp::parse_micro(text).ok_or_else(|| CheckTypesError::Time {
                    path: here.path(),
                    text: shortened(text),
                })?;
                // Typed clients read times of this one form only.
                *text = if matches!(kind, Type::MicroTime) {
                    timestamp::format_micro(micros)
                } else {
                    timestamp::format(micros.div_euclid(1_000_000))
                };
                Ok(())
            }
            (Type::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                let quantity: Quantity = text
                    .parse()
                    .map_err(|source| CheckTypesError::Quantity { path: here.path(), source })?;
                *value = quantity.to_string().into();
                Ok(())
            }
            (Type::Union(message), value) => {
                match message.fields().map(Field::kind).find(|kind| shaped(*kind, value)) {
                    Some(kind) => self.value(kind, value, here),
                    None => Err(here.wrong(value, kind)),
                }
            }
            (Type::Message(message), Value::Object(fields)) => self.message(message, fields, here),
            (Type::Map(kind) | Type::AtomicMap(kind), Value::Object(entries)) => {
                let kind = kind.kind();
                let text = matches!(kind, Type::String | Type::Bytes);
                for (key, value) in entries.iter_mut() {
                    // A null in a map of texts is the empty text, as in upstream.
                    if value.is_null() && text {
                        *value = "".into();
                    }
                    let place = Place { parent: here.place, part: Part::Key(key) };
                    self.value(kind, value, Here { place: Some(&place), ..here })?;
                }
                Ok(())
            }
            (Type::List(kind, _), Value::Array(items)) => {
                items.retain(|item| !item.is_null());
                for (index, item) in items.iter_mut().enumerate() {
                    let place = Place { parent: here.place, part: Part::Index(index) };
                    self.value(kind.kind(), item, Here { place: Some(&place), ..here })?;
                }
                Ok(())
            }
            (_, other) => Err(here.wrong(other, kind)),
        }
    }

    fn message(
        &mut self,
        message: Message<'_>,
        fields: &mut Map<String, Value>,
        here: Here<'_>,
    ) -> Result<(), CheckTypesError> {
        fields.retain(|key, value| {
            let known = message.field(key).is_some()
                || (message.typed() && (key == "apiVersion" || key == "kind"));
            if !known && self.unknown.len() < MENTIONED_MAX {
                let place = Place { parent: here.place, part: Part::Key(key) };
                self.unknown.push(place.indexed());
            }
            known && !value.is_null()
        });
        for (key, value) in fields.iter_mut() {
            if let Some(field) = message.field(key) {
                let place = Place { parent: here.place, part: Part::Key(key) };
                let below = Here { owner: message.name(), place: Some(&place) };
                self.value(field.kind(), value, below)?;
            }
        }
        // An empty list is none, as it is for upstream's encoder: a template with one and a
        // template without it are the same.
        fields.retain(|key, value| {
            message.field(key).is_none_or(|field| field.keeps_zero() || !empty(field.kind(), value))
        });
        Ok(())
    }
}

/// Whether a value is a truth value, an object or a list as a type is.
fn shaped(kind: Type<'_>, value: &Value) -> bool {
    matches!(
        (kind, value),
        (Type::Bool, Value::Bool(_))
            | (Type::Message(_), Value::Object(_))
            | (Type::List(..), Value::Array(_))
    )
}

/// Whether a value is a list or map with nothing in it.
fn empty(kind: Type<'_>, value: &Value) -> bool {
    match (kind, value) {
        (Type::List(..), Value::Array(items)) => items.is_empty(),
        (Type::Map(_) | Type::AtomicMap(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

fn name(kind: Type<'_>) -> String {
    match kind {
        Type::String => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Double => "float64".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Any | Type::FieldsV1 => "interface {}".to_owned(),
        Type::Message(message) | Type::Union(message) => {
            format!("{}.{}", message.version(), message.name())
        }
        Type::Map(kind) | Type::AtomicMap(kind) => format!("map[string]{}", name(kind.kind())),
        Type::List(kind, _) => format!("[]{}", name(kind.kind())),
    }
}

fn base64_valid(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
