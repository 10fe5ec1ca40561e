//! Daemon sets.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::deployment::RollingUpdate;
use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::template::Template;

/// How pods come to a new revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonUpdateStrategy {
    /// `RollingUpdate` (or empty) or `OnDelete`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: Arc<str>,
    /// Bounds of a rolling update; missing is one unavailable pod and no surge.
    #[serde(deserialize_with = "null_as_default")]
    pub rolling_update: RollingUpdate,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    /// Which pods are its own.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: LabelSelector,
    /// What its pods look like.
    pub template: Template,
    /// How pods come to a new revision.
    #[serde(deserialize_with = "null_as_default")]
    pub update_strategy: DaemonUpdateStrategy,
    /// Seconds of readiness before a pod counts as available.
    #[serde(deserialize_with = "null_as_default")]
    pub min_ready_seconds: i64,
    /// Old revisions to keep; missing is 10.
    pub revision_history_limit: Option<i32>,
}

/// The part of a daemon set that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DaemonSetView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: DaemonSetSpec,
    /// What was last reported, to be compared with what is to be reported.
    pub status: Value,
}
