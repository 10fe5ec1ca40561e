//! Values that expressions work on: those of an object as they are, without copying them, and what
//! is made of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::Value;

use crate::custom::structural::{Kind, Structural};
use crate::quantity::Quantity;
use crate::timestamp;

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(Rc<[Val<'a>]>),
    Map(Rc<BTreeMap<Key, Val<'a>>>),
    /// A list or an object of what is judged, and its schema where that is known.
    Json(&'a Value, Option<&'a Structural>),
    /// Nanoseconds.
    Duration(i64),
    /// Microseconds since 1970.
    Time(i64),
    /// Name of a type.
    Type(&'static str),
    Optional(Option<Rc<Val<'a>>>),
    Quantity(Quantity),
    Ip(IpAddr),
    Network(IpAddr, u8),
}

/// A text: of an object or expression, or made.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    Part(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Part(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
}

impl<'a> Val<'a> {
    /// A text that was made.
    pub(crate) fn made(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// A list that was made.
    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(items.into())
    }

    /// What a value of an object is by its schema.
    pub(crate) fn of(value: &'a Value, schema: Option<&'a Structural>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                let double = schema.is_some_and(|schema| schema.kind == Kind::Number);
                match (number.as_i64(), number.as_u64()) {
                    (Some(number), _) if !double => Self::Int(number),
                    (None, Some(number)) if !double => Self::UInt(number),
                    _ => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            Value::String(text) => {
                let checks = schema.and_then(|schema| schema.checks.as_ref());
                let known = match checks.map_or("", |checks| &*checks.format) {
                    "date-time" => timestamp::parse_micro(text).map(Self::Time),
                    "date" => timestamp::parse(&format!("{text}T00:00:00Z"))
                        .and_then(|seconds| seconds.checked_mul(1_000_000))
                        .map(Self::Time),
                    "duration" => super::functions::duration(text).map(Self::Duration),
                    "byte" => crate::protobuf::from_base64(text).map(|it| Self::Bytes(it.into())),
                    _ => None,
                };
                known.unwrap_or(Self::Text(Text::Part(text)))
            }
            Value::Array(_) | Value::Object(_) => Self::Json(value, schema),
        }
    }

    /// Name of its type, as expressions and messages have it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::Json(Value::Array(_), _) => "list",
            Self::Map(_) | Self::Json(..) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Network(..) => "net.CIDR",
        }
    }

    /// The items of a list; none if it is no list.
    pub(crate) fn items(&self) -> Option<Items<'a>> {
        match self {
            Self::List(items) => Some(Items::Made(Rc::clone(items))),
            Self::Json(Value::Array(items), schema) => {
                Some(Items::Part(items, schema.and_then(|schema| schema.items.as_deref())))
            }
            _ => None,
        }
    }

    /// The keys of a map; none if it is no map.
    pub(crate) fn keys(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Self::Map(entries) => Some(entries.keys().map(Key::value).collect()),
            Self::Json(Value::Object(fields), _) => {
                Some(fields.keys().map(|key| Self::Text(Text::Part(key))).collect())
            }
            _ => None,
        }
    }

    /// What a map has at a key; none if there is nothing, or it is no map.
    pub(crate) fn at_key(&self, key: &Key) -> Option<Val<'a>> {
        match (self, key) {
            (Self::Map(entries), key) => entries.get(key).cloned(),
            (Self::Json(value @ Value::Object(_), schema), Key::Text(name)) => {
                let below = schema.and_then(|schema| schema.below(name));
                Some(Self::of(value.get(&**name)?, below))
            }
            _ => None,
        }
    }

    /// Number of items, entries or letters; none if it has none.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            Self::Json(Value::Array(items), _) => Some(items.len()),
            Self::Json(Value::Object(fields), _) => Some(fields.len()),
            _ => None,
        }
    }

    /// As a key of a map, if it can be one.
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(number) => Some(Key::Int(*number)),
            Self::UInt(number) => i64::try_from(*number).ok().map(Key::Int),
            Self::Text(text) => Some(Key::Text((**text).into())),
            _ => None,
        }
    }
}

impl Key {
    fn value<'a>(&self) -> Val<'a> {
        match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(number) => Val::Int(*number),
            Self::Text(text) => Val::Text(Text::Made(Rc::clone(text))),
        }
    }
}

/// Items of a list.
#[derive(Debug, Clone)]
pub(crate) enum Items<'a> {
    Made(Rc<[Val<'a>]>),
    Part(&'a [Value], Option<&'a Structural>),
}

impl<'a> Items<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Made(items) => items.len(),
            Self::Part(items, _) => items.len(),
        }
    }

    pub(crate) fn get(&self, place: usize) -> Option<Val<'a>> {
        match self {
            Self::Made(items) => items.get(place).cloned(),
            Self::Part(items, schema) => items.get(place).map(|item| Val::of(item, *schema)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Val<'a>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}
