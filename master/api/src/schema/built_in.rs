//! The arena of all kinds of Kubernetes 1.36 that are stable, as `build.rs` generates it.

use std::borrow::Cow;

use super::Schemas;
use super::rows::{BlockRow, FieldRow, KindRow, ListRow, MessageRow, Target, TypeRow, WireRow};

include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

static BUILT_IN: Schemas = Schemas {
    messages: Cow::Borrowed(&MESSAGES),
    fields: Cow::Borrowed(&FIELDS),
    wires: Cow::Borrowed(&WIRES),
    types: Cow::Borrowed(&TYPES),
    keys: Cow::Borrowed(&KEYS),
    kinds: Cow::Borrowed(&KINDS),
    text: Cow::Borrowed(TEXT),
    text_ends: Cow::Borrowed(&TEXT_ENDS),
    blocks: Cow::Borrowed(&BLOCKS),
    descriptions: Cow::Borrowed(include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.bin"))),
};

/// The arena of the built-in kinds.
#[must_use]
pub fn built_in() -> &'static Schemas {
    &BUILT_IN
}
