//! The fields of every message of the API: protobuf number, JSON name, type, and how a list
//! is merged.
//!
//! One table for everything that has to know fields: type checks and pruning, protobuf,
//! strategic merge, server-side apply and OpenAPI. It knows nothing of defaults or validation.

mod apps;
mod autoscaling;
mod container;
mod coordination;
mod discovery;
mod meta;
mod node;
mod package;
mod plain;
mod pod;
mod policy;
mod scheduling;
mod service;
mod volume;

pub use package::Package;

/// A message: an object with known fields.
#[derive(Debug)]
pub struct Message {
    /// Upstream's name of the type, such as `PodSpec`.
    pub name: &'static str,
    /// Its fields, ordered by number.
    pub fields: &'static [Field],
    /// Server-side apply owns it as a whole and not field by field.
    pub atomic: bool,
    /// Upstream's package of the type.
    pub package: Package,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Number in protobuf.
    pub number: u32,
    /// Name in JSON; empty if the fields of the message are part of the outer object.
    pub name: &'static str,
    /// What it holds.
    pub kind: Type,
    /// A zero that came by protobuf was written on purpose: the field is required, or a pointer.
    pub keeps_zero: bool,
    /// A strategic merge patch says with `$retainKeys` which keys survive.
    pub retains_keys: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Text.
    String,
    /// Truth value.
    Bool,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Floating-point number.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// Resource quantity: text or number in JSON.
    Quantity,
    /// Integer or text.
    IntOrString,
    /// Point in time with seconds.
    Time,
    /// Point in time with microseconds.
    MicroTime,
    /// JSON of any shape.
    Any,
    /// Object with known fields.
    Message(&'static Message),
    /// Object with free keys.
    Map(&'static Type),
    /// Object with free keys that apply owns as a whole.
    AtomicMap(&'static Type),
    /// List.
    List(&'static Type, ListType),
}

/// How two versions of a list are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// The new list replaces the old one.
    Atomic,
    /// Values are unique and merged.
    Set,
    /// Items are objects told apart by these keys; strategic merge uses only the first.
    Map(&'static [&'static str]),
}

impl Message {
    /// Finds a field by its JSON name, looking into embedded messages too.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find_map(|field| match (field.name, field.kind) {
            ("", Type::Message(embedded)) => embedded.field(name),
            (own, _) => (own == name).then_some(field),
        })
    }
}

/// Message of a top-level kind; none if the kind is not known.
#[must_use]
pub fn find(group: &str, kind: &str) -> Option<&'static Message> {
    Some(match (group, kind) {
        ("", "Binding") => &plain::BINDING,
        ("", "ConfigMap") => &plain::CONFIG_MAP,
        ("", "Event") => &plain::EVENT,
        ("", "Namespace") => &plain::NAMESPACE,
        ("", "Node") => &node::NODE,
        ("", "Pod") => &pod::POD,
        ("", "Secret") => &plain::SECRET,
        ("", "Service") => &service::SERVICE,
        ("", "ServiceAccount") => &plain::SERVICE_ACCOUNT,
        ("apps", "Deployment") => &apps::DEPLOYMENT,
        ("apps", "ReplicaSet") => &apps::REPLICA_SET,
        ("autoscaling", "Scale") => &autoscaling::SCALE,
        ("coordination.k8s.io", "Lease") => &coordination::LEASE,
        ("discovery.k8s.io", "EndpointSlice") => &discovery::ENDPOINT_SLICE,
        ("policy", "Eviction") => &policy::EVICTION,
        // Delete options are sent with the group of whatever is deleted.
        (_, "DeleteOptions") => &meta::DELETE_OPTIONS,
        _ => return None,
    })
}

/// Type of the value at the root of objects of this message.
#[must_use]
pub const fn root(message: &'static Message) -> Type {
    Type::Message(message)
}

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, atomic: false, package: Package::Core }
}

const fn atomic(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, atomic: true, package: Package::Core }
}

const fn field(number: u32, name: &'static str, kind: Type) -> Field {
    Field { number, name, kind, keeps_zero: false, retains_keys: false }
}

const fn kept(number: u32, name: &'static str, kind: Type) -> Field {
    Field { number, name, kind, keeps_zero: true, retains_keys: false }
}

const fn retained(number: u32, name: &'static str, kind: Type) -> Field {
    Field { number, name, kind, keeps_zero: false, retains_keys: true }
}

const fn inline(number: u32, message: &'static Message) -> Field {
    Field { number, name: "", kind: Type::Message(message), keeps_zero: false, retains_keys: false }
}
