//! The four ways to change a part of an object.
//!
//! The results still have to be checked, defaulted and validated.

pub mod apply;
pub mod bounds;
mod field_set;
pub mod json;
mod managers;
pub mod merge;
mod overlay;
mod pointer;
pub mod strategic;
mod tree;
mod typed;

use crate::resource::Resource;
use crate::schema::Type;

/// Type of a field; any shape if it is not known.
fn field_type<'a>(kind: Type<'a>, key: &str) -> Type<'a> {
    match kind {
        Type::Message(message) => message.field(key).map_or(Type::Any, |field| field.kind()),
        Type::Map(kind) | Type::AtomicMap(kind) => kind.kind(),
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
        | Type::FieldsV1
        | Type::Union(_)
        | Type::List(..) => Type::Any,
    }
}

/// Type of an object as a whole; any shape if its kind has no schema.
fn root_type(resource: &Resource) -> Type<'_> {
    resource.schema().map_or(Type::Any, Type::Message)
}
