//! Typed views of stored objects, holding only what the logic of this crate needs.
//!
//! They are decoded from the stored JSON; unknown fields are ignored and missing ones take the
//! API's defaults. A view is never written back: actions carry patches.

pub mod condition;
pub mod controller_revision;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod job;
pub mod labels;
pub mod meta;
pub mod namespace;
pub mod node;
pub mod node_affinity;
pub mod persistent_volume;
pub mod pod;
pub mod pod_affinity;
pub mod pod_disruption_budget;
pub mod quantity;
pub mod replica_set;
pub mod replication_controller;
pub mod resource;
pub mod root_ca;
pub mod selector;
pub mod service;
pub mod stateful_set;
pub mod template;
pub mod timestamp;
pub mod topology_spread;

/// Takes `null` as the field's default, since stored objects may hold explicit nulls.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
