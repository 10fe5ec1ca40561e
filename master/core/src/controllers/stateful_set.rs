//! Keeps pods that have a name and storage of their own, one for each ordinal.
//!
//! A pod is replaced only when its object is gone: the new one bears the same name. So a pod on a
//! node that is lost runs nowhere else before somebody has confirmed its end, which is the node
//! lifecycle's business and waits for a fence.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::Outcome;
use super::owner::{Owner, delete_pod};
use super::revisions::{self, Revisions, revision_of};
use crate::action::{Action, EventKind};
use crate::snapshot::Snapshot;
use crate::view::pod::{Phase, PodView};
use crate::view::resource::{ObjectKey, Resource};
use crate::view::stateful_set::StatefulSetView;
use crate::view::timestamp::Timestamp;

mod claims;
mod identity;
mod status;
#[cfg(test)]
mod tests;

/// Most pods created or deleted for one set in one run.
pub const BURST_MAX: usize = 500;

/// The pods of one set by ordinal.
#[derive(Debug)]
struct Pods<'a> {
    /// Those of the wanted ordinals, lowest first; `None` where there is none.
    replicas: Vec<(i32, Option<&'a Arc<PodView>>)>,
    /// The others, highest ordinal first.
    condemned: Vec<(i32, &'a Arc<PodView>)>,
}

impl<'a> Pods<'a> {
    fn new(set: &StatefulSetView, owned: &[&'a Arc<PodView>]) -> Self {
        let wanted = wanted_ordinals(set);
        let mut replicas: Vec<_> = wanted.clone().map(|ordinal| (ordinal, None)).collect();
        let mut condemned = Vec::new();
        for pod in owned {
            let Some(ordinal) = identity::ordinal(&set.meta.name, &pod.meta.name) else { continue };
            if wanted.contains(&ordinal) {
                let place = usize::try_from(ordinal - wanted.start).ok();
                if let Some(place) = place.and_then(|place| replicas.get_mut(place)) {
                    place.1 = Some(*pod);
                }
            } else {
                condemned.push((ordinal, *pod));
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        Self { replicas, condemned }
    }

    fn all(&self) -> impl Iterator<Item = &'a Arc<PodView>> {
        let replicas = self.replicas.iter().filter_map(|(_, pod)| *pod);
        replicas.chain(self.condemned.iter().map(|(_, pod)| *pod))
    }
}

fn wanted_ordinals(set: &StatefulSetView) -> std::ops::Range<i32> {
    let start = set.spec.ordinals.start.max(0);
    // Ordinals are made one by one, so what nobody could ever run is not even counted.
    let count = set.spec.replicas.unwrap_or(1).clamp(0, 100_000);
    start..start.saturating_add(count)
}

/// Who acts for the set.
fn owner(set: &StatefulSetView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::STATEFUL_SETS;
    Owner {
        resource: &RESOURCE,
        api_version: "apps/v1",
        kind: "StatefulSet",
        component: "statefulset-controller",
        meta: &set.meta,
    }
}

/// Compares wanted with present for every stateful set and returns the difference.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for set in snapshot.workloads().stateful_sets.values() {
            outcome.merge(reconcile_one(snapshot, set, now));
        }
    }
    outcome
}

/// As [`reconcile`], for one set.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let set = snapshot.workloads().stateful_sets.get(key);
    set.map(|set| reconcile_one(snapshot, set, now)).unwrap_or_default()
}

fn reconcile_one(snapshot: &Snapshot, set: &StatefulSetView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let (owner, spec) = (owner(set), &set.spec);
    let member = |pod: &PodView| {
        identity::ordinal(&set.meta.name, &pod.meta.name)
            .map(|_| owner.adopt(&Resource::PODS, &pod.meta))
    };
    let owned = owner.claim_pods(snapshot, &spec.selector, member, &mut outcome);
    // Pods that change hands are not known as ours yet, or no more.
    let claiming = !outcome.actions.is_empty();
    let template = spec.template.to_value();
    let revisions =
        revisions::follow(&owner, snapshot, &spec.selector, &template, &set.status, &mut outcome);
    let pods = Pods::new(set, &owned);
    let mut run = Run { snapshot, set, owner, revisions: &revisions, now, outcome };
    if revisions.update.is_some() && !set.meta.deleting() && !claiming {
        run.scale_and_update(&pods);
    }
    let mut outcome = run.outcome;
    wake_for_availability(set, &pods, now, &mut outcome);
    status::report(&owner, set, &revisions, &pods, now, &mut outcome);
    if !set.meta.deleting() {
        let status = |field: &str| set.status.get(field).and_then(Value::as_str);
        let mut live: BTreeSet<&str> =
            pods.all().map(|pod| revision_of(&pod.meta.labels)).collect();
        live.extend(["currentRevision", "updateRevision"].into_iter().filter_map(status));
        revisions::clean_up(&revisions, &live, spec.revision_history_limit, &mut outcome);
    }
    outcome
}

/// Looks again when a ready pod has been ready for long enough.
fn wake_for_availability(
    set: &StatefulSetView,
    pods: &Pods<'_>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let wait_ms = set.spec.min_ready_seconds.saturating_mul(1000);
    for since in pods.all().filter_map(|pod| pod.ready_since()) {
        let ripe = Timestamp(since.0.saturating_add(wait_ms));
        if wait_ms > 0 && ripe > now {
            outcome.wake_at(ripe);
        }
    }
}

fn running_and_ready(pod: &PodView) -> bool {
    pod.phase == Phase::Running && pod.ready()
}

/// One look at one set.
struct Run<'a> {
    snapshot: &'a Snapshot,
    set: &'a StatefulSetView,
    owner: Owner<'a>,
    revisions: &'a Revisions<'a>,
    now: Timestamp,
    outcome: Outcome,
}

impl Run<'_> {
    fn ordered(&self) -> bool {
        &*self.set.spec.pod_management_policy != "Parallel"
    }

    fn available(&self, pod: &PodView) -> bool {
        running_and_ready(pod) && pod.available(self.set.spec.min_ready_seconds, self.now)
    }

    fn update_name(&self) -> &str {
        self.revisions.update.map(|update| &*update.meta.name).unwrap_or_default()
    }

    fn scale_and_update(&mut self, pods: &Pods<'_>) {
        let mut budget = BURST_MAX;
        for (ordinal, pod) in &pods.replicas {
            if budget == 0 || self.settle_replica(*ordinal, *pod, &mut budget) {
                return;
            }
        }
        claims::own(self.snapshot, self.set, &self.owner, pods, &mut self.outcome);
        if self.scale_down(pods, &mut budget) {
            return;
        }
        if &*self.set.spec.update_strategy.kind != "OnDelete" {
            self.update(pods);
        }
    }

    /// Makes one wanted pod as it should be; true if the others have to wait for it.
    fn settle_replica(
        &mut self,
        ordinal: i32,
        pod: Option<&Arc<PodView>>,
        budget: &mut usize,
    ) -> bool {
        let Some(pod) = pod else {
            let name = identity::pod_name(self.set, ordinal);
            let key = ObjectKey::new(&self.set.meta.namespace, &name);
            let taken = self.snapshot.pods().contains_key(&key);
            if taken || claims::stale(self.snapshot, self.set, ordinal) {
                return self.ordered();
            }
            *budget -= 1;
            self.create(ordinal);
            return self.ordered();
        };
        if pod.terminated() {
            // The next one comes when this one is gone.
            if !pod.meta.deleting() {
                *budget -= 1;
                self.outcome.actions.push(delete_pod(pod));
                let message = format!(
                    "StatefulSet {}/{} is recreating failed Pod {}",
                    self.set.meta.namespace, self.set.meta.name, pod.meta.name
                );
                let told = self.owner.event(EventKind::Warning, "RecreatingFailedPod", message);
                self.outcome.actions.push(told);
            }
            return self.ordered();
        }
        if pod.phase == Phase::Pending && !pod.meta.deleting() {
            claims::create(self.snapshot, self.set, &self.owner, ordinal, &mut self.outcome);
        }
        if self.ordered() && (pod.meta.deleting() || !self.available(pod)) {
            return true;
        }
        if let Some(action) = identity::mended(self.set, ordinal, pod) {
            self.outcome.actions.push(action);
        }
        false
    }

    fn create(&mut self, ordinal: i32) {
        claims::create(self.snapshot, self.set, &self.owner, ordinal, &mut self.outcome);
        let (template, revision) = self.template_for(ordinal);
        let pod = identity::pod(self.set, &self.owner, ordinal, &template, &revision);
        self.outcome.actions.push(self.owner.create(Resource::PODS, pod));
        let (name, set) = (identity::pod_name(self.set, ordinal), &self.set.meta.name);
        let message = format!("create Pod {name} in StatefulSet {set} successful");
        let told = self.owner.event(EventKind::Normal, "SuccessfulCreate", message);
        self.outcome.actions.push(told);
    }

    /// Ordinals below the partition keep the current revision for as long as it is known.
    fn template_for(&self, ordinal: i32) -> (Value, String) {
        let strategy = &self.set.spec.update_strategy;
        let first_updated =
            self.set.spec.ordinals.start.saturating_add(strategy.rolling_update.partition);
        let keeps = &*strategy.kind != "OnDelete" && ordinal < first_updated;
        let current = self.set.status.get("currentRevision").and_then(Value::as_str);
        let current = self.revisions.all.iter().find(|it| Some(&*it.meta.name) == current);
        match current.filter(|_| keeps) {
            Some(current) => (revisions::template_of(current), current.meta.name.to_string()),
            None => (self.set.spec.template.to_value(), self.update_name().to_owned()),
        }
    }

    /// Deletes pods beyond the wanted number, highest ordinal first; true if the rest has to wait.
    fn scale_down(&mut self, pods: &Pods<'_>, budget: &mut usize) -> bool {
        let unhealthy = |pod: &&Arc<PodView>| !self.available(pod) || pod.meta.deleting();
        // The first unhealthy pod of all may go although it is not available.
        let first_unhealthy = pods
            .replicas
            .iter()
            .filter_map(|(_, pod)| *pod)
            .chain(pods.condemned.iter().rev().map(|(_, pod)| *pod))
            .find(unhealthy);
        for (_, pod) in &pods.condemned {
            if pod.meta.deleting() {
                if self.ordered() {
                    return true;
                }
                continue;
            }
            let first = first_unhealthy.is_some_and(|first| first.meta.uid == pod.meta.uid);
            if self.ordered() && !self.available(pod) && !first {
                return true;
            }
            if *budget == 0 {
                return true;
            }
            *budget -= 1;
            self.delete(pod);
            if self.ordered() {
                return true;
            }
        }
        false
    }

    /// Deletes pods of an older revision, highest ordinal first, as many as may be missing.
    fn update(&mut self, pods: &Pods<'_>) {
        let spec = &self.set.spec;
        let rolling = &spec.update_strategy.rolling_update;
        let wanted = wanted_ordinals(self.set).len();
        let total = i32::try_from(wanted).unwrap_or(i32::MAX);
        let most = rolling.max_unavailable.as_ref().map_or(1, |it| it.of(total, false));
        let mut left = usize::try_from(most.max(1)).unwrap_or(1);
        let first_updated = spec.ordinals.start.saturating_add(rolling.partition);
        for (ordinal, pod) in pods.replicas.iter().rev() {
            let Some(pod) = pod.filter(|_| *ordinal >= first_updated && left > 0) else { return };
            let updated = revision_of(&pod.meta.labels) == self.update_name();
            if !updated && !pod.meta.deleting() {
                self.delete(pod);
                left -= 1;
            } else if pod.meta.deleting() || !self.available(pod) {
                left -= 1;
            }
        }
    }

    fn delete(&mut self, pod: &PodView) {
        self.outcome.actions.push(delete_pod(pod));
        let (name, set) = (&pod.meta.name, &self.set.meta.name);
        let message = format!("delete Pod {name} in StatefulSet {set} successful");
        let told: Action = self.owner.event(EventKind::Normal, "SuccessfulDelete", message);
        self.outcome.actions.push(told);
    }
}
