//! The schemas of custom resources as messages and types.

use std::sync::LazyLock;

use super::{Keys, KeysSource, ListType, Message, Node, NodeSource, Source, Type};
use crate::custom::structural::{Kind, List, META_FIELDS, Structural};

/// What nothing is known of: objects field by field, all else as a whole.
static UNKNOWN: LazyLock<Structural> =
    LazyLock::new(|| Structural { kind: Kind::Object, open: true, ..Structural::default() });

/// An object whose fields a schema names.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    schema: &'a Structural,
    /// Whether it has the fields that every object has.
    whole: bool,
}

impl<'a> Object<'a> {
    pub(super) fn root(schema: &'a Structural) -> Self {
        Self { schema, whole: true }
    }

    pub(super) fn atomic(self) -> bool {
        self.schema.atomic
    }

    pub(super) fn typed(self) -> bool {
        self.whole
    }

    pub(super) fn same(self, other: Self) -> bool {
        std::ptr::eq(self.schema, other.schema)
    }

    pub(super) fn field(self, name: &str) -> Option<Type<'a>> {
        if self.whole && META_FIELDS.contains(&name) {
            return if name == "metadata" {
                super::object_meta().map(Type::Message)
            } else {
                Some(Type::String)
            };
        }
        match self.schema.below(name) {
            Some(below) => Some(kind(below)),
            None => self.schema.open.then(|| kind(&UNKNOWN)),
        }
    }
}

/// Type of the values of a schema.
pub(super) fn kind(schema: &Structural) -> Type<'_> {
    match schema.kind {
        Kind::String => Type::String,
        Kind::Boolean => Type::Bool,
        Kind::Integer => Type::Int64,
        Kind::Number => Type::Double,
        Kind::IntOrString => Type::IntOrString,
        Kind::Array => {
            let items = schema.items.as_deref().unwrap_or(&UNKNOWN);
            let list = match &schema.list {
                List::Atomic => ListType::Atomic,
                List::Set => ListType::Set,
                List::Map(keys) => ListType::Map(Keys(KeysSource::Custom(keys))),
            };
            Type::List(Node(NodeSource::Custom(items)), list)
        }
        Kind::Any | Kind::Object => match &schema.additional {
            Some(values) if schema.properties.is_empty() && !schema.embedded => {
                let values = Node(NodeSource::Custom(values));
                if schema.atomic { Type::AtomicMap(values) } else { Type::Map(values) }
            }
            Some(_) | None => {
                let whole = schema.embedded;
                Type::Message(Message(Source::Custom(Object { schema, whole })))
            }
        },
    }
}
