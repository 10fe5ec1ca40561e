//! Messages of `policy/v1`: Eviction.

use super::{Message, Type, field, message, meta};

pub(super) static EVICTION: Message = message(
    "Eviction",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "deleteOptions", Type::Message(&meta::DELETE_OPTIONS)),
    ],
);
