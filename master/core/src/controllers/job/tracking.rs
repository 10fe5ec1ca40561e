//! Counts each pod of a job exactly once, whatever gets lost.
//!
//! ```text
//!  pod ended, with finalizer --status: its uid is uncounted--> finalizer goes --> status: counted
//! ```
//! A pod keeps its finalizer until the status that names it is stored, so it cannot vanish before;
//! the number goes up in the write that takes the uid away. Successes of an Indexed job need no
//! uids: the set of its indexes counts each once. Where failures are counted for each index, the last
//! failed pod of an index is what remembers them, and so stays until the next one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::policy::{self, Verdict};
use super::{FINALIZER, indexes, pods};
use crate::action::{Action, Target};
use crate::view::job::JobView;
use crate::view::pod::{Phase, PodView};
use crate::view::resource::Resource;

/// Most uids that a status names, as upstream.
const UNCOUNTED_MAX: usize = 500;

/// What is known of a job's ended pods, including those that this run saw first.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    pub(super) uncounted_succeeded: BTreeSet<Arc<str>>,
    pub(super) uncounted_failed: BTreeSet<Arc<str>>,
    pub(super) completed: BTreeSet<i32>,
    pub(super) failed_indexes: BTreeSet<i32>,
    /// Why the failure policy fails the job, if it does.
    pub(super) verdict: Option<String>,
}

impl Tally {
    /// Pods that succeeded, counted or not.
    pub(super) fn all_succeeded(&self) -> i64 {
        let uncounted = i64::try_from(self.uncounted_succeeded.len()).unwrap_or(i64::MAX);
        self.succeeded.saturating_add(uncounted)
    }

    /// Pods that failed, counted or not.
    pub(super) fn all_failed(&self) -> i64 {
        let uncounted = i64::try_from(self.uncounted_failed.len()).unwrap_or(i64::MAX);
        self.failed.saturating_add(uncounted)
    }

    /// Whether every uid was counted.
    pub(super) fn settled(&self) -> bool {
        self.uncounted_succeeded.is_empty() && self.uncounted_failed.is_empty()
    }

    fn stored(job: &JobView) -> Self {
        let status = &job.status;
        let number = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
        let uids = |list: &str| {
            let list = status.pointer(&format!("/uncountedTerminatedPods/{list}"));
            let list = list.and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(Arc::from).collect()
        };
        let set = |field: &str| {
            let text = status.get(field).and_then(Value::as_str).unwrap_or_default();
            indexes::parse(text, job.spec.completions.unwrap_or(i32::MAX))
        };
        Self {
            succeeded: number("succeeded"),
            failed: number("failed"),
            uncounted_succeeded: uids("succeeded"),
            uncounted_failed: uids("failed"),
            completed: set("completedIndexes"),
            failed_indexes: set("failedIndexes"),
            verdict: None,
        }
    }
}

/// Whether a pod counts as failed.
pub(super) fn failed(job: &JobView, pod: &PodView) -> bool {
    let going = pod.meta.deleting();
    match pod.phase {
        Phase::Failed => true,
        Phase::Succeeded => false,
        Phase::Pending => going,
        Phase::Running | Phase::Unknown => going && !job.spec.replaces_failed_only(),
    }
}

/// Takes stock. `finishing`: the job has failed, so that whatever is still there has failed too.
/// Returns the finalizers that may go now, as well.
pub(super) fn take_stock(
    job: &JobView,
    owned: &[&Arc<PodView>],
    finishing: bool,
) -> (Tally, Vec<Action>) {
    let mut tally = Tally::stored(job);
    let indexed = job.spec.indexed();
    let (stored_completed, stored_failed) = (tally.completed.clone(), tally.failed_indexes.clone());
    let tracked: Vec<&Arc<PodView>> =
        owned.iter().copied().filter(|pod| pod.meta.has_finalizer(FINALIZER)).collect();
    let uids: BTreeSet<&Arc<str>> = tracked.iter().map(|pod| &pod.meta.uid).collect();
    // Without its finalizer a pod may go at any time: from here on the number stands for it.
    let before = tally.uncounted_succeeded.len();
    tally.uncounted_succeeded.retain(|uid| uids.contains(uid));
    tally.succeeded += i64::try_from(before - tally.uncounted_succeeded.len()).unwrap_or_default();
    let before = tally.uncounted_failed.len();
    tally.uncounted_failed.retain(|uid| uids.contains(uid));
    tally.failed += i64::try_from(before - tally.uncounted_failed.len()).unwrap_or_default();

    let remembering = if finishing || job.meta.deleting() {
        BTreeMap::new()
    } else {
        last_failures(job, owned, &tally)
    };
    let mut free = Vec::new();
    for pod in tracked {
        let uid = &pod.meta.uid;
        let release = || Action::RemoveFinalizer {
            target: Target::of(&Resource::PODS, &pod.meta),
            finalizer: Arc::from(FINALIZER),
        };
        if tally.uncounted_succeeded.contains(uid) || tally.uncounted_failed.contains(uid) {
            free.push(release());
            continue;
        }
        let full = tally.uncounted_succeeded.len() + tally.uncounted_failed.len() >= UNCOUNTED_MAX;
        if pod.phase == Phase::Succeeded {
            let index = pods::index(pod).filter(|_| indexed);
            match index {
                Some(index) if stored_completed.contains(&index) => free.push(release()),
                Some(index) if index < job.spec.completions.unwrap_or_default() => {
                    tally.completed.insert(index);
                }
                // An index that nobody wants counts for nothing.
                Some(_) => free.push(release()),
                None if indexed => free.push(release()),
                None if !full => drop(tally.uncounted_succeeded.insert(Arc::clone(uid))),
                None => {}
            }
        } else if (failed(job, pod) || finishing && pod.meta.deleting()) && !full {
            match policy::failure(&job.spec, pod) {
                Verdict::Ignore if remembers(job, pod, &remembering) => {}
                Verdict::Ignore => free.push(release()),
                Verdict::Count if remembers(job, pod, &remembering) => {}
                verdict @ (Verdict::Count | Verdict::FailIndex | Verdict::FailJob(_)) => {
                    judge_index(job, pod, &verdict, &mut tally, &stored_failed);
                    if let Verdict::FailJob(why) = verdict {
                        tally.verdict.get_or_insert(why);
                    }
                    tally.uncounted_failed.insert(Arc::clone(uid));
                }
            }
        }
    }
    if indexed {
        tally.succeeded = i64::try_from(tally.completed.len()).unwrap_or(i64::MAX);
    }
    (tally, free)
}

/// The last failed pod of each index that has neither an end nor a pod that runs.
fn last_failures<'a>(
    job: &JobView,
    owned: &[&'a Arc<PodView>],
    tally: &Tally,
) -> BTreeMap<i32, &'a PodView> {
    let mut last: BTreeMap<i32, &PodView> = BTreeMap::new();
    if job.spec.backoff_limit_per_index.is_none() {
        return last;
    }
    let runs: BTreeSet<i32> =
        owned.iter().filter(|pod| pod.active()).filter_map(|pod| pods::index(pod)).collect();
    let over = |index: &i32| {
        runs.contains(index)
            || tally.completed.contains(index)
            || tally.failed_indexes.contains(index)
    };
    for pod in owned.iter().filter(|pod| failed(job, pod)) {
        let Some(index) = pods::index(pod).filter(|index| !over(index)) else { continue };
        let rank = |pod: &PodView| (pods::failures_before(pod), pod.meta.creation_timestamp);
        let known = last.get(&index).copied();
        if known.is_none_or(|known| rank(known) < rank(pod)) {
            last.insert(index, pod);
        }
    }
    last
}

/// Whether nothing but this pod tells how often its index has failed, and another try is due.
fn remembers(job: &JobView, pod: &PodView, last: &BTreeMap<i32, &PodView>) -> bool {
    let Some(index) = pods::index(pod) else { return false };
    let limit = job.spec.backoff_limit_per_index.unwrap_or_default();
    last.get(&index).is_some_and(|last| last.meta.uid == pod.meta.uid)
        && pods::failures_before(pod) < limit
}

/// Notes whether the index of a failed pod has failed for good.
fn judge_index(
    job: &JobView,
    pod: &PodView,
    verdict: &Verdict,
    tally: &mut Tally,
    stored: &BTreeSet<i32>,
) {
    let (Some(limit), Some(index)) = (job.spec.backoff_limit_per_index, pods::index(pod)) else {
        return;
    };
    let exhausted = pods::failures_before(pod) >= limit || *verdict == Verdict::FailIndex;
    if exhausted && !tally.completed.contains(&index) && !stored.contains(&index) {
        tally.failed_indexes.insert(index);
    }
}
