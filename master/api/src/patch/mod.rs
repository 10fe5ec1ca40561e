//! The four ways to change a part of an object.
//!
//! The results still have to be checked, defaulted and validated.

pub mod apply;
mod field_set;
pub mod json;
pub mod merge;
pub mod strategic;

use crate::schema::{Message, Type};

/// Type of a field; any shape if it is not known.
fn field_type(kind: Type, key: &str) -> Type {
    match kind {
        Type::Message(message) => message.field(key).map_or(Type::Any, |field| field.kind),
        Type::Map(kind) | Type::AtomicMap(kind) => *kind,
        Type::String
        | Type::Bool
        | Type::Int32
        | Type::Int64
        | Type::Double
        | Type::Bytes
        | Type::Quantity
        | Type::IntOrString
        | Type::Time
        | Type::MicroTime
        | Type::Any
        | Type::List(..) => Type::Any,
    }
}

/// Type of an object as a whole; any shape if its kind is not in the table of fields.
fn root_type(message: Option<&'static Message>) -> Type {
    message.map_or(Type::Any, Type::Message)
}
