//! Jobs that recur.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::meta::Meta;
use super::null_as_default;
use super::template::Template;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpec {
    /// When, in five fields.
    #[serde(deserialize_with = "null_as_default")]
    pub schedule: Arc<str>,
    /// In which time zone; missing is UTC.
    pub time_zone: Option<Arc<str>>,
    /// Seconds after its moment within which a job may still be started.
    pub starting_deadline_seconds: Option<i64>,
    /// `Allow` (or empty), `Forbid` or `Replace`.
    #[serde(deserialize_with = "null_as_default")]
    pub concurrency_policy: Arc<str>,
    /// Whether it rests.
    #[serde(deserialize_with = "null_as_default")]
    pub suspend: bool,
    /// What its jobs look like.
    pub job_template: Template,
    /// Succeeded jobs to keep; missing is 3.
    pub successful_jobs_history_limit: Option<i32>,
    /// Failed jobs to keep; missing is 1.
    pub failed_jobs_history_limit: Option<i32>,
}

/// The part of a cron job that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CronJobView {
    /// The metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// What is wanted.
    pub spec: CronJobSpec,
    /// What was last reported, to be compared with what is to be reported.
    pub status: Value,
}
