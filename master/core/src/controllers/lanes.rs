//! Lanes: each controller apart, on what changes made worth a look.
//!
//! ```text
//!  change --> keys that it concerns, before and after --> dirty keys of a lane --run--> actions
//!                                         full pass, deadline, failure ---^
//! ```
//! A lane's keys are the names of what its controller looks after. Which keys a change concerns is
//! asked before it, for what it takes away, and after it, for what it brings. It may name too many
//! keys, never too few; a full pass now and then is for what nobody thought of. Knows no time and
//! carries nothing out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Outcome, World, cron_job, daemon_set, deployment, disruption, endpoint_slice,
    endpoint_slice_mirroring, endpoints, garbage, job, namespace_basics, namespaces, node_identity,
    node_lifecycle, node_power, persistent_volume, replica_set, replication_controller,
    resource_quota, stateful_set, that_may_be,
};
use crate::action::Action;
use crate::membership::Contacts;
use crate::snapshot::{Changed, DecodeError, Objects, Snapshot, in_namespace};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// Actions after which a run ends; the rest of its keys stay dirty.
pub const ACTIONS_MAX: usize = 500;

/// A controller, with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Services, for their endpoint slices; moves traffic.
    EndpointSlices,
    /// Endpoints by name, for the slices that mirror them; moves traffic, too.
    MirroredSlices,
    /// Nodes by name, and the empty name for pods without one or that ended; moves traffic, too.
    NodeLifecycle,
    /// Services, for their Endpoints.
    Endpoints,
    /// One key for all nodes.
    NodeIdentity,
    /// One key for all nodes.
    NodePower,
    /// Replica sets.
    ReplicaSets,
    /// Replication controllers.
    ReplicationControllers,
    /// Deployments.
    Deployments,
    /// Disruption budgets.
    DisruptionBudgets,
    /// Claims, and volumes, whose keys have no namespace.
    PersistentVolumes,
    /// Quotas; only what a change concerns is counted anew, and everything now and then.
    ResourceQuotas,
    /// Namespaces, for what each of them has from its beginning.
    NamespaceBasics,
    /// Stateful sets.
    StatefulSets,
    /// Daemon sets.
    DaemonSets,
    /// Jobs by name, whether they exist or not.
    Jobs,
    /// Cron jobs.
    CronJobs,
    /// Namespaces, for those that go.
    Namespaces,
    /// Owners by uid, whether they exist or not.
    Garbage,
}

/// All lanes, those that move traffic first.
pub const LANES: [Lane; 19] = [
    Lane::EndpointSlices,
    Lane::MirroredSlices,
    Lane::NodeLifecycle,
    Lane::NodeIdentity,
    Lane::NodePower,
    Lane::Endpoints,
    Lane::ReplicaSets,
    Lane::ReplicationControllers,
    Lane::Deployments,
    Lane::DisruptionBudgets,
    Lane::NamespaceBasics,
    Lane::PersistentVolumes,
    Lane::ResourceQuotas,
    Lane::StatefulSets,
    Lane::DaemonSets,
    Lane::Jobs,
    Lane::CronJobs,
    Lane::Namespaces,
    Lane::Garbage,
];

impl Lane {
    /// Every key that there is something to look at for.
    fn keys(self, snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
        match self {
            Self::MirroredSlices => endpoint_slice_mirroring::keys(snapshot),
            Self::Endpoints => endpoints::keys(snapshot),
            Self::EndpointSlices => {
                let slices = snapshot.endpoint_slices().values();
                let served = slices.filter_map(|slice| endpoint_slice::service_of(slice));
                snapshot.services().keys().cloned().chain(served).collect()
            }
            Self::NodeLifecycle => {
                let named = snapshot.nodes_with_pods().map(|name| ObjectKey::new("", name));
                snapshot.nodes().keys().cloned().chain(named).chain([nameless()]).collect()
            }
            Self::NodeIdentity | Self::NodePower => [nameless()].into(),
            Self::ReplicaSets => snapshot.replica_sets().keys().cloned().collect(),
            Self::ReplicationControllers => {
                snapshot.workloads().replication_controllers.keys().cloned().collect()
            }
            Self::Deployments => snapshot.deployments().keys().cloned().collect(),
            Self::DisruptionBudgets => snapshot.disruption_budgets().keys().cloned().collect(),
            Self::PersistentVolumes => {
                let storage = snapshot.storage();
                storage.volumes.keys().chain(storage.claims.keys()).cloned().collect()
            }
            Self::ResourceQuotas => snapshot.keys_of(&Resource::RESOURCE_QUOTAS).cloned().collect(),
            Self::NamespaceBasics | Self::Namespaces => {
                snapshot.namespaces().keys().cloned().collect()
            }
            Self::StatefulSets => snapshot.workloads().stateful_sets.keys().cloned().collect(),
            Self::DaemonSets => snapshot.workloads().daemon_sets.keys().cloned().collect(),
            Self::Jobs => job::keys(snapshot),
            Self::CronJobs => snapshot.workloads().cron_jobs.keys().cloned().collect(),
            Self::Garbage => {
                let deleting = snapshot.metas().filter(|(_, meta)| meta.deleting());
                let deleting = deleting.map(|(_, meta)| &meta.uid);
                snapshot.owner_uids().chain(deleting).map(|uid| ObjectKey::new("", uid)).collect()
            }
        }
    }

    fn run(self, world: &World<'_>, key: &ObjectKey) -> Outcome {
        let World { snapshot, contacts, power, root_ca, now } = *world;
        match self {
            Self::EndpointSlices => endpoint_slice::reconcile_key(snapshot, contacts, key),
            Self::MirroredSlices => endpoint_slice_mirroring::reconcile_key(snapshot, key),
            Self::Endpoints => endpoints::reconcile_key(snapshot, contacts, key),
            Self::NodeLifecycle => node_lifecycle::reconcile_key(snapshot, contacts, key, now),
            Self::NodeIdentity => node_identity::reconcile(snapshot, contacts, now),
            Self::NodePower => node_power::reconcile(snapshot, power, now),
            Self::ReplicaSets => snapshot
                .replica_sets()
                .get(key)
                .map(|set| replica_set::reconcile_one(snapshot, set, now))
                .unwrap_or_default(),
            Self::Deployments => snapshot
                .deployments()
                .get(key)
                .map(|deployment| deployment::reconcile_one(snapshot, deployment, now))
                .unwrap_or_default(),
            Self::ReplicationControllers => {
                replication_controller::reconcile_key(snapshot, key, now)
            }
            Self::DisruptionBudgets => disruption::reconcile_key(snapshot, key, now),
            Self::PersistentVolumes => persistent_volume::reconcile_key(snapshot, key),
            Self::ResourceQuotas => resource_quota::reconcile_key(snapshot, key),
            Self::StatefulSets => stateful_set::reconcile_key(snapshot, key, now),
            Self::DaemonSets => daemon_set::reconcile_key(snapshot, key, now),
            Self::Jobs => job::reconcile_key(snapshot, key, now),
            Self::CronJobs => cron_job::reconcile_key(snapshot, key, now),
            Self::Namespaces => namespaces::reconcile_key(snapshot, key, now),
            Self::NamespaceBasics => namespace_basics::reconcile_key(snapshot, key, root_ca),
            Self::Garbage => garbage::reconcile_key(snapshot, &key.name),
        }
    }
}

/// What one lane still has to do.
#[derive(Clone, Debug, Default)]
struct Todo {
    everything: bool,
    dirty: BTreeSet<ObjectKey>,
    deadlines: BTreeMap<ObjectKey, Timestamp>,
}

/// What a run of a lane wants.
#[derive(Debug, Default)]
pub struct Run {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// The keys that asked for it: to be looked at again if it fails.
    pub keys: BTreeSet<ObjectKey>,
}

/// What all lanes still have to do.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    todo: BTreeMap<Lane, Todo>,
    contacts: Contacts,
}

impl Lanes {
    /// Takes one store entry into the snapshot, as [`Snapshot::apply`] does, and notes what has to
    /// be looked at for it.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::apply`].
    pub fn apply(
        &mut self,
        snapshot: &mut Snapshot,
        key: &str,
        value: Option<&[u8]>,
        mod_revision: u64,
    ) -> Result<Changed, DecodeError> {
        if let Some(id) = ObjectId::from_store_key(key) {
            self.note(snapshot, &id, value.is_none());
        }
        let changed = snapshot.apply(key, value, mod_revision)?;
        if let Some(id) = changed.id() {
            self.note(snapshot, id, false);
        }
        Ok(changed)
    }

    /// Notes that everything has to be looked at.
    pub fn note_everything(&mut self) {
        for lane in LANES {
            self.todo(lane).everything = true;
        }
    }

    /// Notes what has to be looked at because nodes came or went.
    pub fn note_contacts(&mut self, snapshot: &Snapshot, contacts: &Contacts) {
        let before = std::mem::replace(&mut self.contacts, contacts.clone());
        if before.may_replace != contacts.may_replace {
            self.todo(Lane::NodeLifecycle).everything = true;
        }
        let names: BTreeSet<&Arc<str>> = before.nodes.keys().chain(contacts.nodes.keys()).collect();
        for name in names {
            if before.nodes.get(name) != contacts.nodes.get(name) {
                self.note_node(snapshot, name);
            }
        }
        // They follow more of a heartbeat than this, and cost no more than a look at each node.
        self.dirty(Lane::NodeIdentity, nameless());
        self.dirty(Lane::NodePower, nameless());
    }

    /// Notes that keys have to be looked at again at some time, since what they asked for failed.
    pub fn note_failed(&mut self, lane: Lane, keys: BTreeSet<ObjectKey>, at: Timestamp) {
        let deadlines = &mut self.todo(lane).deadlines;
        for key in keys {
            let deadline = deadlines.entry(key).or_insert(at);
            *deadline = at.min(*deadline);
        }
    }

    /// Whether a lane has something to look at.
    #[must_use]
    pub fn pending(&self, lane: Lane, now: Timestamp) -> bool {
        self.todo.get(&lane).is_some_and(|todo| {
            todo.everything
                || !todo.dirty.is_empty()
                || todo.deadlines.values().any(|deadline| *deadline <= now)
        })
    }

    /// When some key has to be looked at although nothing changed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.todo.values().flat_map(|todo| todo.deadlines.values()).min().copied()
    }

    /// Looks at what is dirty in a lane.
    pub fn run(&mut self, lane: Lane, world: &World<'_>) -> Run {
        let mut run = Run::default();
        if !world.snapshot.synced {
            return run;
        }
        let todo = self.todo(lane);
        if std::mem::take(&mut todo.everything) {
            let keys = lane.keys(world.snapshot);
            // What is gone has no deadline any more.
            todo.deadlines.retain(|key, _| keys.contains(key));
            todo.dirty.extend(keys);
        }
        let due = todo.deadlines.iter().filter(|(_, deadline)| **deadline <= world.now);
        todo.dirty.extend(due.map(|(key, _)| key.clone()));
        while run.actions.len() < ACTIONS_MAX {
            let Some(key) = todo.dirty.pop_first() else { break };
            let mut outcome = lane.run(world, &key);
            outcome.actions = that_may_be(world.snapshot, outcome.actions);
            match outcome.next_deadline {
                Some(deadline) => drop(todo.deadlines.insert(key.clone(), deadline)),
                None => drop(todo.deadlines.remove(&key)),
            }
            if !outcome.actions.is_empty() {
                run.actions.extend(outcome.actions);
                run.keys.insert(key);
            }
        }
        run
    }

    fn todo(&mut self, lane: Lane) -> &mut Todo {
        self.todo.entry(lane).or_default()
    }

    fn dirty(&mut self, lane: Lane, key: ObjectKey) {
        self.todo(lane).dirty.insert(key);
    }

    /// Notes what looks at an object as the snapshot has it now.
    fn note(&mut self, snapshot: &Snapshot, id: &ObjectId, going: bool) {
        self.note_garbage(snapshot, id, going);
        for quota in resource_quota::concerned(snapshot, id, going) {
            self.dirty(Lane::ResourceQuotas, quota);
        }
        let namespace = ObjectKey::new("", &id.key.namespace);
        if snapshot.namespaces().get(&namespace).is_some_and(|it| it.meta.deleting()) {
            self.dirty(Lane::Namespaces, namespace.clone());
        }
        if namespace_basics::concerns(id) {
            self.dirty(Lane::NamespaceBasics, namespace);
        }
        let key = &id.key;
        if disruption::scales(&id.resource) {
            let budgets = snapshot.disruption_budgets();
            self.note_all(Lane::DisruptionBudgets, budgets, &key.namespace);
        }
        if id.resource == Resource::PODS {
            if let Some(pod) = snapshot.pods().get(key) {
                self.note_pod(snapshot, pod);
            }
        } else if id.resource == Resource::NODES {
            self.dirty(Lane::NodeIdentity, nameless());
            self.dirty(Lane::NodePower, nameless());
            self.note_node(snapshot, &key.name);
            let all = snapshot.workloads().daemon_sets.keys().cloned();
            self.todo(Lane::DaemonSets).dirty.extend(all);
        } else if id.resource == Resource::SERVICES {
            self.dirty(Lane::EndpointSlices, key.clone());
            self.dirty(Lane::MirroredSlices, key.clone());
            self.dirty(Lane::Endpoints, key.clone());
        } else if id.resource == Resource::ENDPOINTS {
            self.dirty(Lane::MirroredSlices, key.clone());
            self.dirty(Lane::Endpoints, key.clone());
        } else if id.resource == Resource::ENDPOINT_SLICES {
            let Some(slice) = snapshot.endpoint_slices().get(key) else { return };
            let services = endpoint_slice::service_of(slice);
            self.todo(Lane::EndpointSlices).dirty.extend(services);
            let mirrored = endpoint_slice_mirroring::service_of(slice);
            self.todo(Lane::MirroredSlices).dirty.extend(mirrored);
        } else if id.resource == Resource::REPLICA_SETS {
            self.dirty(Lane::ReplicaSets, key.clone());
            self.note_deployments_of(snapshot, key);
        } else if id.resource == Resource::DEPLOYMENTS {
            self.dirty(Lane::Deployments, key.clone());
        } else if id.resource == Resource::NAMESPACES {
            self.dirty(Lane::NamespaceBasics, key.clone());
            self.dirty(Lane::Namespaces, key.clone());
        } else if id.resource == Resource::PERSISTENT_VOLUME_CLAIMS {
            // Whose claim it is stands in its name, which may be read in several ways.
            self.note_all(Lane::StatefulSets, &snapshot.workloads().stateful_sets, &key.namespace);
            self.note_storage(snapshot, id);
        } else if id.resource == Resource::CONTROLLER_REVISIONS {
            self.note_dependent(snapshot, id);
        } else if id.resource == Resource::JOBS {
            self.dirty(Lane::Jobs, key.clone());
            self.note_dependent(snapshot, id);
        } else if let Some(lane) = lane_of(&id.resource) {
            self.dirty(lane, key.clone());
        } else {
            self.note_storage(snapshot, id);
        }
    }

    fn note_storage(&mut self, snapshot: &Snapshot, id: &ObjectId) {
        let storage = snapshot.storage();
        if id.resource == Resource::PERSISTENT_VOLUME_CLAIMS {
            self.dirty(Lane::PersistentVolumes, id.key.clone());
            let volume = storage.claims.get(&id.key).map(|claim| &claim.spec.volume_name);
            if let Some(name) = volume.filter(|name| !name.is_empty()) {
                self.dirty(Lane::PersistentVolumes, ObjectKey::new("", name));
            }
        } else if id.resource == Resource::PERSISTENT_VOLUMES {
            self.dirty(Lane::PersistentVolumes, id.key.clone());
            let volume = storage.volumes.get(&id.key);
            match volume.and_then(|volume| volume.spec.claim_ref.as_ref()) {
                Some(claim) => {
                    let key = key_of(&claim.namespace, &claim.name);
                    self.dirty(Lane::PersistentVolumes, key);
                }
                // Any of them may get it.
                None => self.note_unbound_claims(snapshot),
            }
        } else if id.resource == Resource::STORAGE_CLASSES {
            self.note_unbound_claims(snapshot);
        }
    }

    fn note_unbound_claims(&mut self, snapshot: &Snapshot) {
        let claims = snapshot.storage().claims.iter();
        for (key, _) in claims.filter(|(_, claim)| !claim.bound()) {
            self.dirty(Lane::PersistentVolumes, key.clone());
        }
    }

    /// Notes the workload that controls an object, or all that may adopt it.
    fn note_dependent(&mut self, snapshot: &Snapshot, id: &ObjectId) {
        let Some(meta) = snapshot.meta(id) else { return };
        if let Some(owner) = meta.controller() {
            let owner = snapshot.by_uid(&owner.uid);
            if let Some((lane, id)) = owner.and_then(|id| Some((lane_of(&id.resource)?, id))) {
                self.dirty(lane, id.key.clone());
            }
            return;
        }
        let (workloads, namespace) = (snapshot.workloads(), &meta.namespace);
        let controllers = &workloads.replication_controllers;
        self.note_all(Lane::ReplicationControllers, controllers, namespace);
        self.note_all(Lane::StatefulSets, &workloads.stateful_sets, namespace);
        self.note_all(Lane::DaemonSets, &workloads.daemon_sets, namespace);
        self.note_all(Lane::Jobs, &workloads.jobs, namespace);
    }

    fn note_all<T>(&mut self, lane: Lane, objects: &Objects<T>, namespace: &Arc<str>) {
        let first = ObjectKey { namespace: Arc::clone(namespace), name: "".into() };
        let here = objects.range(first..).take_while(|(key, _)| key.namespace == *namespace);
        self.todo(lane).dirty.extend(here.map(|(key, _)| key.clone()));
    }

    fn note_pod(&mut self, snapshot: &Snapshot, pod: &PodView) {
        for claim in &pod.claims {
            let key = key_of(&pod.meta.namespace, claim);
            if snapshot.storage().claims.get(&key).is_some_and(|claim| claim.meta.deleting()) {
                self.dirty(Lane::PersistentVolumes, key);
            }
        }
        let node = pod.node_name.as_deref().unwrap_or("");
        self.dirty(Lane::NodeLifecycle, ObjectKey::new("", node));
        if pod.terminated() {
            // There may be too many of them.
            self.dirty(Lane::NodeLifecycle, nameless());
        }
        self.note_services_of(snapshot, pod);
        for budget in snapshot.disruption_budgets_in(&pod.meta.namespace) {
            if budget.covers(&pod.meta.labels) {
                let key = key_of(&budget.meta.namespace, &budget.meta.name);
                self.dirty(Lane::DisruptionBudgets, key);
            }
        }
        let key = key_of(&pod.meta.namespace, &pod.meta.name);
        self.note_dependent(snapshot, &ObjectId { resource: Resource::PODS, key });
        self.todo(Lane::Jobs).dirty.extend(job::job_of(pod));
        match pod.meta.controller() {
            Some(owner) => {
                let owner = snapshot.by_uid(&owner.uid);
                if let Some(set) = owner.filter(|id| id.resource == Resource::REPLICA_SETS) {
                    let key = set.key.clone();
                    self.note_deployments_of(snapshot, &key);
                    self.dirty(Lane::ReplicaSets, key);
                }
            }
            // Any of them may take it.
            None => {
                for set in in_namespace(snapshot.replica_sets(), &pod.meta.namespace) {
                    self.dirty(Lane::ReplicaSets, key_of(&set.meta.namespace, &set.meta.name));
                }
            }
        }
    }

    fn note_services_of(&mut self, snapshot: &Snapshot, pod: &PodView) {
        for service in in_namespace(snapshot.services(), &pod.meta.namespace) {
            if pod.meta.labels.contains_all(&service.spec.selector) {
                let key = key_of(&service.meta.namespace, &service.meta.name);
                self.dirty(Lane::EndpointSlices, key.clone());
                self.dirty(Lane::Endpoints, key);
            }
        }
    }

    fn note_node(&mut self, snapshot: &Snapshot, name: &Arc<str>) {
        self.dirty(Lane::NodeLifecycle, ObjectKey { namespace: "".into(), name: Arc::clone(name) });
        // One that was chosen for a claim may be gone.
        if snapshot.node(name).is_none() {
            self.note_unbound_claims(snapshot);
        }
        for pod in snapshot.pods_on(name) {
            self.note_services_of(snapshot, pod);
        }
    }

    fn note_deployments_of(&mut self, snapshot: &Snapshot, set: &ObjectKey) {
        let Some(set) = snapshot.replica_sets().get(set) else { return };
        match set.meta.controller() {
            Some(owner) => {
                let owner = snapshot.by_uid(&owner.uid);
                if let Some(id) = owner.filter(|id| id.resource == Resource::DEPLOYMENTS) {
                    self.dirty(Lane::Deployments, id.key.clone());
                }
            }
            // Any of them may take it.
            None => {
                for deployment in in_namespace(snapshot.deployments(), &set.meta.namespace) {
                    let meta = &deployment.meta;
                    self.dirty(Lane::Deployments, key_of(&meta.namespace, &meta.name));
                }
            }
        }
    }

    fn note_garbage(&mut self, snapshot: &Snapshot, id: &ObjectId, going: bool) {
        let Some(meta) = snapshot.meta(id) else { return };
        let mut uids = vec![Arc::clone(&meta.uid)];
        uids.extend(meta.owner_references.iter().map(|owner| Arc::clone(&owner.uid)));
        if going || meta.deleting() {
            // Whether its dependents stay decides for their other owners, too.
            for dependent in snapshot.dependents(&meta.uid) {
                let owners = snapshot.meta(dependent).map(|meta| meta.owner_references.as_slice());
                let owners = owners.unwrap_or_default().iter();
                uids.extend(owners.map(|owner| Arc::clone(&owner.uid)));
            }
        }
        for name in uids {
            self.dirty(Lane::Garbage, ObjectKey { namespace: "".into(), name });
        }
    }
}

/// The lane of what is looked after by its own name alone: workloads that have pods, jobs or
/// revisions of their own, and budgets.
fn lane_of(resource: &Resource) -> Option<Lane> {
    let lanes = [
        (Resource::STATEFUL_SETS, Lane::StatefulSets),
        (Resource::DAEMON_SETS, Lane::DaemonSets),
        (Resource::JOBS, Lane::Jobs),
        (Resource::CRON_JOBS, Lane::CronJobs),
        (Resource::REPLICATION_CONTROLLERS, Lane::ReplicationControllers),
        (Resource::POD_DISRUPTION_BUDGETS, Lane::DisruptionBudgets),
    ];
    lanes.into_iter().find(|(of, _)| of == resource).map(|(_, lane)| lane)
}

fn nameless() -> ObjectKey {
    ObjectKey::new("", "")
}

fn key_of(namespace: &Arc<str>, name: &Arc<str>) -> ObjectKey {
    ObjectKey { namespace: Arc::clone(namespace), name: Arc::clone(name) }
}
