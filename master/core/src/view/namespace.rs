//! Namespaces.

use std::sync::Arc;

use serde::Deserialize;

use super::condition::Condition;
use super::meta::Meta;
use super::null_as_default;

/// What must be done before a namespace may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    /// Such as `kubernetes`.
    #[serde(deserialize_with = "null_as_default")]
    pub finalizers: Vec<Arc<str>>,
}

/// What was last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(deserialize_with = "null_as_default")]
    pub phase: Arc<str>,
    /// How far the deletion is.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// The part of a namespace that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NamespaceView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What must be done before it may go.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: NamespaceSpec,
    /// What was last reported.
    #[serde(deserialize_with = "null_as_default")]
    pub status: NamespaceStatus,
}
