//! Jobs.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::meta::Meta;
use super::null_as_default;
use super::selector::LabelSelector;
use super::template::Template;

/// Exit codes that a rule of a failure policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnExitCodes {
    /// The container; all when missing.
    pub container_name: Option<Arc<str>>,
    /// `In` or `NotIn`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: Arc<str>,
    /// The codes.
    #[serde(deserialize_with = "null_as_default")]
    pub values: Vec<i32>,
}

/// A condition of a pod that a rule of a failure policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OnPodCondition {
    /// Its type.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: Arc<str>,
    /// Its status; empty is `True`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: Arc<str>,
}

/// One rule of a failure policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailureRule {
    /// `FailJob`, `FailIndex`, `Ignore` or `Count`.
    #[serde(deserialize_with = "null_as_default")]
    pub action: Arc<str>,
    /// Exit codes that it asks for.
    pub on_exit_codes: Option<OnExitCodes>,
    /// Conditions of which it asks for one.
    #[serde(deserialize_with = "null_as_default")]
    pub on_pod_conditions: Vec<OnPodCondition>,
}

/// What failures of pods mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FailurePolicy {
    /// The first that fits decides.
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<FailureRule>,
}

/// One way in which a job succeeds early.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessRule {
    /// Indexes of which enough must have succeeded, such as `0,2-4`; all when missing.
    pub succeeded_indexes: Option<Arc<str>>,
    /// How many of them; all when missing.
    pub succeeded_count: Option<i32>,
}

/// When a job succeeds before all its indexes do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SuccessPolicy {
    /// The first that fits decides.
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<SuccessRule>,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// Pods at a time; missing is one.
    pub parallelism: Option<i32>,
    /// Pods that must succeed; missing means that one success ends the work.
    pub completions: Option<i32>,
    /// Seconds for which it may be active.
    pub active_deadline_seconds: Option<i64>,
    /// Failures after which it fails; missing is 6.
    pub backoff_limit: Option<i32>,
    /// Failures after which one index fails.
    pub backoff_limit_per_index: Option<i32>,
    /// Failed indexes after which the job fails.
    pub max_failed_indexes: Option<i32>,
    /// What failures of pods mean.
    pub pod_failure_policy: Option<FailurePolicy>,
    /// When it succeeds early.
    pub success_policy: Option<SuccessPolicy>,
    /// `Indexed` or `NonIndexed` (or empty).
    #[serde(deserialize_with = "null_as_default")]
    pub completion_mode: Arc<str>,
    /// Which pods are its own.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: LabelSelector,
    /// What its pods look like.
    pub template: Template,
    /// Seconds after its end at which it is deleted.
    pub ttl_seconds_after_finished: Option<i64>,
    /// Whether it rests.
    #[serde(deserialize_with = "null_as_default")]
    pub suspend: bool,
    /// `TerminatingOrFailed` (or empty) or `Failed`.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_replacement_policy: Arc<str>,
    /// Who looks after it; missing is this controller.
    pub managed_by: Option<Arc<str>>,
}

impl JobSpec {
    /// Whether each of its pods has an index.
    #[must_use]
    pub fn indexed(&self) -> bool {
        &*self.completion_mode == "Indexed"
    }

    /// Pods at a time.
    #[must_use]
    pub fn parallelism(&self) -> i32 {
        self.parallelism.unwrap_or(1)
    }

    /// Whether a pod is replaced only when it has ended.
    #[must_use]
    pub fn replaces_failed_only(&self) -> bool {
        &*self.pod_replacement_policy == "Failed"
    }
}

/// The part of a job that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JobView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: JobSpec,
    /// What was last reported, to be compared with what is to be reported.
    pub status: Value,
}
