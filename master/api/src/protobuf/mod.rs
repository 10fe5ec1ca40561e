//! Kubernetes protobuf to JSON, driven by the table of fields.
//!
//! Only reading: answers are JSON, which clients that send protobuf accept. A kind that is not
//! in the table is an error; numbers of fields that are not in it are skipped.

mod base64;
pub(crate) mod wire;

use serde_json::{Map, Value};

use self::wire::{Reader, Scalar};
use crate::decode::DEPTH_MAX;
use crate::schema::{self, Node, Type, Wire, Wires};
use crate::timestamp;

/// What every body starts with: "k8s" and a zero byte.
const MAGIC: [u8; 4] = [0x6b, 0x38, 0x73, 0x00];

/// Why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProtobufError {
    /// The four bytes are missing.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Magic,
    /// It ends in the middle of a field.
    #[error("unexpected end of the protobuf message")]
    Truncated,
    /// A field is malformed.
    #[error("malformed field {number} of protobuf message `{message}`")]
    Field {
        /// Message that it belongs to.
        message: &'static str,
        /// Its number.
        number: u32,
    },
    /// No kind of that name can be decoded.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    UnknownKind {
        /// Version that was sent.
        api_version: String,
        /// Kind that was sent.
        kind: String,
    },
    /// Messages are nested too deeply.
    #[error("protobuf message is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
}

/// Whether a body is Kubernetes protobuf.
#[must_use]
pub fn is_protobuf(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Decodes a body to an object with `apiVersion` and `kind`.
///
/// # Errors
/// The body is malformed or of a kind that is not known.
pub fn decode(body: &[u8]) -> Result<Value, DecodeProtobufError> {
    let body = body.strip_prefix(&MAGIC).ok_or(DecodeProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut unknown = Reader::new(body);
    while let Some((number, scalar)) = unknown.field()? {
        match (number, scalar) {
            (1, Scalar::Bytes(type_meta)) => {
                let mut type_meta = Reader::new(type_meta);
                while let Some((number, scalar)) = type_meta.field()? {
                    match (number, scalar) {
                        (1, Scalar::Bytes(text)) => api_version = read_text("TypeMeta", 1, text)?,
                        (2, Scalar::Bytes(text)) => kind = read_text("TypeMeta", 2, text)?,
                        _ => {}
                    }
                }
            }
            (2, Scalar::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let Some(message) = schema::built_in().find(group, version, &kind) else {
        return Err(DecodeProtobufError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    read_message(message.name(), message.wires(), raw, &mut object, 0)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// Encodes bytes as JSON has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::encode(bytes)
}

/// Decodes bytes as JSON has them; none if they are malformed.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    base64::decode(text)
}

fn read_message(
    name: &'static str,
    wires: Wires<'static>,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeProtobufError> {
    if depth >= DEPTH_MAX {
        return Err(DecodeProtobufError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, scalar)) = reader.field()? {
        let malformed = DecodeProtobufError::Field { message: name, number };
        let field = match (wires.find(number), scalar) {
            (None, _) => continue,
            (Some(Wire::Field(field)), _) => field,
            (Some(Wire::Embedded(embedded)), Scalar::Bytes(bytes)) => {
                read_message(name, embedded, bytes, object, depth + 1)?;
                continue;
            }
            (Some(Wire::Embedded(_)), _) => return Err(malformed),
        };
        match (field.kind(), scalar) {
            (Type::List(kind, _), Scalar::Bytes(bytes))
                if matches!(kind.kind(), Type::Int32 | Type::Int64 | Type::Bool) =>
            {
                // Packed: the numbers follow each other without tags.
                let mut packed = Reader::new(bytes);
                while let Some(number) = packed.packed()? {
                    let item = read_value(kind.kind(), Scalar::Varint(number), &malformed, depth)?;
                    push(object, field.name(), item);
                }
            }
            (Type::List(kind, _), scalar) => {
                let item = read_value(kind.kind(), scalar, &malformed, depth)?;
                push(object, field.name(), item);
            }
            (Type::Map(kind) | Type::AtomicMap(kind), Scalar::Bytes(bytes)) => {
                let (key, value) = read_entry(kind, bytes, &malformed, depth)?;
                let slot = object.entry(field.name()).or_insert_with(|| Value::Object(Map::new()));
                if let Some(entries) = slot.as_object_mut() {
                    entries.insert(key, value);
                }
            }
            (kind, scalar) => {
                let value = read_value(kind, scalar, &malformed, depth)?;
                if field.keeps_zero() || !zero(&value) {
                    object.insert(field.name().to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

/// Go writes every field that is no pointer, also where JSON would leave it out.
fn zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn push(object: &mut Map<String, Value>, name: &str, item: Value) {
    let slot = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if let Some(items) = slot.as_array_mut() {
        items.push(item);
    }
}

fn read_value(
    kind: Type<'static>,
    scalar: Scalar<'_>,
    malformed: &DecodeProtobufError,
    depth: usize,
) -> Result<Value, DecodeProtobufError> {
    Ok(match (kind, scalar) {
        (Type::Bool, Scalar::Varint(number)) => (number != 0).into(),
        (Type::Int32 | Type::Int64, Scalar::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Scalar::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Type::String, Scalar::Bytes(bytes)) => {
            std::str::from_utf8(bytes).map_err(|_| malformed.clone())?.into()
        }
        (Type::Bytes, Scalar::Bytes(bytes)) => base64::encode(bytes).into(),
        (Type::Message(message), Scalar::Bytes(bytes)) => {
            let mut object = Map::new();
            read_message(message.name(), message.wires(), bytes, &mut object, depth + 1)?;
            Value::Object(object)
        }
        (Type::Union(message), Scalar::Bytes(bytes)) => {
            let mut fields = Map::new();
            read_message(message.name(), message.wires(), bytes, &mut fields, depth + 1)?;
            // Go writes the truth value beside the schema that counts, and leaves it out when false.
            let whole = |value: &&Value| value.is_object() || value.is_array();
            let found = fields.values().find(whole).or_else(|| fields.values().next());
            found.cloned().unwrap_or(Value::Bool(false))
        }
        // A list that is the value of a map is a message with one field.
        (Type::List(kind, _), Scalar::Bytes(bytes)) => {
            let mut items = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some((number, scalar)) = reader.field()? {
                if number == 1 {
                    items.push(read_value(kind.kind(), scalar, malformed, depth)?);
                }
            }
            Value::Array(items)
        }
        (Type::Quantity, Scalar::Bytes(bytes)) => match numbered(bytes, 1)? {
            Some(Scalar::Bytes(text)) => {
                std::str::from_utf8(text).map_err(|_| malformed.clone())?.into()
            }
            Some(_) => return Err(malformed.clone()),
            None => "0".into(),
        },
        (Type::IntOrString, Scalar::Bytes(bytes)) => read_int_or_string(bytes, malformed)?,
        (Type::Time | Type::MicroTime, Scalar::Bytes(bytes)) => {
            read_time(bytes, matches!(kind, Type::MicroTime), malformed)?
        }
        (Type::Any | Type::FieldsV1, Scalar::Bytes(bytes)) => match numbered(bytes, 1)? {
            Some(Scalar::Bytes(json)) => {
                serde_json::from_slice(json).map_err(|_| malformed.clone())?
            }
            _ => Value::Null,
        },
        _ => return Err(malformed.clone()),
    })
}

fn read_entry(
    kind: Node<'static>,
    bytes: &[u8],
    malformed: &DecodeProtobufError,
    depth: usize,
) -> Result<(String, Value), DecodeProtobufError> {
    let key = match numbered(bytes, 1)? {
        Some(Scalar::Bytes(text)) => {
            std::str::from_utf8(text).map_err(|_| malformed.clone())?.to_owned()
        }
        Some(_) => return Err(malformed.clone()),
        None => String::new(),
    };
    let value = numbered(bytes, 2)?.unwrap_or(Scalar::Bytes(&[]));
    Ok((key, read_value(kind.kind(), value, malformed, depth)?))
}

fn read_int_or_string(
    bytes: &[u8],
    malformed: &DecodeProtobufError,
) -> Result<Value, DecodeProtobufError> {
    let is_text = matches!(numbered(bytes, 1)?, Some(Scalar::Varint(1)));
    Ok(match numbered(bytes, if is_text { 3 } else { 2 })? {
        Some(Scalar::Bytes(text)) if is_text => {
            std::str::from_utf8(text).map_err(|_| malformed.clone())?.into()
        }
        Some(Scalar::Varint(number)) if !is_text => number.cast_signed().into(),
        None if is_text => "".into(),
        None => 0.into(),
        Some(_) => return Err(malformed.clone()),
    })
}

fn read_time(
    bytes: &[u8],
    micro: bool,
    malformed: &DecodeProtobufError,
) -> Result<Value, DecodeProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let number = |scalar: Option<Scalar<'_>>| match scalar {
        Some(Scalar::Varint(number)) => Ok(number.cast_signed()),
        None => Ok(0),
        Some(_) => Err(malformed.clone()),
    };
    let seconds = number(numbered(bytes, 1)?)?;
    let nanos = number(numbered(bytes, 2)?)?;
    // The range of years that four digits can name; anything else is no honest time.
    if !(-62_135_596_800..253_402_300_800).contains(&seconds)
        || !(0..1_000_000_000).contains(&nanos)
    {
        return Err(malformed.clone());
    }
    Ok(if micro {
        timestamp::format_micro(seconds * 1_000_000 + nanos / 1000).into()
    } else {
        timestamp::format(seconds).into()
    })
}

/// Last field of that number.
fn numbered(bytes: &[u8], wanted: u32) -> Result<Option<Scalar<'_>>, DecodeProtobufError> {
    let mut reader = Reader::new(bytes);
    let mut found = None;
    while let Some((number, scalar)) = reader.field()? {
        if number == wanted {
            found = Some(scalar);
        }
    }
    Ok(found)
}

fn read_text(
    message: &'static str,
    number: u32,
    bytes: &[u8],
) -> Result<String, DecodeProtobufError> {
    std::str::from_utf8(bytes)
        .map(ToOwned::to_owned)
        .map_err(|_| DecodeProtobufError::Field { message, number })
}

#[cfg(test)]
mod tests;
