//! Finds a node for every pending pod: filter, score, assume, bind.
//!
//! It keeps sums per node between runs and is told of changes. A decision is counted as if it were
//! carried out (the pod is *assumed* on its node), until the binding is seen, the pod changed in
//! another way (the binding was refused then) or [`ASSUMED_MS`] have passed. It does not know of
//! liveness: nodes that must not get pods say so by taints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::snapshot::{Changed, Snapshot};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

pub mod cluster;
pub mod decision;
pub mod groups;
pub mod node_info;
pub mod nominations;
pub mod plugins;
pub mod queue;
mod report;
pub mod topology;

use cluster::{Cluster, owner};
use decision::{Decision, Unschedulable};
use nominations::Nominations;
use plugins::default_preemption::{self, Victims};
use plugins::volume_binding::{self, VolumeBinding};
use queue::{ClusterEvent, Queue};

/// How long a binding may stay unseen before the pod is placed anew, in milliseconds: far above any
/// commit, since the shell answers every action.
pub const ASSUMED_MS: i64 = 30_000;

/// Most pods decided in one run, so that a burst does not keep others waiting.
pub const BATCH_MAX: usize = 1_000;

/// Groups of pods after which those are forgotten that no pod names any more.
const GROUPS_MAX: usize = 2_000;

/// The name of this scheduler in `spec.schedulerName`.
pub const SCHEDULER_NAME: &str = "default-scheduler";

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
    cluster: Cluster,
    placements: BTreeMap<Arc<str>, Placement>,
    /// The uid under which the pod of a name is placed: a removed object has no uid any more.
    placed_uids: BTreeMap<ObjectKey, Arc<str>>,
    /// Where the next search begins, so that every node gets its turn.
    next_start: usize,
    queue: Queue,
    nominations: Nominations,
    /// Pods that are being evicted to make room, and since when, until that is seen.
    evicting: BTreeMap<Arc<str>, Timestamp>,
    /// Whether the last run left pods that could have been tried.
    backlog: bool,
    /// Groups at which the next clean-up is due.
    groups_max: usize,
}

impl Scheduler {
    /// A scheduler that knows of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { groups_max: GROUPS_MAX, ..Self::default() }
    }

    /// Takes in the whole snapshot: at the start, and when nodes come or go. Assumed pods stay.
    pub fn rebuild(&mut self, snapshot: &Snapshot) {
        self.recount(snapshot);
        self.queue.wake_all();
    }

    fn recount(&mut self, snapshot: &Snapshot) {
        self.cluster = Cluster::new(snapshot);
        let assumed = std::mem::take(&mut self.placements);
        self.placed_uids.clear();
        let placed = || snapshot.pods().values().filter(|pod| !pod.terminated());
        // While there are no pods to count.
        for pod in placed().filter(|pod| pod.node_name.is_some()) {
            self.cluster.learn_stances(pod);
        }
        for pod in placed() {
            if let Some(node) = pod.node_name.clone() {
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
        self.groups_max = GROUPS_MAX.max(self.cluster.groups().len().saturating_mul(2));
    }

    /// Takes in one change that `snapshot` already holds.
    pub fn update(&mut self, snapshot: &Snapshot, changed: &Changed) {
        let Some(id) = changed.id() else { return };
        if id.resource == Resource::NODES {
            self.update_node(snapshot, &id.key);
        } else if id.resource == Resource::PODS {
            self.update_pod_of(snapshot, id);
        } else if id.resource == Resource::NAMESPACES {
            let labels = snapshot.namespaces().get(&id.key).map(|it| it.meta.labels.clone());
            if self.cluster.set_namespace(&id.key.name, labels) {
                self.rebuild(snapshot);
            }
        } else {
            self.update_storage(snapshot, id);
        }
    }

    fn update_storage(&mut self, snapshot: &Snapshot, id: &ObjectId) {
        let storage = snapshot.storage();
        let event = if id.resource == Resource::PERSISTENT_VOLUME_CLAIMS {
            storage.claims.get(&id.key).map(|claim| ClusterEvent::Volumes { claim: Some(claim) })
        } else if id.resource == Resource::PERSISTENT_VOLUMES {
            let free = storage.volumes.get(&id.key).filter(|it| it.spec.claim_ref.is_none());
            free.map(|_| ClusterEvent::Volumes { claim: None })
        } else {
            (id.resource == Resource::STORAGE_CLASSES)
                .then_some(ClusterEvent::Volumes { claim: None })
        };
        if let Some(event) = event {
            self.queue.wake(&event, &self.cluster);
        }
    }

    fn update_node(&mut self, snapshot: &Snapshot, key: &ObjectKey) {
        let Some(node) = snapshot.nodes().get(key) else { return self.rebuild(snapshot) };
        let Some(index) = self.cluster.index_of(&key.name) else {
            self.recount(snapshot);
            return self.queue.wake(&ClusterEvent::NodeAdded(node), &self.cluster);
        };
        let old = self.cluster.node(index).map(|info| Arc::clone(&info.node));
        self.cluster.set_node(index, Arc::clone(node));
        if let Some(old) = old {
            let event = ClusterEvent::NodeChanged { old: &old, new: node, index };
            self.queue.wake(&event, &self.cluster);
        }
    }

    fn update_pod_of(&mut self, snapshot: &Snapshot, id: &ObjectId) {
        let earlier = self.placed_uids.get(&id.key).cloned();
        match snapshot.pods().get(&id.key) {
            Some(pod) => {
                // The same name with another uid: its predecessor's removal was not seen.
                if let Some(uid) = earlier.filter(|uid| *uid != pod.meta.uid) {
                    self.unplace(&uid);
                }
                self.update_pod(pod);
            }
            None => {
                if let Some(uid) = earlier {
                    self.unplace(&uid);
                }
            }
        }
    }

    fn update_pod(&mut self, pod: &Arc<PodView>) {
        let uid = &pod.meta.uid;
        match &pod.node_name {
            Some(node) if !pod.terminated() => {
                self.queue.remove(uid);
                self.nominations.remove(uid);
                let same = self
                    .placements
                    .get_mut(uid)
                    .filter(|present| present.node == *node && counts_the_same(&present.pod, pod));
                if let Some(present) = same {
                    present.assumed_at = None;
                    return;
                }
                // What became free is known only once the new version is counted.
                let before = self.take_out(uid);
                let (pod, node) = (Arc::clone(pod), Arc::clone(node));
                self.place(Placement { pod, node, assumed_at: None });
                if let Some((placement, node)) = before {
                    self.tell_gone(&placement, node);
                }
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
                self.queue.update(pod);
                if let Some(node) = &pod.nominated_node {
                    self.nominations.add(pod, node);
                }
            }
        }
    }

    /// Takes in that an eviction failed: who waits for it has to look again.
    pub fn not_evicted(&mut self, uid: &str) {
        if self.evicting.remove(uid).is_some() {
            self.queue.wake_all();
        }
    }

    /// Takes back an assumed place after its binding was refused.
    pub fn forget(&mut self, uid: &str) {
        if self.placements.get(uid).is_some_and(|placement| placement.assumed_at.is_some()) {
            self.unplace(uid);
        }
    }

    fn place(&mut self, placement: Placement) {
        if let Some(index) = self.cluster.index_of(&placement.node) {
            self.cluster.add(&placement.pod, index);
        }
        self.queue.wake(&ClusterEvent::PodPlaced(&placement.pod), &self.cluster);
        let uid = Arc::clone(&placement.pod.meta.uid);
        self.placed_uids.insert(key_of(&placement.pod), Arc::clone(&uid));
        self.placements.insert(uid, placement);
    }

    fn unplace(&mut self, uid: &str) {
        if let Some((placement, node)) = self.take_out(uid) {
            self.tell_gone(&placement, node);
        }
    }

    /// Counts a pod out; returns where it was.
    fn take_out(&mut self, uid: &str) -> Option<(Placement, Option<usize>)> {
        let placement = self.placements.remove(uid)?;
        self.placed_uids.remove(&key_of(&placement.pod));
        let node = self.cluster.index_of(&placement.node);
        if let Some(index) = node {
            self.cluster.remove(&placement.pod, index);
        }
        Some((placement, node))
    }

    fn tell_gone(&mut self, placement: &Placement, node: Option<usize>) {
        let event = ClusterEvent::PodGone { pod: &placement.pod, node };
        self.queue.wake(&event, &self.cluster);
    }

    /// Finds the best node for one pod.
    ///
    /// # Errors
    ///
    /// Returns [`Unschedulable`] with the count of every reason if no node fits, and the pods whose
    /// eviction would make room, if there are such.
    pub fn find_node(
        &mut self,
        snapshot: &Snapshot,
        pod: &PodView,
    ) -> Result<Arc<str>, (Unschedulable, Option<Victims>)> {
        let terms = self.cluster.learn(pod);
        let waits = self.waits_for_victims(pod);
        let mut decision = Decision::new(pod, &self.cluster, snapshot, &terms, &self.nominations);
        match decision.find_node(&mut self.next_start) {
            Ok(index) => {
                let node = self.cluster.node(index).map(|info| Arc::clone(&info.node.meta.name));
                Ok(node.unwrap_or_default())
            }
            Err(mut why) => {
                let found = if waits {
                    Err("not eligible due to a terminating pod on the nominated node.".to_owned())
                } else {
                    default_preemption::find_victims(&mut decision, self.next_start)
                };
                let victims = found.map_err(|text| why.preemption = Some(text)).ok();
                Err((why, victims))
            }
        }
    }

    /// Whether room is being made for a pod already.
    fn waits_for_victims(&self, pod: &PodView) -> bool {
        let node = self.nominations.node_of(&pod.meta.uid);
        let node = node.and_then(|node| self.cluster.node(self.cluster.index_of(node)?));
        node.is_some_and(|node| {
            node.pods().any(|other| {
                let going = other.meta.deleting() || self.evicting.contains_key(&other.meta.uid);
                other.priority < pod.priority && going
            })
        })
    }

    /// Places pods one after the other and assumes each on its node.
    pub fn schedule_batch(
        &mut self,
        snapshot: &Snapshot,
        pods: &[Arc<PodView>],
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for pod in pods {
            match self.find_node(snapshot, pod) {
                Ok(node) => {
                    if let Some(select) = volume_binding::prepare_claims(snapshot, pod, &node) {
                        // Its place is kept until its claims have their volumes there.
                        self.nominations.add(pod, &node);
                        self.queue.refuse(pod, vec![&VolumeBinding], now);
                        actions.extend(select);
                        continue;
                    }
                    self.queue.remove(&pod.meta.uid);
                    self.nominations.remove(&pod.meta.uid);
                    actions.extend(report::bind(snapshot, pod, &node));
                    self.place(Placement { pod: Arc::clone(pod), node, assumed_at: Some(now) });
                }
                Err((why, victims)) => self.refuse(pod, why, victims, now, &mut actions),
            }
        }
        actions
    }

    /// Notes that a pod found no node, has room made for it if that can be, and says so.
    fn refuse(
        &mut self,
        pod: &Arc<PodView>,
        why: Unschedulable,
        victims: Option<Victims>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let message = why.to_string();
        let waits = self.waits_for_victims(pod);
        self.queue.refuse(pod, why.refusers, now);
        let node = victims.as_ref().and_then(|victims| self.cluster.node(victims.node));
        let node = node.map(|info| Arc::clone(&info.node.meta.name));
        if let (Some(victims), Some(node)) = (victims, &node) {
            for victim in victims.pods {
                self.evicting.insert(Arc::clone(&victim.meta.uid), now);
                // One that is going already only has to be waited for.
                if !victim.meta.deleting() {
                    actions.extend(report::preempt(&victim, pod, node));
                }
            }
            for loser in self.nominations.behind(pod, node) {
                self.nominations.remove(&loser.meta.uid);
                self.queue.wake_one(&loser.meta.uid);
                actions.push(report::nominate(&loser, None, Vec::new()));
            }
            self.nominations.add(pod, node);
        } else if !waits {
            // What was hoped for will not come.
            self.nominations.remove(&pod.meta.uid);
        }
        let nominated = self.nominations.node_of(&pod.meta.uid).cloned();
        actions.extend(report::unschedulable(pod, message, nominated, now));
    }

    /// Decides on all pending pods of the snapshot, at most [`BATCH_MAX`] in one run, the more
    /// important and then the older ones first. [`Self::rebuild`] or [`Self::update`] must have
    /// taken in the same snapshot.
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<Action> {
        if !snapshot.synced {
            return Vec::new();
        }
        self.expire(now);
        if self.cluster.groups().len() > self.groups_max {
            self.recount(snapshot);
        }
        let uids: BTreeSet<&str> = snapshot.pending_pods().map(|pod| &*pod.meta.uid).collect();
        self.queue.retain(|uid| uids.contains(uid));
        self.nominations.retain(|uid| uids.contains(uid));
        let ours = |pod: &&Arc<PodView>| {
            !pod.meta.deleting() && matches!(&*pod.scheduler_name, "" | SCHEDULER_NAME)
        };
        let waiting = snapshot.pending_pods().filter(ours);
        let mut actions = Vec::new();
        let mut ready = Vec::new();
        for pod in waiting.filter(|pod| !self.placements.contains_key(&pod.meta.uid)) {
            if pod.gated {
                actions.extend(report::gated(pod, now));
            } else if self.queue.ready(&pod.meta.uid, now) {
                ready.push(Arc::clone(pod));
            }
        }
        ready.sort_by_key(|pod| {
            let created = pod.meta.creation_timestamp.unwrap_or_default();
            let name = (Arc::clone(&pod.meta.namespace), Arc::clone(&pod.meta.name));
            (std::cmp::Reverse(pod.priority), created, name)
        });
        self.backlog = ready.len() > BATCH_MAX;
        ready.truncate(BATCH_MAX);
        actions.extend(self.schedule_batch(snapshot, &ready, now));
        actions
    }

    /// When [`Self::reconcile`] has something to do although nothing changed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.backlog {
            return Some(Timestamp::default());
        }
        let assumed = self.placements.values().filter_map(|placement| placement.assumed_at);
        let expired = assumed.min().map(|at| Timestamp(at.0 + ASSUMED_MS));
        let evicted = self.evicting.values().min().map(|at| Timestamp(at.0 + ASSUMED_MS));
        expired.into_iter().chain(evicted).chain(self.queue.next_deadline()).min()
    }

    fn expire(&mut self, now: Timestamp) {
        let placements = &self.placements;
        self.evicting.retain(|uid, since| {
            let going = placements.get(uid).is_some_and(|it| !it.pod.meta.deleting());
            going && since.0 + ASSUMED_MS > now.0
        });
        let expired = self.placements.iter().filter(|(_, placement)| {
            placement.assumed_at.is_some_and(|at| at.0 + ASSUMED_MS <= now.0)
        });
        let expired: Vec<Arc<str>> = expired.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in expired {
            self.unplace(&uid);
        }
    }
}

/// Whether all that is counted of a placed pod is the same in two versions of it.
fn counts_the_same(old: &PodView, new: &PodView) -> bool {
    old.requests == new.requests
        && old.ports == new.ports
        && old.meta.labels == new.meta.labels
        && old.meta.deleting() == new.meta.deleting()
        && old.pod_affinity == new.pod_affinity
        && old.priority == new.priority
        && owner(old) == owner(new)
}

fn key_of(pod: &PodView) -> ObjectKey {
    let (namespace, name) = (Arc::clone(&pod.meta.namespace), Arc::clone(&pod.meta.name));
    ObjectKey { namespace, name }
}

#[cfg(test)]
mod tests;
