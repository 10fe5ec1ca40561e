//! Keeps one pod on every node that a daemon set is for.
//!
//! A pod is tied to its node by required node affinity to the node's name, and the scheduler places
//! it, as upstream. Knows nothing of membership: a lost node has taints, which daemon pods tolerate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::Outcome;
use super::owner::{Owner, delete_pod};
use super::revisions::{self, Revisions, hash_of, revision_of};
use super::rollout::safe_suffix;
use crate::action::EventKind;
use crate::scheduler::plugins::node_affinity;
use crate::snapshot::Snapshot;
use crate::view::daemon_set::DaemonSetView;
use crate::view::node::{Effect, NodeView};
use crate::view::pod::{Phase, PodView};
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

mod failures;
mod placement;
mod rolling;
mod status;
#[cfg(test)]
mod tests;

/// Most pods created or deleted for one set in one run, as upstream.
pub const BURST_MAX: usize = 250;

/// The pods of one node, oldest first, and what the set wants of the node.
#[derive(Debug, Default)]
struct OnNode<'a> {
    /// Whether the set is for this node.
    wanted: bool,
    /// Whether pods that are there may stay.
    tolerated: bool,
    pods: Vec<&'a Arc<PodView>>,
}

/// Who acts for the set.
fn owner(set: &DaemonSetView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::DAEMON_SETS;
    Owner {
        resource: &RESOURCE,
        api_version: "apps/v1",
        kind: "DaemonSet",
        component: "daemonset-controller",
        meta: &set.meta,
    }
}

/// Compares wanted with present for every daemon set and returns the difference.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for set in snapshot.workloads().daemon_sets.values() {
            outcome.merge(reconcile_one(snapshot, set, now));
        }
    }
    outcome
}

/// As [`reconcile`], for one set.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let set = snapshot.workloads().daemon_sets.get(key);
    set.map(|set| reconcile_one(snapshot, set, now)).unwrap_or_default()
}

fn reconcile_one(snapshot: &Snapshot, set: &DaemonSetView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let owner = owner(set);
    let adopt = |pod: &PodView| Some(owner.adopt(&Resource::PODS, &pod.meta));
    let owned = owner.claim_pods(snapshot, &set.spec.selector, adopt, &mut outcome);
    // Pods that change hands are not known as ours yet, or no more.
    let claiming = !outcome.actions.is_empty();
    let template = set.spec.template.to_value();
    let selector = &set.spec.selector;
    let revisions =
        revisions::follow(&owner, snapshot, selector, &template, &set.status, &mut outcome);
    let nodes = nodes(snapshot, &template, &owned);
    let wanted = nodes.values().filter(|node| node.wanted).count();
    let hash = revisions.update.map(|update| hash_of(update)).unwrap_or_default();
    let mut run = Run {
        snapshot,
        set,
        owner,
        template: &template,
        hash,
        wanted: i32::try_from(wanted).unwrap_or(i32::MAX),
        now,
        outcome,
        left: BURST_MAX,
        created: 0,
    };
    if revisions.update.is_some() && !set.meta.deleting() && !claiming {
        run.manage(&nodes);
        if &*set.spec.update_strategy.kind != "OnDelete" {
            rolling::update(&mut run, &nodes);
        }
    }
    let mut outcome = run.outcome;
    status::report(&owner, set, &revisions, &nodes, now, &mut outcome);
    if !set.meta.deleting() {
        clean_up(set, &revisions, &owned, &mut outcome);
    }
    outcome
}

fn clean_up(
    set: &DaemonSetView,
    revisions: &Revisions<'_>,
    owned: &[&Arc<PodView>],
    outcome: &mut Outcome,
) {
    let live: BTreeSet<&str> = owned.iter().map(|pod| revision_of(&pod.meta.labels)).collect();
    revisions::clean_up(revisions, &live, set.spec.revision_history_limit, outcome);
}

/// The node that a pod is on, or is to be on.
fn node_of(pod: &PodView) -> Option<Arc<str>> {
    pod.node_name.clone().or_else(|| {
        let names = node_affinity::required_names(pod)?;
        names.first().filter(|_| names.len() == 1).cloned()
    })
}

/// All nodes with what is wanted of them, and nodes that are gone but have pods.
fn nodes<'a>(
    snapshot: &Snapshot,
    template: &Value,
    owned: &[&'a Arc<PodView>],
) -> BTreeMap<Arc<str>, OnNode<'a>> {
    let example = placement::example(template);
    let mut nodes: BTreeMap<Arc<str>, OnNode<'a>> = BTreeMap::new();
    for node in snapshot.nodes().values() {
        let (wanted, tolerated) = fit(&example, node);
        let entry = OnNode { wanted, tolerated, pods: Vec::new() };
        nodes.insert(Arc::clone(&node.meta.name), entry);
    }
    for pod in owned {
        if let Some(node) = node_of(pod) {
            nodes.entry(node).or_default().pods.push(pod);
        }
    }
    for node in nodes.values_mut() {
        // Bound pods first, then the oldest, as upstream ranks them.
        node.pods.sort_by_key(|pod| {
            (pod.node_name.is_none(), pod.meta.creation_timestamp, pod.meta.name.clone())
        });
    }
    nodes
}

/// Whether the set is for a node, and whether a pod that is there may stay.
fn fit(example: &PodView, node: &NodeView) -> (bool, bool) {
    let named = example.node_name.as_ref().is_none_or(|name| *name == node.meta.name);
    if !named || !node_affinity::selected(example, node) {
        return (false, false);
    }
    let refused = |effects: &[Effect]| {
        node.taints.iter().any(|taint| {
            effects.contains(&taint.effect)
                && !example.tolerations.iter().any(|it| it.tolerates(taint))
        })
    };
    (!refused(&[Effect::NoSchedule, Effect::NoExecute]), !refused(&[Effect::NoExecute]))
}

/// One look at one set.
struct Run<'a> {
    snapshot: &'a Snapshot,
    set: &'a DaemonSetView,
    owner: Owner<'a>,
    template: &'a Value,
    /// Hash of the present revision.
    hash: &'a str,
    /// Nodes that the set is for.
    wanted: i32,
    now: Timestamp,
    outcome: Outcome,
    /// How much this run may still do.
    left: usize,
    created: u64,
}

impl Run<'_> {
    /// Creates pods where there are none and deletes those that are too many, ended or misplaced.
    fn manage(&mut self, nodes: &BTreeMap<Arc<str>, OnNode<'_>>) {
        for (name, node) in nodes {
            if node.wanted && node.pods.is_empty() {
                self.create(name, 0);
            } else if node.tolerated {
                self.manage_node(name, node);
            } else {
                let here = node.pods.iter().filter(|pod| !pod.meta.deleting());
                here.for_each(|pod| self.delete(pod));
            }
        }
    }

    fn manage_node(&mut self, name: &str, node: &OnNode<'_>) {
        let mut running: Vec<&PodView> = Vec::new();
        for pod in node.pods.iter().filter(|pod| !pod.meta.deleting()) {
            match pod.phase {
                Phase::Failed => self.replace_failed(name, node, pod),
                Phase::Succeeded => self.replace_ended(name, pod),
                Phase::Pending | Phase::Running | Phase::Unknown => running.push(pod),
            }
        }
        if self.surge() == 0 {
            for pod in running.into_iter().skip(1) {
                self.delete(pod);
            }
            return;
        }
        // While it surges, a node may have one pod of the new revision and one of an old one.
        let (new, old): (Vec<&PodView>, Vec<&PodView>) =
            running.into_iter().partition(|pod| self.updated(pod));
        let surplus_old = usize::from(!new.first().is_some_and(|new| self.available(new)));
        for pod in new.into_iter().skip(1).chain(old.into_iter().skip(surplus_old)) {
            self.delete(pod);
        }
    }

    fn replace_failed(&mut self, name: &str, node: &OnNode<'_>, pod: &PodView) {
        let due = failures::due(pod);
        if due > self.now {
            self.outcome.wake_at(due);
            return;
        }
        let alone = node.pods.iter().filter(|it| it.active()).count() == 0;
        self.delete_because(
            pod,
            EventKind::Warning,
            "FailedDaemonPod",
            &format!(
                "Found failed daemon pod {}/{} on node {name}, will try to kill it",
                pod.meta.namespace, pod.meta.name
            ),
        );
        if alone && node.wanted {
            self.create(name, failures::count(pod).saturating_add(1));
        }
    }

    fn replace_ended(&mut self, name: &str, pod: &PodView) {
        self.delete_because(
            pod,
            EventKind::Normal,
            "SucceededDaemonPod",
            &format!(
                "Found succeeded daemon pod {}/{} on node {name}, will try to delete it",
                pod.meta.namespace, pod.meta.name
            ),
        );
    }

    /// Pods above one for each node during an update.
    fn surge(&self) -> i32 {
        let surge = self.set.spec.update_strategy.rolling_update.max_surge.as_ref();
        surge.map_or(0, |surge| surge.of(self.wanted, true)).max(0)
    }

    /// Nodes without a running pod during an update; one if nothing else would let it begin.
    fn max_unavailable(&self) -> i32 {
        let most = self.set.spec.update_strategy.rolling_update.max_unavailable.as_ref();
        let most = most.map_or(1, |most| most.of(self.wanted, true)).max(0);
        if most == 0 && self.surge() == 0 { 1 } else { most }
    }

    fn updated(&self, pod: &PodView) -> bool {
        revision_of(&pod.meta.labels) == self.hash
    }

    fn available(&mut self, pod: &PodView) -> bool {
        let wait = self.set.spec.min_ready_seconds;
        let available = pod.available(wait, self.now);
        if let (false, Some(since)) = (available, pod.ready_since()) {
            self.outcome.wake_at(Timestamp(since.0.saturating_add(wait.saturating_mul(1000))));
        }
        available
    }

    fn create(&mut self, node: &str, failures: u32) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let name = self.free_name();
        let mut pod = self.owner.pod(self.template, &name);
        placement::tie(&mut pod, node, self.hash, self.set.meta.generation);
        failures::mark(&mut pod, failures);
        self.outcome.actions.push(self.owner.create(Resource::PODS, pod));
        let message = format!("Created pod: {name}");
        let told = self.owner.event(EventKind::Normal, "SuccessfulCreate", message);
        self.outcome.actions.push(told);
    }

    /// A name that no pod of the namespace has.
    fn free_name(&mut self) -> String {
        let uid = &self.set.meta.uid;
        let newest = self.snapshot.pods_controlled_by(uid).map(|pod| pod.meta.resource_version);
        let seed = newest.max().unwrap_or_default().max(self.set.meta.resource_version);
        loop {
            let name =
                format!("{}-{}", self.set.meta.name, safe_suffix(&[uid], seed, self.created));
            self.created += 1;
            let key = ObjectKey::new(&self.set.meta.namespace, &name);
            if !self.snapshot.pods().contains_key(&key) {
                return name;
            }
        }
    }

    fn delete(&mut self, pod: &PodView) {
        let message = format!("Deleted pod: {}", pod.meta.name);
        self.delete_because(pod, EventKind::Normal, "SuccessfulDelete", &message);
    }

    fn delete_because(&mut self, pod: &PodView, kind: EventKind, reason: &'static str, why: &str) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.outcome.actions.push(delete_pod(pod));
        self.outcome.actions.push(self.owner.event(kind, reason, why.to_owned()));
    }
}
