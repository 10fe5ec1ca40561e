//! Text or protobuf to a JSON value, noticing duplicate keys and bounding depth and size.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::place::{MENTIONED_MAX, Part, Place};
use super::{DEPTH_MAX, MediaType};
use crate::protobuf;
use crate::status::Status;

/// Most bytes of text and values that a body may say. Written out a body says no more than its
/// own bytes, of which there are at most 3 MiB; with aliases YAML can say a thing many times.
const SAID_MAX: usize = 4 * 1024 * 1024;
/// Most steps that the YAML scanner may need for its open brackets: it looks at all of them for
/// every token. Fifty open brackets in the largest body stay below.
const SCAN_STEPS_MAX: usize = 1 << 27;
/// Most tokens of a YAML document: its reader keeps some 200 bytes for each. The largest manifests
/// that people apply, bundles of custom resource definitions, have a third of it.
const TOKENS_MAX: usize = 500_000;

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says; of duplicate keys the last one counts.
    pub value: Value,
    /// Paths of the first keys that appear twice.
    pub duplicates: Vec<String>,
}

/// Reads a body without looking at what it says.
///
/// # Errors
/// It is malformed, nested too deeply, or says more than a body may.
pub fn parse(body: &[u8], media: MediaType) -> Result<Parsed, Status> {
    let reading = Reading { duplicates: RefCell::default(), left: Cell::new(SAID_MAX) };
    let seed = ValueSeed { reading: &reading, place: None, depth: 0 };
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
            let refuse = |error: &dyn fmt::Display| {
                Status::bad_request(format!("error converting YAML to JSON: {error}"))
            };
            // What kubectl applies is JSON under the name of YAML: no need of the costlier reader.
            if body.trim_ascii_start().starts_with(b"{")
                && let Ok(parsed) = parse(body, MediaType::Json)
            {
                return Ok(parsed);
            }
            foresee(body).map_err(|error| refuse(&error))?;
            let deserializer = yaml_serde::Deserializer::from_slice(body);
            seed.deserialize(deserializer).map_err(|error| refuse(&error))?
        }
    };
    Ok(Parsed { value, duplicates: reading.duplicates.into_inner() })
}

/// Refuses YAML that would cost its reader, which looks at all of a document before it gives
/// anything back, too much time or memory.
///
/// Signs within texts count, too, so this may see too much, never too little.
fn foresee(body: &[u8]) -> Result<(), String> {
    let (mut open, mut deepest, mut tokens) = (0_usize, 1_usize, 1_usize);
    // Whether only indicators of lists and keys stand in the line so far, and how many.
    let (mut indented, mut indicators) = (true, 0_usize);
    for (index, byte) in body.iter().enumerate() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                deepest = deepest.max(open);
                tokens += 1;
            }
            b']' | b'}' => {
                open = open.saturating_sub(1);
                tokens += 1;
            }
            b',' | b':' | b'\n' | b'-' | b'?' | b'&' | b'*' | b'!' | b'"' | b'\'' => tokens += 1,
            _ => {}
        }
        match byte {
            b'\n' | b'\r' => (indented, indicators) = (true, 0),
            b' ' | b'\t' => {}
            b'-' | b'?' if indented => {
                indented = body.get(index + 1).is_none_or(u8::is_ascii_whitespace);
                indicators += usize::from(indented);
            }
            _ => indented = false,
        }
        if indicators > DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} levels deep"));
        }
    }
    if deepest.saturating_mul(tokens) > SCAN_STEPS_MAX {
        return Err("too many brackets are open at once".to_owned());
    }
    if tokens > TOKENS_MAX {
        return Err(format!("more than {TOKENS_MAX} tokens"));
    }
    Ok(())
}

/// What is noticed while a body is read.
struct Reading {
    duplicates: RefCell<Vec<String>>,
    /// Bytes that the body may still say.
    left: Cell<usize>,
}

impl Reading {
    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes);
        let left = left.ok_or_else(|| E::custom("document contains excessive aliasing"))?;
        self.left.set(left);
        Ok(())
    }
}

struct ValueSeed<'a> {
    reading: &'a Reading,
    place: Option<&'a Place<'a>>,
    depth: usize,
}

impl<'a> ValueSeed<'a> {
    fn below<'b, E: Error>(&self, place: &'b Place<'b>) -> Result<ValueSeed<'b>, E>
    where
        'a: 'b,
    {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(ValueSeed { reading: self.reading, place: Some(place), depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        // A value is at least one byte; aliases of it are as many values.
        self.reading.spend(1)?;
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

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.reading.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.reading.spend(value.len())?;
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
            let place = Place { parent: self.place, part: Part::Index(items.len()) };
            match access.next_element_seed(self.below(&place)?)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            self.reading.spend(key.len())?;
            let place = Place { parent: self.place, part: Part::Key(&key) };
            let value = access.next_value_seed(self.below(&place)?)?;
            if object.contains_key(&key) {
                let mut duplicates = self.reading.duplicates.borrow_mut();
                if duplicates.len() < MENTIONED_MAX {
                    duplicates.push(place.indexed());
                }
            }
            object.insert(key, value);
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
