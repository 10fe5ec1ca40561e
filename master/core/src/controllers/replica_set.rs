//! Keeps the number of pods of a replica set at `spec.replicas`.
//!
//! Knows nothing of the store: the shell applies the actions, and a conflict there is cured by
//! the next run. New pods get names that follow from the set's uid and the names already taken, so
//! that deciding twice on the same snapshot creates the same pods, not twice as many.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::Outcome;
use super::owner::{Owner, delete_pod};
use super::rollout::safe_suffix;
use crate::action::{Action, EventKind};
use crate::snapshot::{Snapshot, in_namespace};
use crate::view::condition::{Condition, Status, find};
use crate::view::labels::Labels;
use crate::view::pod::{Phase, PodView};
use crate::view::replica_set::ReplicaSetView;
use crate::view::resource::Resource;
use crate::view::timestamp::Timestamp;

/// Most pods that one run creates or deletes for one set, as upstream.
pub const BURST_MAX: usize = 500;

/// Pods that may wait for room beyond what all nodes together can take: enough for boards that are
/// about to join, and little enough for the master's memory (some ten kilobytes a pod) whatever
/// number of replicas somebody writes.
pub const WAITING_MAX: usize = 500;

/// Time after which a set for which there was no room looks again.
const ROOM_INTERVAL_MS: i64 = 10_000;

/// Condition of a set whose pods cannot all be created, as upstream.
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

const NO_ROOM: &str = "the cluster has more pods than its nodes can take; more are created when \
     there is room";

/// The annotation by which a user ranks pods for deletion; lower goes first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Who acts for the set.
fn owner(set: &ReplicaSetView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::REPLICA_SETS;
    Owner {
        resource: &RESOURCE,
        api_version: "apps/v1",
        kind: "ReplicaSet",
        component: "replicaset-controller",
        meta: &set.meta,
    }
}

/// Compares wanted with present for every replica set and returns the difference.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for set in snapshot.replica_sets().values() {
            outcome.merge(reconcile_one(snapshot, set, now));
        }
    }
    outcome
}

/// How many more pods the cluster may have.
fn room(snapshot: &Snapshot) -> usize {
    let capacity: i64 = snapshot
        .nodes()
        .values()
        .map(|node| node.allocatable.pods.max(0))
        .fold(0, i64::saturating_add);
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    let present = snapshot.pods().values().filter(|pod| !pod.terminated()).count();
    capacity.saturating_add(WAITING_MAX).saturating_sub(present)
}

/// Compares wanted with present for one replica set.
#[must_use]
pub fn reconcile_one(snapshot: &Snapshot, set: &ReplicaSetView, now: Timestamp) -> Outcome {
    reconcile_as(&owner(set), snapshot, set, now)
}

/// As [`reconcile_one`], for what is a set under another name.
pub(super) fn reconcile_as(
    owner: &Owner<'_>,
    snapshot: &Snapshot,
    set: &ReplicaSetView,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut limited = false;
    let mut owned: Vec<&Arc<PodView>> = Vec::new();
    for pod in snapshot.pods_controlled_by(&set.meta.uid) {
        if set.spec.selector.selects(&pod.meta.labels) {
            owned.push(pod);
        } else if !pod.meta.deleting() && !set.meta.deleting() {
            // Its labels were changed: a user takes it out of the set to look at it.
            outcome.actions.push(owner.release(&Resource::PODS, &pod.meta));
        }
    }
    if !set.meta.deleting() {
        adopt(owner, snapshot, set, &mut owned, &mut outcome);
        let active: Vec<&Arc<PodView>> = owned.iter().copied().filter(|pod| pod.active()).collect();
        limited = scale(owner, snapshot, set, &active, now, &mut outcome);
    }
    report_status(owner, set, &owned, limited, now, &mut outcome);
    outcome
}

/// Takes pods without a controller that the selector selects.
fn adopt<'a>(
    owner: &Owner<'_>,
    snapshot: &'a Snapshot,
    set: &ReplicaSetView,
    owned: &mut Vec<&'a Arc<PodView>>,
    outcome: &mut Outcome,
) {
    let orphans = in_namespace(snapshot.pods(), &set.meta.namespace).filter(|pod| {
        pod.meta.controller().is_none()
            && pod.active()
            && set.spec.selector.selects(&pod.meta.labels)
    });
    for pod in orphans {
        outcome.actions.push(owner.adopt(&Resource::PODS, &pod.meta));
        owned.push(pod);
    }
}

/// Creates what is missing or deletes what is too many; tells whether there was no room for all.
fn scale(
    owner: &Owner<'_>,
    snapshot: &Snapshot,
    set: &ReplicaSetView,
    active: &[&Arc<PodView>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> bool {
    let wanted = usize::try_from(set.spec.replicas()).unwrap_or_default();
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST_MAX);
        // Sets that are looked at in the same run do not see each other's pods; the next run does.
        let created = missing.min(room(snapshot));
        if created < missing {
            outcome.wake_at(Timestamp(now.0.saturating_add(ROOM_INTERVAL_MS)));
        }
        let failed = find(&set.status.conditions, REPLICA_FAILURE).is_some();
        let template = set.spec.template.to_value();
        for name in free_names(snapshot, set, created) {
            let mut pod = owner.pod(&template, &name);
            let prefix = format!("{}-", set.meta.name);
            super::owner::set(&mut pod, &["metadata"], "generateName", json!(prefix));
            outcome.actions.push(owner.create(Resource::PODS, pod));
            let message = format!("Created pod: {name}");
            outcome.actions.push(owner.event(EventKind::Normal, "SuccessfulCreate", message));
            if !failed {
                outcome.actions.push(Action::ConditionIfFailed {
                    target: owner.target(),
                    kind: REPLICA_FAILURE,
                    reason: "FailedCreate",
                });
            }
        }
        return created < missing;
    }
    let surplus = (active.len() - wanted).min(BURST_MAX);
    for pod in ranked_for_deletion(active, now).into_iter().take(surplus) {
        outcome.actions.push(delete_pod(pod));
        let message = format!("Deleted pod: {}", pod.meta.name);
        outcome.actions.push(owner.event(EventKind::Normal, "SuccessfulDelete", message));
    }
    false
}

/// The pods in the order in which they should go, upstream's ranking: not bound, not running, not
/// ready, cheaper by annotation, on nodes with more of them, ready for a shorter time, restarted
/// more often, younger.
pub(super) fn ranked_for_deletion<'a>(
    active: &[&'a Arc<PodView>],
    now: Timestamp,
) -> Vec<&'a Arc<PodView>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for node in active.iter().filter_map(|pod| pod.node_name.as_deref()) {
        *on_node.entry(node).or_default() += 1;
    }
    // Ages are compared by their magnitude, so that nearly equal ones do not decide.
    let magnitude = |since: Timestamp| (now.0.saturating_sub(since.0).max(0) / 1000 + 1).ilog2();
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let cost = pod.meta.annotations.get(DELETION_COST);
        let cost = cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or_default();
        let rank = pod.node_name.as_deref().and_then(|node| on_node.get(node).copied());
        let running = match pod.phase {
            Phase::Pending => 0,
            Phase::Unknown => 1,
            Phase::Running | Phase::Succeeded | Phase::Failed => 2,
        };
        (
            (pod.node_name.is_some(), running, pod.ready()),
            cost,
            Reverse(rank.unwrap_or_default()),
            pod.ready_since().map(magnitude),
            Reverse(pod.restarts),
            pod.meta.creation_timestamp.map(magnitude),
            Arc::clone(&pod.meta.name),
        )
    });
    ranked
}

/// Names for new pods that no pod of the namespace has.
fn free_names(snapshot: &Snapshot, set: &ReplicaSetView, count: usize) -> Vec<String> {
    let prefix = format!("{}-", set.meta.name);
    let taken: BTreeSet<&str> = snapshot
        .pods_in(&set.meta.namespace)
        .map(|pod| &*pod.meta.name)
        .filter(|name| name.starts_with(&prefix))
        .collect();
    // Seeding with the newest revision among the set's pods keeps a name from being used again
    // soon after its pod is gone: agents and logs would take the two for one.
    let pods = snapshot.pods_controlled_by(&set.meta.uid);
    let newest = pods.map(|pod| pod.meta.resource_version).max().unwrap_or_default();
    let seed = newest.max(set.meta.resource_version);
    (0_u64..)
        .map(|number| format!("{prefix}{}", safe_suffix(&[&set.meta.uid], seed, number)))
        .filter(|name| !taken.contains(name.as_str()))
        .take(count)
        .collect()
}

fn report_status(
    owner: &Owner<'_>,
    set: &ReplicaSetView,
    owned: &[&Arc<PodView>],
    limited: bool,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let template_labels = template_labels(set);
    let active = || owned.iter().filter(|pod| pod.active());
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let wait = set.spec.min_ready_seconds;
    let replicas = count(active().count());
    let labeled =
        count(active().filter(|pod| pod.meta.labels.contains_all(&template_labels)).count());
    let ready = count(active().filter(|pod| pod.ready()).count());
    let available = count(active().filter(|pod| pod.available(wait, now)).count());
    // Replication controllers have no word for it.
    let terminating = (*owner.resource == Resource::REPLICA_SETS)
        .then(|| count(owned.iter().filter(|pod| pod.terminating()).count()));
    if wait > 0 {
        let ripening = active().filter_map(|pod| pod.ready_since());
        let ends = ripening
            .map(|since| Timestamp(since.0.saturating_add(wait.saturating_mul(1000))))
            .filter(|at| *at > now);
        if let Some(at) = ends.min() {
            outcome.wake_at(at);
        }
    }
    let status = &set.status;
    let present = (
        status.replicas,
        status.fully_labeled_replicas,
        status.ready_replicas,
        status.available_replicas,
        status.terminating_replicas,
        status.observed_generation,
    );
    let wanted = (replicas, labeled, ready, available, terminating, set.meta.generation);
    let failed = find(&status.conditions, REPLICA_FAILURE).is_some();
    // A failure to create is told until there are as many as there are to be.
    let missing = replicas < set.spec.replicas() && !set.meta.deleting();
    let told = if failed { !missing } else { limited };
    if limited && told {
        let message = format!("Error creating: {NO_ROOM}");
        outcome.actions.push(owner.event(EventKind::Warning, "FailedCreate", message));
    }
    if told || present != wanted {
        let mut patch = json!({
            "replicas": replicas,
            "fullyLabeledReplicas": labeled,
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": set.meta.generation,
        });
        if let (Some(terminating), Some(patch)) = (terminating, patch.as_object_mut()) {
            patch.insert("terminatingReplicas".to_owned(), json!(terminating));
        }
        if told {
            let others = status.conditions.iter().filter(|it| &*it.kind != REPLICA_FAILURE);
            let mut conditions: Vec<Condition> = others.cloned().collect();
            if limited {
                let reason = "FailedCreate";
                let state = Status::True;
                conditions.push(Condition::new(REPLICA_FAILURE, state, reason, NO_ROOM, now));
            }
            if let Some(patch) = patch.as_object_mut() {
                patch.insert("conditions".to_owned(), json!(conditions));
            }
        }
        let target = owner.target();
        outcome.actions.push(Action::UpdateStatus { target, patch: json!({ "status": patch }) });
    }
}

fn template_labels(set: &ReplicaSetView) -> Labels {
    let template = set.spec.template.to_value();
    let labels = template.pointer("/metadata/labels").cloned();
    labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::model::{Model, NOW};
    use super::*;

    const SET: &str = "/apps/replicasets/d/web";

    fn set(replicas: i32) -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "set", "generation": 1},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}},
            },
        })
    }

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot, NOW).actions
    }

    #[test]
    fn missing_pods_are_created_with_the_template_and_an_owner() {
        let mut model = Model::new();
        model.put(SET, set(3));
        model.settle(run);
        let pods: Vec<_> = model.snapshot().pods_controlled_by("set").collect();
        assert_eq!(pods.len(), 3);
        assert!(pods.iter().all(|pod| pod.meta.labels.get("app") == Some("web")));
        assert_eq!(model.get(SET)["status"]["replicas"], 3);
        assert_eq!(model.get(SET)["status"]["fullyLabeledReplicas"], 3);
    }

    #[test]
    fn surplus_goes_from_pods_that_are_not_ready_first() {
        let mut model = Model::new();
        model.put(SET, set(2));
        model.settle(run);
        let ready = model.snapshot().pods().keys().next().unwrap().name.clone();
        model.make_ready(&format!("/core/pods/d/{ready}"), "n1");
        model.put(SET, set(1));
        model.settle(run);
        let left: Vec<_> = model.snapshot().pods().keys().map(|key| key.name.clone()).collect();
        assert_eq!(left, [ready]);
        assert_eq!(model.get(SET)["status"]["availableReplicas"], 1);
    }

    #[test]
    fn a_pod_without_a_controller_is_adopted_and_a_relabelled_one_released() {
        let mut model = Model::new();
        model.put("/core/pods/d/stray", json!({"metadata": {"labels": {"app": "web"}}}));
        model.put(SET, set(1));
        model.settle(run);
        assert_eq!(model.snapshot().pods().len(), 1);
        assert_eq!(model.snapshot().pods_controlled_by("set").count(), 1);

        model.merge("/core/pods/d/stray", &json!({"metadata": {"labels": {"app": "debug"}}}));
        model.settle(run);
        assert_eq!(model.snapshot().pods().len(), 2);
        let kept = model.get("/core/pods/d/stray");
        assert_eq!(kept["metadata"]["ownerReferences"], json!([]));
    }

    #[test]
    fn a_pod_that_is_going_is_replaced_and_an_ended_one_too() {
        let mut model = Model::new();
        model.put(SET, set(1));
        model.settle(run);
        let name = model.snapshot().pods().keys().next().unwrap().name.clone();
        model.merge(&format!("/core/pods/d/{name}"), &json!({"status": {"phase": "Failed"}}));
        model.settle(run);
        assert_eq!(model.snapshot().pods().values().filter(|pod| pod.active()).count(), 1);
        assert_eq!(model.snapshot().pods().len(), 2);
    }

    #[test]
    fn one_run_creates_no_more_than_the_burst() {
        let mut model = Model::new();
        model.put(SET, set(2000));
        let created = run(model.snapshot());
        let created = created.iter().filter(|it| matches!(it, Action::Create { .. })).count();
        assert_eq!(created, BURST_MAX);
    }

    #[test]
    fn a_cluster_is_not_filled_beyond_its_nodes() {
        let mut model = Model::new();
        model.put(SET, set(i32::MAX));
        model.settle(run);
        assert_eq!(model.snapshot().pods().len(), WAITING_MAX);
        let condition = &model.get(SET)["status"]["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"]),
            (&json!("ReplicaFailure"), &json!("FailedCreate"),)
        );
        let failed = model.events.iter().filter(|event| event.starts_with("FailedCreate"));
        assert_eq!(failed.count(), 1);

        let node = json!({"metadata": {}, "status": {"allocatable": {"pods": "110"}}});
        model.put("/core/nodes/_/n1", node);
        model.settle(run);
        assert_eq!(model.snapshot().pods().len(), WAITING_MAX + 110);

        model.put(SET, set(3));
        model.settle(run);
        assert_eq!(model.snapshot().pods().len(), 3);
        assert_eq!(model.get(SET)["status"]["conditions"], json!([]));
    }

    #[test]
    fn nothing_is_done_before_the_caches_are_full() {
        let mut model = Model::new();
        model.put(SET, set(1));
        let mut snapshot = model.snapshot().clone();
        snapshot.synced = false;
        assert_eq!(run(&snapshot), []);
    }

    proptest! {
        #[test]
        fn a_second_run_on_the_result_does_nothing(steps in prop::collection::vec(0_i32..12, 1..6)) {
            let mut model = Model::new();
            for replicas in steps {
                model.put(SET, set(replicas));
                model.settle(run);
                let active = model.snapshot().pods().values().filter(|pod| pod.active()).count();
                prop_assert_eq!(i32::try_from(active).unwrap(), replicas);
            }
        }
    }
}
