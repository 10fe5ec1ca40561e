//! Rows of an arena: names are numbers of texts, types are numbers of types.

/// A message: ranges of its fields and of its protobuf numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageRow {
    pub(super) name: u16,
    pub(super) package: u16,
    /// Ordered by name.
    pub(super) fields: (u16, u16),
    pub(super) wires: (u16, u16),
    pub(super) atomic: bool,
    pub(super) typed: bool,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldRow {
    pub(super) name: u16,
    pub(super) kind: u16,
    pub(super) merge_key: u16,
    pub(super) required: bool,
    pub(super) keeps_zero: bool,
    pub(super) merges: bool,
    pub(super) retains_keys: bool,
}

/// What a protobuf number stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct WireRow {
    pub(super) number: u16,
    pub(super) target: Target,
}

/// A field by its place in the message, or a range of more numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Field(u16),
    Embedded(u16, u16),
}

/// A type; numbers are messages or types.
#[derive(Debug, Clone, Copy)]
pub(super) enum TypeRow {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Any,
    FieldsV1,
    Message(u16),
    Union(u16),
    Map(u16),
    AtomicMap(u16),
    List(u16, ListRow),
}

/// How apply merges a list; a range of keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum ListRow {
    Atomic,
    Set,
    Map(u16, u16),
}

/// A top-level kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct KindRow {
    pub(super) group: u16,
    pub(super) version: u16,
    pub(super) kind: u16,
    pub(super) message: u16,
}

/// Compressed descriptions of a range of messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockRow {
    pub(super) package: u16,
    pub(super) messages: (u16, u16),
    /// Start and length in the compressed bytes.
    pub(super) bytes: (u32, u32),
    /// Length of the text.
    pub(super) len: u32,
}
