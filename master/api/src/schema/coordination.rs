//! Messages of `coordination.k8s.io/v1`: Lease.

use super::{Field, Message, Package, Type, field, kept, meta};

pub(super) static LEASE: Message = message(
    "Lease",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&LEASE_SPEC)),
    ],
);

pub(super) static LEASE_SPEC: Message = message(
    "LeaseSpec",
    &[
        kept(1, "holderIdentity", Type::String),
        kept(2, "leaseDurationSeconds", Type::Int32),
        field(3, "acquireTime", Type::MicroTime),
        field(4, "renewTime", Type::MicroTime),
        kept(5, "leaseTransitions", Type::Int32),
        kept(6, "strategy", Type::String),
        kept(7, "preferredHolder", Type::String),
    ],
);

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { package: Package::Coordination, ..super::message(name, fields) }
}
