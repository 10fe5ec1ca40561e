//! Messages of `autoscaling/v1`: Scale.

use super::{Field, Message, Package, Type, field, kept, meta};

pub(super) static SCALE: Message = message(
    "Scale",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&SCALE_SPEC)),
        field(3, "status", Type::Message(&SCALE_STATUS)),
    ],
);

pub(super) static SCALE_SPEC: Message = message("ScaleSpec", &[field(1, "replicas", Type::Int32)]);

pub(super) static SCALE_STATUS: Message =
    message("ScaleStatus", &[kept(1, "replicas", Type::Int32), field(2, "selector", Type::String)]);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Autoscaling, ..super::message(name, fields) }
}
