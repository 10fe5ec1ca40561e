//! Nodes: taints, capacity and conditions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::condition::{Condition, Status, find};
use super::meta::Meta;
use super::null_as_default;
use super::quantity::Resources;
use super::timestamp::Timestamp;

/// Taint of a node that is not in contact.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint of a node that says it is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a cordoned node.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint of a node that somebody says runs nothing any more.
pub const TAINT_OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Taint of a node that keeps dying and coming back.
pub const TAINT_FLAPPING: &str = "bramble.io/flapping";

/// Taint of a node with whose certificate two boards speak.
pub const TAINT_QUARANTINED: &str = "bramble.io/quarantined";
/// Type of the condition that says so, and keeps it while the master does not run.
pub const IDENTITY_CONFLICT: &str = "IdentityConflict";

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// New pods are not scheduled here.
    NoSchedule,
    /// New pods are rather scheduled elsewhere.
    PreferNoSchedule,
    /// Running pods are evicted, too.
    NoExecute,
}

/// A mark that keeps pods away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// The key.
    pub key: Arc<str>,
    /// The value; often empty.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "str::is_empty")]
    pub value: Arc<str>,
    /// What it does.
    pub effect: Effect,
    /// When it was added; counts for `tolerationSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Timestamp>,
}

/// The part of a node that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// The metadata.
    pub meta: Meta,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What its pods may use together.
    pub allocatable: Resources,
    /// The images that it has: every name, and the size in bytes.
    pub images: Vec<(Arc<str>, i64)>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

impl NodeView {
    /// Its `Ready` condition.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        find(&self.conditions, "Ready")
    }

    /// Whether two boards speak with its certificate, as it was last written down.
    #[must_use]
    pub fn quarantined(&self) -> bool {
        find(&self.conditions, IDENTITY_CONFLICT).is_some_and(|it| it.status == Status::True)
    }

    /// Whether it has a taint of this key.
    #[must_use]
    pub fn tainted(&self, key: &str) -> bool {
        self.taints.iter().any(|taint| &*taint.key == key)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    metadata: Meta,
    spec: RawSpec,
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSpec {
    #[serde(deserialize_with = "null_as_default")]
    unschedulable: bool,
    #[serde(deserialize_with = "null_as_default")]
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    capacity: Option<Resources>,
    allocatable: Option<Resources>,
    #[serde(deserialize_with = "null_as_default")]
    images: Vec<RawImage>,
    #[serde(deserialize_with = "null_as_default")]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawImage {
    #[serde(deserialize_with = "null_as_default")]
    names: Vec<Arc<str>>,
    #[serde(deserialize_with = "null_as_default")]
    size_bytes: i64,
}

impl<'de> Deserialize<'de> for NodeView {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let named =
            |image: RawImage| image.names.into_iter().map(move |name| (name, image.size_bytes));
        Ok(Self {
            meta: raw.metadata,
            images: raw.status.images.into_iter().flat_map(named).collect(),
            unschedulable: raw.spec.unschedulable,
            taints: raw.spec.taints,
            // A node that reports no reservation can give all that it has.
            allocatable: raw.status.allocatable.or(raw.status.capacity).unwrap_or_default(),
            conditions: raw.status.conditions,
        })
    }
}
