//! Object metadata that garbage collection, namespaces and every controller need.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::null_as_default;
use super::timestamp::Timestamp;

/// A dependent's pointer to its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's `group/version`.
    pub api_version: Arc<str>,
    /// The owner's kind.
    pub kind: Arc<str>,
    /// The owner's name.
    pub name: Arc<str>,
    /// The owner's uid.
    pub uid: Arc<str>,
    /// Whether this owner is the managing controller; at most one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this dependent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// The part of `metadata` that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// The name.
    pub name: Arc<str>,
    /// The namespace; empty for cluster-scoped resources.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: Arc<str>,
    /// The uid.
    pub uid: Arc<str>,
    /// Counts changes of the spec.
    #[serde(deserialize_with = "null_as_default")]
    pub generation: i64,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When it is to be gone; set means that it is being deleted.
    pub deletion_timestamp: Option<Timestamp>,
    /// Grace of the deletion in seconds.
    pub deletion_grace_period_seconds: Option<i64>,
    /// The labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: Labels,
    /// The annotations, without `kubectl`'s copy of the whole object.
    #[serde(deserialize_with = "super::labels::annotations")]
    pub annotations: Labels,
    /// The owners.
    #[serde(deserialize_with = "null_as_default")]
    pub owner_references: Vec<OwnerReference>,
    /// What must be done before the object may go.
    #[serde(deserialize_with = "null_as_default")]
    pub finalizers: Vec<Arc<str>>,
    /// The modification revision in the store; not part of the stored JSON.
    #[serde(skip)]
    pub resource_version: u64,
}

impl Meta {
    /// Whether the object is being deleted.
    #[must_use]
    pub const fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The managing controller, if there is one.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether `metadata.finalizers` holds `finalizer`.
    #[must_use]
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|present| &**present == finalizer)
    }
}

/// Any object, of which only the metadata is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ObjectView {
    /// The metadata.
    pub metadata: Meta,
}
