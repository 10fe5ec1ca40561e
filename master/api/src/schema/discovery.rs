//! Messages of `discovery.k8s.io/v1`: EndpointSlice.

use super::{Field, ListType, Message, Package, Type, field, kept, meta, pod};

pub(super) static ENDPOINT: Message = message(
    "Endpoint",
    &[
        field(1, "addresses", Type::List(&Type::String, ListType::Set)),
        field(2, "conditions", Type::Message(&ENDPOINT_CONDITIONS)),
        kept(3, "hostname", Type::String),
        field(4, "targetRef", Type::Message(&pod::OBJECT_REFERENCE)),
        field(5, "deprecatedTopology", Type::Map(&Type::String)),
        kept(6, "nodeName", Type::String),
        kept(7, "zone", Type::String),
        field(8, "hints", Type::Message(&ENDPOINT_HINTS)),
    ],
);

pub(super) static ENDPOINT_CONDITIONS: Message = message(
    "EndpointConditions",
    &[
        kept(1, "ready", Type::Bool),
        kept(2, "serving", Type::Bool),
        kept(3, "terminating", Type::Bool),
    ],
);

pub(super) static ENDPOINT_HINTS: Message = message(
    "EndpointHints",
    &[
        field(1, "forZones", Type::List(&Type::Message(&FOR_ZONE), ListType::Atomic)),
        field(2, "forNodes", Type::List(&Type::Message(&FOR_NODE), ListType::Atomic)),
    ],
);

pub(super) static ENDPOINT_PORT: Message = message(
    "EndpointPort",
    &[
        kept(1, "name", Type::String),
        kept(2, "protocol", Type::String),
        kept(3, "port", Type::Int32),
        kept(4, "appProtocol", Type::String),
    ],
);

pub(super) static ENDPOINT_SLICE: Message = message(
    "EndpointSlice",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "endpoints", Type::List(&Type::Message(&ENDPOINT), ListType::Atomic)),
        field(3, "ports", Type::List(&Type::Message(&ENDPOINT_PORT), ListType::Atomic)),
        field(4, "addressType", Type::String),
    ],
);

pub(super) static FOR_NODE: Message = message("ForNode", &[field(1, "name", Type::String)]);

pub(super) static FOR_ZONE: Message = message("ForZone", &[field(1, "name", Type::String)]);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Discovery, ..super::message(name, fields) }
}
