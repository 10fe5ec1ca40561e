//! Replica sets.

use serde::Deserialize;

use super::condition::Condition;
use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::template::Template;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetSpec {
    /// Wanted number of pods; missing is one.
    pub replicas: Option<i32>,
    /// Seconds of readiness before a pod counts as available.
    #[serde(deserialize_with = "null_as_default")]
    pub min_ready_seconds: i64,
    /// Which pods are its own.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: LabelSelector,
    /// What its pods look like.
    pub template: Template,
}

impl ReplicaSetSpec {
    /// Wanted number of pods.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }
}

/// What was last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// Pods that exist.
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: i32,
    /// Pods whose labels are those of the template.
    #[serde(deserialize_with = "null_as_default")]
    pub fully_labeled_replicas: i32,
    /// Pods that are ready.
    #[serde(deserialize_with = "null_as_default")]
    pub ready_replicas: i32,
    /// Pods that have been ready for long enough.
    #[serde(deserialize_with = "null_as_default")]
    pub available_replicas: i32,
    /// Pods that are being deleted and have not ended.
    pub terminating_replicas: Option<i32>,
    /// The generation that this status describes.
    #[serde(deserialize_with = "null_as_default")]
    pub observed_generation: i64,
    /// Its conditions.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// The part of a replica set that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReplicaSetView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: ReplicaSetSpec,
    /// What was last reported.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ReplicaSetStatus,
}
