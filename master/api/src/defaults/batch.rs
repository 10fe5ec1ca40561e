//! Defaults of Job and CronJob.

use serde_json::{Map, Value};

use super::object_mut;
use super::workload::template;
use crate::object::default;

/// A job.
pub(crate) fn job(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    // Parallelism alone is a queue of work that ends by itself.
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let limit = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
    default(spec, "backoffLimit", limit);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    let replacement =
        if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    default(spec, "podReplacementPolicy", replacement);
    template(spec);
}

/// A job that recurs.
pub(crate) fn cron_job(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = object_mut(spec, "jobTemplate") {
        job.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(spec) = object_mut(job, "spec") {
            template(spec);
        }
    }
}
