//! Stateful sets.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::deployment::IntOrString;
use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::template::Template;

/// Bounds of a rolling update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulRollingUpdate {
    /// Pods with a lower ordinal keep their revision.
    #[serde(deserialize_with = "null_as_default")]
    pub partition: i32,
    /// Pods that may be unavailable during the update; missing is one.
    pub max_unavailable: Option<IntOrString>,
}

/// How pods come to a new revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulUpdateStrategy {
    /// `RollingUpdate` (or empty) or `OnDelete`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: Arc<str>,
    /// Bounds of a rolling update.
    #[serde(deserialize_with = "null_as_default")]
    pub rolling_update: StatefulRollingUpdate,
}

/// What becomes of claims whose pod is not wanted any more: `Retain` (or empty) or `Delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimRetention {
    /// When the set is deleted.
    #[serde(deserialize_with = "null_as_default")]
    pub when_deleted: Arc<str>,
    /// When the set is scaled down.
    #[serde(deserialize_with = "null_as_default")]
    pub when_scaled: Arc<str>,
}

/// Where ordinals begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ordinals {
    /// The first ordinal.
    #[serde(deserialize_with = "null_as_default")]
    pub start: i32,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    /// Wanted number of pods; missing is one.
    pub replicas: Option<i32>,
    /// Which pods are its own.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: LabelSelector,
    /// What its pods look like.
    pub template: Template,
    /// The claims that each pod gets, as they were stored.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_claim_templates: Vec<Value>,
    /// The headless service that gives its pods their names.
    #[serde(deserialize_with = "null_as_default")]
    pub service_name: Arc<str>,
    /// `OrderedReady` (or empty) or `Parallel`.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_management_policy: Arc<str>,
    /// How pods come to a new revision.
    #[serde(deserialize_with = "null_as_default")]
    pub update_strategy: StatefulUpdateStrategy,
    /// Old revisions to keep; missing is 10.
    pub revision_history_limit: Option<i32>,
    /// Seconds of readiness before a pod counts as available.
    #[serde(deserialize_with = "null_as_default")]
    pub min_ready_seconds: i64,
    /// What becomes of claims.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_volume_claim_retention_policy: ClaimRetention,
    /// Where ordinals begin.
    #[serde(deserialize_with = "null_as_default")]
    pub ordinals: Ordinals,
}

/// The part of a stateful set that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StatefulSetView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: StatefulSetSpec,
    /// What was last reported, to be compared with what is to be reported.
    pub status: Value,
}
