//! Runs pods until enough of them have succeeded, or too many have failed.
//!
//! What was counted stands in the status alone (see [`tracking`]); a decision to end a job is
//! stored before anything is done about it, so that no lost write can turn it around.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Outcome;
use super::owner::{Owner, delete_pod};
use super::replica_set::ranked_for_deletion;
use super::rollout::safe_suffix;
use crate::action::{Action, EventKind, Propagation, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::job::JobView;
use crate::view::pod::PodView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;
use ending::Ending;
use tracking::Tally;

mod ending;
mod indexes;
mod pods;
mod policy;
mod status;
#[cfg(test)]
mod tests;
mod tracking;

/// The finalizer by which a pod waits until it was counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Most pods created or deleted for one job in one run, as upstream.
pub const BURST_MAX: usize = 500;
/// Who looks after a job that does not say.
const CONTROLLER: &str = "kubernetes.io/job-controller";

/// Who acts for the job.
fn owner(job: &JobView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::JOBS;
    Owner {
        resource: &RESOURCE,
        api_version: "batch/v1",
        kind: "Job",
        component: "job-controller",
        meta: &job.meta,
    }
}

/// Compares wanted with present for every job, and for pods that wait for a job that is gone.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for key in keys(snapshot) {
            outcome.merge(reconcile_key(snapshot, &key, now));
        }
    }
    outcome
}

/// All jobs, and the names of jobs that pods still wait for.
pub(super) fn keys(snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
    let waiting = snapshot.pods().values().filter_map(|pod| job_of(pod));
    snapshot.workloads().jobs.keys().cloned().chain(waiting).collect()
}

/// The job that a pod waits for, by the name that it gives; the empty name if it names none.
pub(super) fn job_of(pod: &PodView) -> Option<ObjectKey> {
    if !pod.meta.has_finalizer(FINALIZER) {
        return None;
    }
    let owner = pod.meta.controller().filter(|owner| &*owner.kind == "Job");
    let name = owner.map_or_else(|| Arc::from(""), |owner| Arc::clone(&owner.name));
    Some(ObjectKey { namespace: Arc::clone(&pod.meta.namespace), name })
}

/// As [`reconcile`], for one job by its name.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let job = snapshot.workloads().jobs.get(key);
    if let Some(job) = job {
        outcome.merge(reconcile_one(snapshot, job, now));
    }
    // Pods of a job of that name that is gone are counted by nobody.
    let waiting = snapshot.pods_in(&key.namespace).filter(|pod| job_of(pod).as_ref() == Some(key));
    for pod in waiting {
        let owner = pod.meta.controller().map(|owner| &owner.uid);
        if owner != job.map(|job| &job.meta.uid) || owner.is_none() {
            let adoptable = owner.is_none() && may_be_adopted(snapshot, pod);
            outcome.actions.extend((!adoptable).then(|| release(pod)));
        }
    }
    outcome
}

fn may_be_adopted(snapshot: &Snapshot, pod: &PodView) -> bool {
    let jobs = crate::snapshot::in_namespace(&snapshot.workloads().jobs, &pod.meta.namespace);
    let mut jobs = jobs.filter(|job| !job.meta.deleting());
    !pod.meta.deleting() && jobs.any(|job| job.spec.selector.selects(&pod.meta.labels))
}

/// Lets a pod go.
fn release(pod: &PodView) -> Action {
    Action::RemoveFinalizer {
        target: Target::of(&Resource::PODS, &pod.meta),
        finalizer: Arc::from(FINALIZER),
    }
}

/// Takes a pod, so that it will be counted.
fn adopt(owner: &Owner<'_>, pod: &PodView) -> Option<Action> {
    let Action::SetOwnerReferences { target, owner_references } =
        owner.adopt(&Resource::PODS, &pod.meta)
    else {
        return None;
    };
    let mut finalizers = pod.meta.finalizers.clone();
    if !pod.meta.has_finalizer(FINALIZER) {
        finalizers.push(Arc::from(FINALIZER));
    }
    let metadata = json!({"ownerReferences": owner_references, "finalizers": finalizers});
    Some(Action::Update { target, patch: json!({ "metadata": metadata }) })
}

fn reconcile_one(snapshot: &Snapshot, job: &JobView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let conditions = status::conditions(job);
    let holds = |kind: &str| find(&conditions, kind).filter(|it| it.status == Status::True);
    if let Some(end) = holds("Complete").or_else(|| holds("Failed")) {
        finished(snapshot, job, end, now, &mut outcome);
        return outcome;
    }
    if job.spec.managed_by.as_deref().is_some_and(|manager| manager != CONTROLLER) {
        return outcome;
    }
    let owner = owner(job);
    let owned =
        owner.claim_pods(snapshot, &job.spec.selector, |pod| adopt(&owner, pod), &mut outcome);
    // Pods that change hands are not known as ours yet, or no more.
    let claiming = !outcome.actions.is_empty();
    let stored = holds("FailureTarget").or_else(|| holds("SuccessCriteriaMet")).map(|it| Ending {
        failed: &*it.kind == "FailureTarget",
        reason: it.reason.as_deref().unwrap_or_default().to_owned(),
        message: it.message.as_deref().unwrap_or_default().to_owned(),
    });
    let failing = stored.as_ref().is_some_and(|ending| ending.failed);
    let (tally, free) = tracking::take_stock(job, &owned, failing);
    outcome.actions.extend(free);
    let active: Vec<&Arc<PodView>> = owned.iter().copied().filter(|pod| pod.active()).collect();
    let shown: Vec<&PodView> = active.iter().map(|pod| &***pod).collect();
    let start = status::start(job).filter(|_| !job.spec.suspend);
    let start = start.or_else(|| (!job.spec.suspend).then_some(now));
    let ending = stored.clone().or_else(|| ending::of(job, &tally, &shown, start, now));
    if let (None, Some(deadline)) = (&ending, ending::deadline(job, start)) {
        outcome.wake_at(deadline);
    }
    if !job.meta.deleting() {
        let mut run = Run { snapshot, job, owner, tally: &tally, now, outcome, numbers: 0 };
        if stored.is_some() {
            // It has been written down, so nothing can turn it around any more.
            active.iter().take(BURST_MAX).for_each(|pod| run.delete(pod));
        } else if job.spec.suspend {
            active.iter().take(BURST_MAX).for_each(|pod| run.withdraw(pod));
        } else if ending.is_none() && !claiming {
            run.manage(&owned, &active);
        }
        outcome = run.outcome;
    }
    let stock = status::Stock { tally: &tally, owned: &owned, start, ending: ending.as_ref() };
    status::report(&owner, job, conditions, &stock, now, &mut outcome);
    outcome
}

/// A finished job lets its pods go, and goes itself when its time is up.
fn finished(
    snapshot: &Snapshot,
    job: &JobView,
    end: &Condition,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let tracked = snapshot.pods_controlled_by(&job.meta.uid);
    let tracked = tracked.filter(|pod| pod.meta.has_finalizer(FINALIZER));
    outcome.actions.extend(tracked.take(BURST_MAX).map(|pod| release(pod)));
    let Some(seconds) = job.spec.ttl_seconds_after_finished else { return };
    let ended = end.last_transition_time.unwrap_or(now);
    let due = Timestamp(ended.0.saturating_add(seconds.saturating_mul(1000)));
    if due > now {
        outcome.wake_at(due);
    } else if !job.meta.deleting() {
        outcome.actions.push(Action::Delete {
            target: Target::of(&Resource::JOBS, &job.meta),
            grace_seconds: None,
            propagation: Some(Propagation::Foreground),
        });
    }
}

/// One look at one job that goes on.
struct Run<'a> {
    snapshot: &'a Snapshot,
    job: &'a JobView,
    owner: Owner<'a>,
    tally: &'a Tally,
    now: Timestamp,
    outcome: Outcome,
    numbers: u64,
}

impl Run<'_> {
    fn manage(&mut self, owned: &[&Arc<PodView>], active: &[&Arc<PodView>]) {
        let spec = &self.job.spec;
        let left = self.withdraw_needless(active);
        let parallel = usize::try_from(spec.parallelism()).unwrap_or_default();
        let succeeded = self.tally.all_succeeded();
        let wanted = match spec.completions {
            None if succeeded > 0 => left.len(),
            None => parallel,
            Some(completions) => {
                let open = i64::from(completions).saturating_sub(succeeded);
                parallel.min(usize::try_from(open).unwrap_or_default())
            }
        };
        let surplus = left.len().saturating_sub(wanted).min(BURST_MAX);
        let mut ranked = ranked_for_deletion(&left, self.now);
        // Those that were let go before are on their way already.
        ranked.sort_by_key(|pod| pod.meta.has_finalizer(FINALIZER));
        ranked.into_iter().take(surplus).for_each(|pod| self.withdraw(pod));
        let going = owned.iter().filter(|pod| pod.meta.deleting() && !pod.terminated());
        let going: Vec<&Arc<PodView>> =
            going.copied().filter(|_| spec.replaces_failed_only()).collect();
        let missing = wanted.saturating_sub(left.len() + going.len()).min(BURST_MAX);
        if missing == 0 {
            return;
        }
        if spec.indexed() {
            self.create_indexes(owned, &left, &going, missing);
            return;
        }
        if self.must_wait(owned) {
            return;
        }
        for _ in 0..missing {
            self.create(None);
        }
    }

    /// Whether pods failed so lately that the next has to wait.
    fn must_wait(&mut self, owned: &[&Arc<PodView>]) -> bool {
        let all: Vec<&PodView> = owned.iter().map(|pod| &***pod).collect();
        let start = pods::next_start(&all).filter(|start| *start > self.now);
        start.into_iter().for_each(|start| self.outcome.wake_at(start));
        start.is_some()
    }

    /// Withdraws pods of indexes that nobody wants, or that have another; returns the others.
    fn withdraw_needless<'p>(&mut self, active: &[&'p Arc<PodView>]) -> Vec<&'p Arc<PodView>> {
        if !self.job.spec.indexed() {
            return active.to_vec();
        }
        let completions = self.job.spec.completions.unwrap_or_default();
        let (mut seen, mut left) = (BTreeSet::new(), Vec::new());
        for pod in active {
            let index = pods::index(pod).filter(|index| *index < completions);
            let open = index.filter(|index| {
                !self.tally.completed.contains(index) && !self.tally.failed_indexes.contains(index)
            });
            if open.is_some_and(|index| seen.insert(index)) {
                left.push(*pod);
            } else {
                self.withdraw(pod);
            }
        }
        left
    }

    fn create_indexes(
        &mut self,
        owned: &[&Arc<PodView>],
        left: &[&Arc<PodView>],
        going: &[&Arc<PodView>],
        missing: usize,
    ) {
        let per_index = self.job.spec.backoff_limit_per_index.is_some();
        if !per_index && self.must_wait(owned) {
            return;
        }
        let held: BTreeSet<i32> =
            left.iter().chain(going).filter_map(|pod| pods::index(pod)).collect();
        let mut created = 0;
        for index in 0..self.job.spec.completions.unwrap_or_default() {
            let done = self.tally.completed.contains(&index)
                || self.tally.failed_indexes.contains(&index)
                || held.contains(&index);
            if done {
                continue;
            }
            let mut failures = None;
            if per_index {
                let before = owned
                    .iter()
                    .filter(|pod| {
                        pods::index(pod) == Some(index) && tracking::failed(self.job, pod)
                    })
                    .max_by_key(|pod| pods::failures_before(pod));
                if let Some(before) = before {
                    let start = pods::next_start_of_index(before);
                    if start > self.now {
                        self.outcome.wake_at(start);
                        continue;
                    }
                }
                let ignored = before.is_some_and(|pod| {
                    policy::failure(&self.job.spec, pod) == policy::Verdict::Ignore
                });
                let count =
                    before.map_or(0, |pod| pods::failures_before(pod) + i32::from(!ignored));
                failures = Some(count);
            }
            self.create(Some((index, failures)));
            created += 1;
            if created == missing {
                return;
            }
        }
    }

    fn create(&mut self, index: Option<(i32, Option<i32>)>) {
        let name = self.free_name(index.map(|it| it.0));
        let template = self.job.spec.template.to_value();
        let pod = pods::new(&self.owner, self.job, &template, &name, index);
        self.outcome.actions.push(self.owner.create(Resource::PODS, pod));
        let message = format!("Created pod: {name}");
        let told = self.owner.event(EventKind::Normal, "SuccessfulCreate", message);
        self.outcome.actions.push(told);
    }

    /// A name that no pod of the namespace has, and that was not used just before.
    fn free_name(&mut self, index: Option<i32>) -> String {
        let uid = &self.job.meta.uid;
        let newest = self.snapshot.pods_controlled_by(uid).map(|pod| pod.meta.resource_version);
        let seed = newest.max().unwrap_or_default().max(self.job.meta.resource_version);
        loop {
            let suffix = safe_suffix(&[uid], seed, self.numbers);
            let name = format!("{}{suffix}", pods::prefix(self.job, index));
            self.numbers += 1;
            let key = ObjectKey::new(&self.job.meta.namespace, &name);
            if !self.snapshot.pods().contains_key(&key) {
                return name;
            }
        }
    }

    /// Deletes a pod that is not to count: its finalizer goes first, itself in the next run.
    fn withdraw(&mut self, pod: &PodView) {
        if pod.meta.has_finalizer(FINALIZER) {
            self.outcome.actions.push(release(pod));
        } else {
            self.delete(pod);
        }
    }

    fn delete(&mut self, pod: &PodView) {
        self.outcome.actions.push(delete_pod(pod));
        let message = format!("Deleted pod: {}", pod.meta.name);
        let told = self.owner.event(EventKind::Normal, "SuccessfulDelete", message);
        self.outcome.actions.push(told);
    }
}

/// The text of a reason as events need it.
fn known_reason(reason: &str) -> &'static str {
    let known = [
        "PodFailurePolicy",
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ];
    known.into_iter().find(|it| *it == reason).unwrap_or("Failed")
}

/// The status field of a job that is a time.
fn time(status: &Value, field: &str) -> Option<Timestamp> {
    Timestamp::parse(status.get(field)?.as_str()?)
}
