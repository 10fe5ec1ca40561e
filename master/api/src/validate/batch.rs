//! Rules for Job and CronJob.

use serde_json::Value;

use super::errors::Errors;
use super::{all_unchanged, not_negative, one_of, selector, workload};
use crate::cron::{Schedule, Zone};
use crate::object;
use crate::status::FieldError;

/// A cron job's name: the jobs that it makes add eleven letters to it.
const CRON_JOB_NAME_MAX: usize = 52;

pub(crate) fn job(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    spec(object, "", &mut errors);
    match object.pointer("/spec/selector") {
        Some(found) => selector::labels(found, "spec.selector", &mut errors),
        None => errors.push(FieldError::required("spec.selector", "")),
    }
    errors.list()
}

/// Rules for the spec of a job; `parent` is what stands before its path.
fn spec(object: &Value, parent: &str, errors: &mut Errors) {
    let numbers = not_negative(
        object,
        &[
            "spec.parallelism",
            "spec.completions",
            "spec.activeDeadlineSeconds",
            "spec.backoffLimit",
            "spec.ttlSecondsAfterFinished",
            "spec.backoffLimitPerIndex",
            "spec.maxFailedIndexes",
        ],
    );
    let below = numbers.into_iter();
    errors.extend(
        below.map(|error| FieldError { field: format!("{parent}{}", error.field), ..error }),
    );
    let mode = object::text(object, "/spec/completionMode");
    if !mode.is_empty() {
        let known = ["Indexed", "NonIndexed"];
        errors.extend(one_of(format!("{parent}spec.completionMode"), mode, &known));
    }
    if mode == "Indexed" && object.pointer("/spec/completions").is_none() {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(format!("{parent}spec.completions"), detail));
    }
    let Some(template) = object.pointer("/spec/template") else {
        errors.push(FieldError::required(format!("{parent}spec.template"), ""));
        return;
    };
    workload::pod_template(template, &format!("{parent}spec.template"), errors);
    if object::text(template, "/spec/restartPolicy") == "Always" {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        let field = format!("{parent}spec.template.spec.restartPolicy");
        errors.push(FieldError::required(field, detail));
    }
}

/// What a job has begun it ends: only how much of it runs at once may change, and the template of
/// one that is suspended and has not begun.
pub(crate) fn job_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut fixed = vec![
        "spec.selector",
        "spec.completionMode",
        "spec.podFailurePolicy",
        "spec.backoffLimitPerIndex",
        "spec.managedBy",
        "spec.successPolicy",
    ];
    let resting = object::truth(old, "/spec/suspend") && old.pointer("/status/startTime").is_none();
    if !resting {
        fixed.push("spec.template");
    }
    if object::text(new, "/spec/completionMode") != "Indexed" {
        fixed.push("spec.completions");
    }
    all_unchanged(old, new, &fixed)
}

pub(crate) fn cron_job(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    errors.extend(not_negative(
        object,
        &[
            "spec.startingDeadlineSeconds",
            "spec.successfulJobsHistoryLimit",
            "spec.failedJobsHistoryLimit",
        ],
    ));
    let name = object::text(object, "/metadata/name");
    if name.len() > CRON_JOB_NAME_MAX {
        let detail = "must be no more than 52 characters";
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
    let schedule = object::text(object, "/spec/schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if let Err(why) = Schedule::parse(schedule) {
        errors.push(FieldError::invalid("spec.schedule", schedule, &why));
    }
    let policy = object::text(object, "/spec/concurrencyPolicy");
    errors.extend(one_of(
        "spec.concurrencyPolicy".to_owned(),
        policy,
        &["Allow", "Forbid", "Replace"],
    ));
    if let Some(zone) = object.pointer("/spec/timeZone").and_then(Value::as_str)
        && (zone.is_empty() || zone.eq_ignore_ascii_case("local"))
    {
        let detail = "timeZone must be nil or non-empty string";
        errors.push(FieldError::invalid("spec.timeZone", zone, detail));
    } else if let Some(zone) = object.pointer("/spec/timeZone").and_then(Value::as_str)
        && Zone::find(zone).is_none()
    {
        let detail = format!("unknown time zone {zone}");
        errors.push(FieldError::invalid("spec.timeZone", zone, &detail));
    }
    let job = object.pointer("/spec/jobTemplate").unwrap_or(&Value::Null);
    spec(job, "spec.jobTemplate.", &mut errors);
    errors.list()
}
