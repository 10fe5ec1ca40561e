//! Columns of Job and CronJob.

use serde_json::Value;

use super::{
    Column, age, containers, integer, label_selector, name, name_column, shown, since, text,
    truth_text, wide,
};
use crate::{duration, object, timestamp};

pub(crate) const JOB: &[Column] = &[
    name_column(),
    text("Status"),
    text("Completions"),
    text("Duration"),
    text("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(crate) fn job(object: &Value, now: i64) -> Vec<Value> {
    let done = object::integer(object, "/status/succeeded");
    let parallel = object::integer(object, "/spec/parallelism");
    let completions = match object.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None if parallel > 1 => format!("{done}/1 of {parallel}"),
        None => format!("{done}/1"),
    };
    let start = timestamp::parse(object::text(object, "/status/startTime"));
    let end = timestamp::parse(object::text(object, "/status/completionTime")).unwrap_or(now);
    let duration = start.map_or(String::new(), |start| duration::human(end.saturating_sub(start)));
    let (names, images) = containers(object, "/spec/template/spec/containers");
    vec![
        name(object),
        status(object).into(),
        completions.into(),
        duration.into(),
        age(object, now),
        names,
        images,
        label_selector(object.pointer("/spec/selector").unwrap_or(&Value::Null)),
    ]
}

fn status(job: &Value) -> &'static str {
    let is = |kind: &str| {
        object::items(job, "/status/conditions").iter().any(|condition| {
            object::text(condition, "/type") == kind && object::text(condition, "/status") == "True"
        })
    };
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if job.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub(crate) const CRON_JOB: &[Column] = &[
    name_column(),
    text("Schedule"),
    text("Timezone"),
    text("Suspend"),
    integer("Active"),
    text("Last Schedule"),
    text("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(crate) fn cron_job(object: &Value, now: i64) -> Vec<Value> {
    let last = match object::text(object, "/status/lastScheduleTime") {
        "" => "<none>".to_owned(),
        time => since(time, now),
    };
    let (names, images) = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
    let selector = object.pointer("/spec/jobTemplate/spec/selector").unwrap_or(&Value::Null);
    vec![
        name(object),
        object::text(object, "/spec/schedule").into(),
        shown(object, "/spec/timeZone", "<none>"),
        truth_text(object, "/spec/suspend"),
        object::items(object, "/status/active").len().into(),
        last.into(),
        age(object, now),
        names,
        images,
        label_selector(selector),
    ]
}
