//! The status of a job: counts, the set of its indexes, and its conditions.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::owner::{Owner, or_absent};
use super::ending::Ending;
use super::tracking::Tally;
use super::{indexes, known_reason, time};
use crate::action::EventKind;
use crate::view::condition::{Condition, Status, find};
use crate::view::job::JobView;
use crate::view::pod::PodView;
use crate::view::timestamp::Timestamp;

/// What there is to tell.
pub(super) struct Stock<'a> {
    pub(super) tally: &'a Tally,
    pub(super) owned: &'a [&'a Arc<PodView>],
    pub(super) start: Option<Timestamp>,
    pub(super) ending: Option<&'a Ending>,
}

/// The stored conditions; those that cannot be read are none.
pub(super) fn conditions(job: &JobView) -> Vec<Condition> {
    let stored = job.status.get("conditions").cloned().unwrap_or_default();
    serde_json::from_value(stored).unwrap_or_default()
}

/// When the job was started.
pub(super) fn start(job: &JobView) -> Option<Timestamp> {
    time(&job.status, "startTime")
}

/// Writes the status if it changed, and tells of what began or ended.
pub(super) fn report(
    owner: &Owner<'_>,
    job: &JobView,
    mut conditions: Vec<Condition>,
    stock: &Stock<'_>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let tally = stock.tally;
    let count =
        |wanted: &dyn Fn(&PodView) -> bool| stock.owned.iter().filter(|it| wanted(it)).count();
    let active = count(&PodView::active);
    let terminating = count(&|pod| pod.meta.deleting() && !pod.terminated());
    let mut told = Vec::new();
    if stock.ending.is_none() {
        follow_suspension(owner, job, &mut conditions, now, &mut told);
    }
    let mut completion = Value::Null;
    if let Some(ending) = stock.ending {
        let target = if ending.failed { "FailureTarget" } else { "SuccessCriteriaMet" };
        let condition =
            |kind: &str| Condition::new(kind, Status::True, &ending.reason, &ending.message, now);
        put(&mut conditions, condition(target));
        if active + terminating == 0 && tally.settled() {
            let (kind, event, reason, message) = if ending.failed {
                let reason = known_reason(&ending.reason);
                ("Failed", EventKind::Warning, reason, ending.message.clone())
            } else {
                completion = json!(now);
                ("Complete", EventKind::Normal, "Completed", "Job completed".to_owned())
            };
            put(&mut conditions, condition(kind));
            told.push(owner.event(event, reason, message));
        }
    }
    let number = |count: i64| if count == 0 { Value::Null } else { json!(count) };
    let set = |indexes: &std::collections::BTreeSet<i32>| indexes::write(indexes);
    let completed = set(&tally.completed);
    let uids = |list: &std::collections::BTreeSet<Arc<str>>| {
        if list.is_empty() { Value::Null } else { json!(list) }
    };
    let wanted = json!({
        "startTime": stock.start,
        "completionTime": completion,
        "conditions": if conditions.is_empty() { Value::Null } else { json!(conditions) },
        "active": or_absent(active),
        "ready": count(&|pod| pod.active() && pod.ready()),
        "terminating": terminating,
        "succeeded": number(tally.succeeded),
        "failed": number(tally.failed),
        "completedIndexes": if completed.is_empty() { Value::Null } else { json!(completed) },
        "failedIndexes": job.spec.backoff_limit_per_index.map(|_| set(&tally.failed_indexes)),
        "uncountedTerminatedPods": {
            "succeeded": uids(&tally.uncounted_succeeded),
            "failed": uids(&tally.uncounted_failed),
        },
    });
    if let Some(action) = owner.report(&job.status, wanted) {
        outcome.actions.push(action);
        outcome.actions.extend(told);
    }
}

/// Notes that the job rests, or goes on.
fn follow_suspension(
    owner: &Owner<'_>,
    job: &JobView,
    conditions: &mut Vec<Condition>,
    now: Timestamp,
    told: &mut Vec<crate::action::Action>,
) {
    let present = find(conditions, "Suspended").map(|it| it.status);
    let (status, reason, message, event) = match (job.spec.suspend, present) {
        (true, None | Some(Status::False | Status::Unknown)) => {
            (Status::True, "JobSuspended", "Job suspended", "Suspended")
        }
        (false, Some(Status::True | Status::Unknown)) => {
            (Status::False, "JobResumed", "Job resumed", "Resumed")
        }
        (true, Some(Status::True)) | (false, None | Some(Status::False)) => return,
    };
    put(conditions, Condition::new("Suspended", status, reason, message, now));
    told.push(owner.event(EventKind::Normal, event, message.to_owned()));
}

/// Sets a condition; one that says the same stays as it is.
fn put(conditions: &mut Vec<Condition>, condition: Condition) {
    match conditions.iter_mut().find(|present| present.kind == condition.kind) {
        Some(present) if present.says_the_same(&condition) => {}
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
}
