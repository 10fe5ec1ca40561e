//! Messages of `policy/v1`: Eviction.

use super::{Field, Message, Package, Type, field, meta};

pub(super) static EVICTION: Message = message(
    "Eviction",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "deleteOptions", Type::Message(&meta::DELETE_OPTIONS)),
    ],
);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Policy, ..super::message(name, fields) }
}
