//! Text or protobuf to a JSON value, noticing duplicate keys and bounding the depth.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DEPTH_MAX, MediaType};
use crate::protobuf;
use crate::status::Status;

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says; of duplicate keys the last one counts.
    pub value: Value,
    /// Paths of keys that appear twice.
    pub duplicates: Vec<String>,
}

/// Reads a body without looking at what it says.
///
/// # Errors
/// It is malformed or nested too deeply.
pub fn parse(body: &[u8], media: MediaType) -> Result<Parsed, Status> {
    let duplicates = RefCell::new(Vec::new());
    let seed = ValueSeed { duplicates: &duplicates, path: String::new(), depth: 0 };
    let refuse = |error: &dyn fmt::Display| {
        Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    };
    let value = match media {
        _ if protobuf::is_protobuf(body) => {
            protobuf::decode(body).map_err(|error| Status::bad_request(error.to_string()))?
        }
        MediaType::Protobuf => {
            return Err(Status::bad_request(
                "provided data does not appear to be a protobuf message",
            ));
        }
        MediaType::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let value = seed.deserialize(&mut deserializer).map_err(|error| refuse(&error))?;
            deserializer.end().map_err(|error| refuse(&error))?;
            value
        }
        MediaType::Yaml => {
            let deserializer = yaml_serde::Deserializer::from_slice(body);
            seed.deserialize(deserializer).map_err(|error| {
                Status::bad_request(format!("error converting YAML to JSON: {error}"))
            })?
        }
    };
    Ok(Parsed { value, duplicates: duplicates.into_inner() })
}

struct ValueSeed<'a> {
    duplicates: &'a RefCell<Vec<String>>,
    path: String,
    depth: usize,
}

impl ValueSeed<'_> {
    fn below<E: Error>(&self, path: String) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(Self { duplicates: self.duplicates, path, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("numbers have to be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let seed = self.below(format!("{}[{}]", self.path, items.len()))?;
            match access.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            let path =
                if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let value = access.next_value_seed(self.below(path.clone())?)?;
            if object.insert(key, value).is_some() {
                self.duplicates.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(object))
    }
}

/// A key of an object; YAML also writes numbers and truth values there.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as key")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }
}
