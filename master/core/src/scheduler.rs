//! Finds a node for every pending pod: filter, score, assume, bind.
//!
//! It keeps sums per node between runs and is told of changes. A decision is counted as if it were
//! carried out (the pod is *assumed* on its node), until the binding is seen, the pod changed in
//! another way (the binding was refused then) or [`ASSUMED_MS`] have passed. It does not know of
//! liveness: nodes that must not get pods say so by taints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::{Action, EventKind, Target};
use crate::snapshot::{Changed, Snapshot};
use crate::view::condition::{Condition, Status, find};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

pub mod filter;
pub mod node_info;
pub mod score;

use filter::Reasons;
use node_info::NodeInfo;

/// How long a binding may stay unseen before the pod is placed anew, in milliseconds: far above any
/// commit, since the shell answers every action.
pub const ASSUMED_MS: i64 = 30_000;

/// Most pods decided in one run, so that a burst does not keep others waiting.
pub const BATCH_MAX: usize = 1_000;

/// Below this number of nodes all are looked at, as upstream.
const FEASIBLE_MIN: usize = 100;

/// The name of this scheduler in `spec.schedulerName`.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// Why a pod could not be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unschedulable {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
}

impl std::fmt::Display for Unschedulable {
    /// Writes upstream's text: `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return write!(formatter, "no nodes available to schedule pods");
        }
        let mut counted: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        counted.sort();
        write!(formatter, "0/{} nodes are available: {}.", self.nodes, counted.join(", "))
    }
}

/// A pod's place, bound or assumed.
#[derive(Clone, Debug)]
struct Placement {
    pod: Arc<PodView>,
    node: Arc<str>,
    /// When it was decided; `None` once the binding was seen.
    assumed_at: Option<Timestamp>,
}

/// The scheduler's memory between runs.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    /// Ordered by name.
    nodes: Vec<NodeInfo>,
    indexes: BTreeMap<Arc<str>, usize>,
    placements: BTreeMap<Arc<str>, Placement>,
    /// The uid under which the pod of a name is placed: a removed object has no uid any more.
    placed_uids: BTreeMap<ObjectKey, Arc<str>>,
    /// Per owner uid: pods on each node, by the node's index.
    spread: BTreeMap<Arc<str>, BTreeMap<usize, i64>>,
    /// Where the next search begins, so that every node gets its turn.
    next_start: usize,
    /// Counts changes that could make room.
    generation: u64,
    /// Pods that found no node, with their revision and the generation at that time.
    refused: BTreeMap<Arc<str>, (u64, u64)>,
}

impl Scheduler {
    /// A scheduler that knows of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the whole snapshot: at the start, and when nodes come or go. Assumed pods stay.
    pub fn rebuild(&mut self, snapshot: &Snapshot) {
        self.nodes =
            snapshot.nodes().values().map(|node| NodeInfo::new(Arc::clone(node))).collect();
        let names = self.nodes.iter().map(|info| Arc::clone(&info.node.meta.name));
        self.indexes = names.zip(0..).collect();
        self.spread.clear();
        let assumed = std::mem::take(&mut self.placements);
        self.placed_uids.clear();
        for pod in snapshot.pods().values() {
            if let Some(node) = pod.node_name.clone().filter(|_| !pod.terminated()) {
                self.place(Placement { pod: Arc::clone(pod), node, assumed_at: None });
            }
        }
        for (uid, placement) in assumed {
            let current = snapshot.by_uid(&uid).and_then(|id| snapshot.meta(id));
            let unchanged = current
                .is_some_and(|meta| meta.resource_version == placement.pod.meta.resource_version);
            if placement.assumed_at.is_some() && unchanged {
                self.place(placement);
            }
        }
        self.generation += 1;
    }

    /// Takes in one change that `snapshot` already holds.
    pub fn update(&mut self, snapshot: &Snapshot, changed: &Changed) {
        let Some(id) = changed.id() else { return };
        if id.resource == Resource::NODES {
            let known = self.indexes.get(&id.key.name).and_then(|index| self.nodes.get_mut(*index));
            match (known, snapshot.nodes().get(&id.key)) {
                (Some(info), Some(node)) => {
                    if scheduling_differs(info, node) {
                        self.generation += 1;
                    }
                    info.set_node(Arc::clone(node));
                }
                _ => self.rebuild(snapshot),
            }
        } else if id.resource == Resource::PODS {
            match snapshot.pods().get(&id.key) {
                Some(pod) => {
                    // The same name with another uid: its predecessor's removal was not seen.
                    let earlier = self.placed_uids.get(&id.key).cloned();
                    if let Some(uid) = earlier.filter(|uid| *uid != pod.meta.uid) {
                        self.unplace(&uid);
                    }
                    self.update_pod(pod);
                }
                None => {
                    if let Some(uid) = self.placed_uids.get(&id.key).cloned() {
                        self.unplace(&uid);
                    }
                }
            }
        }
    }

    fn update_pod(&mut self, pod: &Arc<PodView>) {
        let uid = &pod.meta.uid;
        match &pod.node_name {
            Some(node) if !pod.terminated() => {
                self.refused.remove(uid);
                let same = self.placements.get_mut(uid).filter(|present| {
                    present.node == *node
                        && present.pod.requests == pod.requests
                        && present.pod.ports == pod.ports
                        && owner(&present.pod) == owner(pod)
                });
                if let Some(present) = same {
                    present.assumed_at = None;
                    present.pod = Arc::clone(pod);
                    return;
                }
                self.unplace(uid);
                let (pod, node) = (Arc::clone(pod), Arc::clone(node));
                self.place(Placement { pod, node, assumed_at: None });
            }
            Some(_) => self.unplace(uid),
            // Still without a node although it changed: the binding was decided on an older
            // version and is refused by the shell.
            None => {
                let version = pod.meta.resource_version;
                let known = self.placements.get(uid).map(|it| it.pod.meta.resource_version);
                if known.is_some_and(|known| known < version) {
                    self.unplace(uid);
                }
            }
        }
    }

    /// Takes back an assumed place after its binding was refused.
    pub fn forget(&mut self, uid: &str) {
        if self.placements.get(uid).is_some_and(|placement| placement.assumed_at.is_some()) {
            self.unplace(uid);
        }
    }

    fn place(&mut self, placement: Placement) {
        if let Some(&index) = self.indexes.get(&placement.node)
            && let Some(info) = self.nodes.get_mut(index)
        {
            info.add(&placement.pod);
            if let Some(owner) = owner(&placement.pod) {
                *self.spread.entry(Arc::clone(owner)).or_default().entry(index).or_default() += 1;
            }
        }
        let uid = Arc::clone(&placement.pod.meta.uid);
        self.placed_uids.insert(key_of(&placement.pod), Arc::clone(&uid));
        self.placements.insert(uid, placement);
    }

    fn unplace(&mut self, uid: &str) {
        let Some(placement) = self.placements.remove(uid) else { return };
        self.placed_uids.remove(&key_of(&placement.pod));
        self.generation += 1;
        let Some(&index) = self.indexes.get(&placement.node) else { return };
        if let Some(info) = self.nodes.get_mut(index) {
            info.remove(&placement.pod);
        }
        if let Some(owner) = owner(&placement.pod)
            && let Some(counts) = self.spread.get_mut(owner)
        {
            if let Some(count) = counts.get_mut(&index) {
                *count -= 1;
                if *count <= 0 {
                    counts.remove(&index);
                }
            }
            if counts.is_empty() {
                self.spread.remove(owner);
            }
        }
    }

    /// How many nodes that fit are enough to choose from: upstream's adaptive percentage.
    fn feasible_wanted(&self) -> usize {
        let nodes = self.nodes.len();
        let percentage = 50_usize.saturating_sub(nodes / 125).max(5);
        (nodes * percentage / 100).max(FEASIBLE_MIN).min(nodes)
    }

    /// Finds the best node for one pod.
    ///
    /// # Errors
    ///
    /// Returns [`Unschedulable`] with the count of every reason if no node fits.
    pub fn find_node(&mut self, pod: &PodView) -> Result<Arc<str>, Unschedulable> {
        let total = self.nodes.len();
        let wanted = self.feasible_wanted();
        let counts = owner(pod).and_then(|owner| self.spread.get(owner));
        let mut candidates = Vec::with_capacity(wanted);
        let mut scale = score::Scale::default();
        let mut refusals: BTreeMap<Reasons, usize> = BTreeMap::new();
        let mut visited = 0;
        let (before, after) = self.nodes.split_at(self.next_start.min(total));
        let from = before.len();
        let rotated = after.iter().zip(from..).chain(before.iter().zip(0..));
        for (info, index) in rotated {
            visited += 1;
            match filter::filter(pod, info) {
                Ok(()) => {
                    let owned = counts.and_then(|counts| counts.get(&index)).copied();
                    let raw = score::score(pod, info, owned.unwrap_or_default());
                    scale.include(&raw);
                    candidates.push((info, raw));
                    if candidates.len() >= wanted {
                        break;
                    }
                }
                Err(reasons) => *refusals.entry(reasons).or_default() += 1,
            }
        }
        self.next_start = (from + visited) % total.max(1);
        let mut best: Option<(i64, &NodeInfo)> = None;
        for (info, raw) in candidates {
            let points = scale.total(&raw);
            // The first of equals wins: rotation has already made it another one each time.
            if best.is_none_or(|(most, _)| points > most) {
                best = Some((points, info));
            }
        }
        best.map(|(_, info)| Arc::clone(&info.node.meta.name)).ok_or_else(|| {
            let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
            for (refusal, count) in refusals {
                for reason in refusal {
                    *reasons.entry(reason.into_owned()).or_default() += count;
                }
            }
            Unschedulable { nodes: total, reasons }
        })
    }

    /// Places pods one after the other and assumes each on its node.
    pub fn schedule_batch(
        &mut self,
        pods: &[Arc<PodView>],
        now: Timestamp,
    ) -> Vec<Result<Arc<str>, Unschedulable>> {
        pods.iter()
            .map(|pod| {
                let node = self.find_node(pod)?;
                let (pod, placed) = (Arc::clone(pod), Arc::clone(&node));
                self.place(Placement { pod, node: placed, assumed_at: Some(now) });
                Ok(node)
            })
            .collect()
    }

    /// Decides on all pending pods of the snapshot, at most [`BATCH_MAX`] in one run, the more
    /// important and then the older ones first. [`Self::rebuild`] or [`Self::update`] must have
    /// taken in the same snapshot.
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<Action> {
        if !snapshot.synced {
            return Vec::new();
        }
        self.expire(now);
        let uids: BTreeSet<&str> = snapshot.pending_pods().map(|pod| &*pod.meta.uid).collect();
        self.refused.retain(|uid, _| uids.contains(&**uid));
        let ours = |pod: &&Arc<PodView>| {
            !pod.meta.deleting() && matches!(&*pod.scheduler_name, "" | SCHEDULER_NAME)
        };
        let waiting = snapshot.pending_pods().filter(ours);
        let mut actions = Vec::new();
        let mut ready = Vec::new();
        for pod in waiting.filter(|pod| !self.placements.contains_key(&pod.meta.uid)) {
            if pod.gated {
                let message = "Scheduling is blocked due to non-empty scheduling gates";
                actions.extend(report(pod, "SchedulingGated", message, now));
            } else if self.may_fit(pod) {
                ready.push(Arc::clone(pod));
            }
        }
        ready.sort_by_key(|pod| {
            let created = pod.meta.creation_timestamp.unwrap_or_default();
            let name = (Arc::clone(&pod.meta.namespace), Arc::clone(&pod.meta.name));
            (std::cmp::Reverse(pod.priority), created, name)
        });
        ready.truncate(BATCH_MAX);
        for (pod, decision) in ready.iter().zip(self.schedule_batch(&ready, now)) {
            match decision {
                Ok(node) => actions.extend(bind(snapshot, pod, &node)),
                Err(unschedulable) => {
                    let seen = (pod.meta.resource_version, self.generation);
                    self.refused.insert(Arc::clone(&pod.meta.uid), seen);
                    let message = unschedulable.to_string();
                    let reported = report(pod, "Unschedulable", &message, now);
                    if reported.is_some() {
                        actions.push(failed_event(pod, message));
                    }
                    actions.extend(reported);
                }
            }
        }
        actions
    }

    /// When [`Self::reconcile`] has something to do although nothing changed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let assumed = self.placements.values().filter_map(|placement| placement.assumed_at);
        assumed.min().map(|at| Timestamp(at.0 + ASSUMED_MS))
    }

    /// Whether looking for a node again could find one: the pod itself or the cluster has changed.
    fn may_fit(&self, pod: &PodView) -> bool {
        self.refused.get(&pod.meta.uid).is_none_or(|(_, generation)| *generation != self.generation)
    }

    fn expire(&mut self, now: Timestamp) {
        let expired = self.placements.iter().filter(|(_, placement)| {
            placement.assumed_at.is_some_and(|at| at.0 + ASSUMED_MS <= now.0)
        });
        let expired: Vec<Arc<str>> = expired.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in expired {
            self.unplace(&uid);
        }
    }
}

/// Whether a new version of a node could let a pod in that the old one refused.
fn scheduling_differs(info: &NodeInfo, node: &crate::view::node::NodeView) -> bool {
    let old = &info.node;
    old.unschedulable != node.unschedulable
        || old.taints != node.taints
        || old.allocatable != node.allocatable
        || old.meta.labels != node.meta.labels
}

fn key_of(pod: &PodView) -> ObjectKey {
    let (namespace, name) = (Arc::clone(&pod.meta.namespace), Arc::clone(&pod.meta.name));
    ObjectKey { namespace, name }
}

fn owner(pod: &PodView) -> Option<&Arc<str>> {
    pod.meta.controller().map(|owner| &owner.uid)
}

fn bind(snapshot: &Snapshot, pod: &PodView, node: &Arc<str>) -> Vec<Action> {
    let target = Target::of(&Resource::PODS, &pod.meta);
    let node_uid = snapshot.node(node).map(|node| Arc::clone(&node.meta.uid)).unwrap_or_default();
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    vec![
        Action::Bind { target: target.clone(), node: Arc::clone(node), node_uid },
        Action::Event {
            involved: target,
            involved_kind: "Pod",
            kind: EventKind::Normal,
            reason: "Scheduled",
            message: format!("Successfully assigned {namespace}/{name} to {node}"),
            component: SCHEDULER_NAME,
        },
    ]
}

/// The `PodScheduled` condition, unless the pod says that already.
fn report(pod: &PodView, reason: &str, message: &str, now: Timestamp) -> Option<Action> {
    let mut condition = Condition::new("PodScheduled", Status::False, reason, message, now);
    if let Some(present) = find(&pod.conditions, "PodScheduled") {
        if present.says_the_same(&condition) {
            return None;
        }
        if present.status == Status::False {
            condition.last_transition_time = present.last_transition_time;
        }
    }
    let target = Target::of(&Resource::PODS, &pod.meta);
    Some(Action::SetConditions { target, conditions: vec![condition] })
}

fn failed_event(pod: &PodView, message: String) -> Action {
    Action::Event {
        involved: Target::of(&Resource::PODS, &pod.meta),
        involved_kind: "Pod",
        kind: EventKind::Warning,
        reason: "FailedScheduling",
        message,
        component: SCHEDULER_NAME,
    }
}

#[cfg(test)]
mod tests;
