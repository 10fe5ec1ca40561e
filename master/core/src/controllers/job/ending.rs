//! Whether a job has come to an end, and why, in upstream's words.

use super::policy;
use super::tracking::Tally;
use crate::view::job::JobView;
use crate::view::pod::{Phase, PodView};
use crate::view::timestamp::Timestamp;

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) failed: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Ending {
    fn failure(reason: &str, message: &str) -> Option<Self> {
        Some(Self { failed: true, reason: reason.to_owned(), message: message.to_owned() })
    }

    fn success(reason: &str, message: String) -> Option<Self> {
        Some(Self { failed: false, reason: reason.to_owned(), message })
    }
}

/// When a job has been active for too long.
pub(super) fn deadline(job: &JobView, start: Option<Timestamp>) -> Option<Timestamp> {
    let seconds = job.spec.active_deadline_seconds?;
    Some(Timestamp(start?.0.saturating_add(seconds.saturating_mul(1000))))
}

/// Works out whether a job ends now.
pub(super) fn of(
    job: &JobView,
    tally: &Tally,
    active: &[&PodView],
    start: Option<Timestamp>,
    now: Timestamp,
) -> Option<Ending> {
    if let Some(why) = &tally.verdict {
        return Ending::failure("PodFailurePolicy", why);
    }
    let spec = &job.spec;
    let limit = i64::from(spec.backoff_limit.unwrap_or(6));
    if tally.all_failed() > limit || restarts_exceed(job, active, limit) {
        return Ending::failure(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        );
    }
    if deadline(job, start).is_some_and(|deadline| deadline <= now) && !spec.suspend {
        return Ending::failure(
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        );
    }
    let completions = spec.completions.map(i64::from);
    if spec.indexed() && spec.backoff_limit_per_index.is_some() {
        let failed = i32::try_from(tally.failed_indexes.len()).unwrap_or(i32::MAX);
        if spec.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Ending::failure("MaxFailedIndexesExceeded", message);
        }
        let done = tally.all_succeeded().saturating_add(i64::from(failed));
        if failed > 0 && completions.is_some_and(|completions| done >= completions) {
            return Ending::failure("FailedIndexes", "Job has failed indexes");
        }
    }
    if let Some(rule) = policy::success(spec, &tally.completed).filter(|_| spec.indexed()) {
        return Ending::success("SuccessPolicy", format!("Matched rules at index {rule}"));
    }
    let reached = match completions {
        Some(completions) => tally.all_succeeded() >= completions,
        // A queue of work: one success says that it is empty, and the others come to their end.
        None => tally.all_succeeded() > 0 && active.is_empty(),
    };
    if reached {
        let message = "Reached expected number of succeeded pods".to_owned();
        return Ending::success("CompletionsReached", message);
    }
    None
}

/// Containers that are restarted in place never make a pod fail, so their restarts count.
fn restarts_exceed(job: &JobView, active: &[&PodView], limit: i64) -> bool {
    let template = job.spec.template.to_value();
    let policy = template.pointer("/spec/restartPolicy").and_then(serde_json::Value::as_str);
    if policy != Some("OnFailure") {
        return false;
    }
    let running = active.iter().filter(|pod| matches!(pod.phase, Phase::Running | Phase::Pending));
    let restarts: i64 = running.map(|pod| i64::from(pod.restarts)).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}
