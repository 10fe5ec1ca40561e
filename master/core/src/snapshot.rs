//! The cache that scheduler and controllers decide on: views of all objects, with indexes.
//!
//! It is fed with store entries in revision order. It knows nothing of the API's handlers or of
//! watches; whoever feeds it says when it is complete.

mod storage;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::view::controller_revision::ControllerRevisionView;
use crate::view::deployment::DeploymentView;
use crate::view::endpoint_slice::EndpointSliceView;
use crate::view::job::JobView;
use crate::view::meta::{Meta, ObjectView};
use crate::view::namespace::NamespaceView;
use crate::view::node::NodeView;
use crate::view::pod::PodView;
use crate::view::pod_disruption_budget::BudgetView;
use crate::view::replica_set::ReplicaSetView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::root_ca::{self, RootCaView};
use crate::view::service::ServiceView;

pub use storage::Storage;
pub use workloads::Workloads;

/// Why a store entry could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The key is not that of an object.
    #[error("`{key}` is not the store key of an object")]
    Key {
        /// The key.
        key: String,
    },
    /// The value is not an object of its resource.
    #[error("could not decode the object at `{key}`")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// An object is new.
    Added(ObjectId),
    /// An object has a new revision.
    Modified(ObjectId),
    /// An object is gone.
    Removed(ObjectId),
    /// The entry was older than what is known, or removed what was unknown.
    Nothing,
}

impl Changed {
    /// The object that changed.
    #[must_use]
    pub const fn id(&self) -> Option<&ObjectId> {
        match self {
            Self::Added(id) | Self::Modified(id) | Self::Removed(id) => Some(id),
            Self::Nothing => None,
        }
    }
}

/// Objects of one resource.
pub type Objects<T> = BTreeMap<ObjectKey, Arc<T>>;

/// Everything that is known of the cluster at one revision.
///
/// Cloning is cheap enough for a run of a controller beside the feeder: objects are shared.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether every resource was listed once. Controllers do nothing before.
    pub synced: bool,
    /// The newest revision taken in.
    pub revision: u64,
    pods: Objects<PodView>,
    nodes: Objects<NodeView>,
    replica_sets: Objects<ReplicaSetView>,
    deployments: Objects<DeploymentView>,
    services: Objects<ServiceView>,
    endpoint_slices: Objects<EndpointSliceView>,
    namespaces: Objects<NamespaceView>,
    budgets: Objects<BudgetView>,
    storage: Storage,
    workloads: Workloads,
    others: BTreeMap<Resource, Objects<ObjectView>>,
    /// What the config maps with the CA's certificate hold, by namespace.
    root_cas: BTreeMap<Arc<str>, Arc<RootCaView>>,
    /// Objects of resources with a view that this build cannot read, and why. Garbage collection
    /// and namespaces see them all the same.
    unreadable: BTreeMap<ObjectId, (Arc<ObjectView>, Arc<str>)>,
    ids_by_uid: BTreeMap<Arc<str>, ObjectId>,
    dependents_by_owner: BTreeMap<Arc<str>, BTreeSet<ObjectId>>,
    pods_by_node: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
    pending_pods: BTreeSet<ObjectKey>,
}

impl Snapshot {
    /// An empty snapshot that is not synced.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one store entry: a value, or `None` for a deletion. Entries older than what is
    /// known of that object change nothing.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] if key or value are not those of an object; then nothing changed.
    /// An object of which only the metadata, or the name alone, can be read is taken in as that;
    /// see [`Snapshot::unreadable`].
    pub fn apply(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
        mod_revision: u64,
    ) -> Result<Changed, DecodeError> {
        let id = ObjectId::from_store_key(key)
            .ok_or_else(|| DecodeError::Key { key: key.to_owned() })?;
        let known = self.meta(&id).map(|meta| meta.resource_version);
        if known.is_some_and(|known| known >= mod_revision) {
            return Ok(Changed::Nothing);
        }
        let Some(value) = value else {
            self.revision = self.revision.max(mod_revision);
            let removed = known.is_some();
            self.remove(&id);
            return Ok(if removed { Changed::Removed(id) } else { Changed::Nothing });
        };
        if let Err(error) = self.insert(&id, value, mod_revision) {
            let failed = |source| DecodeError::Value { key: key.to_owned(), source };
            self.insert_unreadable(&id, value, mod_revision, &error).map_err(failed)?;
        }
        self.revision = self.revision.max(mod_revision);
        Ok(if known.is_some() { Changed::Modified(id) } else { Changed::Added(id) })
    }

    /// Why an object cannot be read, if it cannot.
    #[must_use]
    pub fn unreadable(&self, id: &ObjectId) -> Option<&str> {
        self.unreadable.get(id).map(|(_, reason)| &**reason)
    }

    /// All pods.
    #[must_use]
    pub const fn pods(&self) -> &Objects<PodView> {
        &self.pods
    }

    /// All nodes; their keys have no namespace.
    #[must_use]
    pub const fn nodes(&self) -> &Objects<NodeView> {
        &self.nodes
    }

    /// All replica sets.
    #[must_use]
    pub const fn replica_sets(&self) -> &Objects<ReplicaSetView> {
        &self.replica_sets
    }

    /// All deployments.
    #[must_use]
    pub const fn deployments(&self) -> &Objects<DeploymentView> {
        &self.deployments
    }

    /// All services.
    #[must_use]
    pub const fn services(&self) -> &Objects<ServiceView> {
        &self.services
    }

    /// All endpoint slices.
    #[must_use]
    pub const fn endpoint_slices(&self) -> &Objects<EndpointSliceView> {
        &self.endpoint_slices
    }

    /// All namespaces; their keys have no namespace.
    #[must_use]
    pub const fn namespaces(&self) -> &Objects<NamespaceView> {
        &self.namespaces
    }

    /// The objects of a namespace and a resource that has no view of its own.
    pub fn others_in(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<ObjectView>> {
        let objects = self.others.get(resource).into_iter();
        objects.flat_map(move |objects| in_namespace(objects, namespace))
    }

    /// The keys of the objects of a resource that has no view of its own.
    pub fn keys_of(&self, resource: &Resource) -> impl Iterator<Item = &ObjectKey> {
        self.others.get(resource).into_iter().flat_map(BTreeMap::keys)
    }

    /// Volumes, claims and classes.
    #[must_use]
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// All disruption budgets.
    #[must_use]
    pub const fn disruption_budgets(&self) -> &Objects<BudgetView> {
        &self.budgets
    }

    /// The disruption budgets of a namespace, by name.
    pub fn disruption_budgets_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<BudgetView>> {
        in_namespace(&self.budgets, namespace)
    }

    /// What a namespace's config map with the CA's certificate holds.
    #[must_use]
    pub fn root_ca(&self, namespace: &str) -> Option<&RootCaView> {
        self.root_cas.get(namespace).map(|present| &**present)
    }

    /// The workloads that are not asked for by name here.
    #[must_use]
    pub const fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeView>> {
        self.nodes.get(&ObjectKey::new("", name))
    }

    /// The pods of a namespace, by name.
    pub fn pods_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<PodView>> {
        in_namespace(&self.pods, namespace)
    }

    /// The pods bound to a node, by namespace and name.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<PodView>> {
        let keys = self.pods_by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key))
    }

    /// Names of nodes that pods are bound to, whether or not those nodes still exist.
    pub fn nodes_with_pods(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pods_by_node.keys()
    }

    /// Pods without a node that have not ended.
    pub fn pending_pods(&self) -> impl Iterator<Item = &Arc<PodView>> {
        self.pending_pods.iter().filter_map(|key| self.pods.get(key))
    }

    /// The pods whose managing controller has this uid.
    pub fn pods_controlled_by(&self, uid: &str) -> impl Iterator<Item = &Arc<PodView>> {
        self.dependents(uid)
            .filter(|id| id.resource == Resource::PODS)
            .filter_map(|id| self.pods.get(&id.key))
            .filter(|pod| controlled_by(&pod.meta, uid))
    }

    /// The replica sets whose managing controller has this uid.
    pub fn replica_sets_controlled_by(
        &self,
        uid: &str,
    ) -> impl Iterator<Item = &Arc<ReplicaSetView>> {
        self.dependents(uid)
            .filter(|id| id.resource == Resource::REPLICA_SETS)
            .filter_map(|id| self.replica_sets.get(&id.key))
            .filter(|set| controlled_by(&set.meta, uid))
    }

    /// The revisions whose managing controller has this uid.
    pub fn revisions_controlled_by(
        &self,
        uid: &str,
    ) -> impl Iterator<Item = &Arc<ControllerRevisionView>> {
        self.dependents(uid)
            .filter(|id| id.resource == Resource::CONTROLLER_REVISIONS)
            .filter_map(|id| self.workloads.controller_revisions.get(&id.key))
            .filter(|revision| controlled_by(&revision.meta, uid))
    }

    /// The jobs whose managing controller has this uid.
    pub fn jobs_controlled_by(&self, uid: &str) -> impl Iterator<Item = &Arc<JobView>> {
        self.dependents(uid)
            .filter(|id| id.resource == Resource::JOBS)
            .filter_map(|id| self.workloads.jobs.get(&id.key))
            .filter(|job| controlled_by(&job.meta, uid))
    }

    /// Everything that names this uid among its owners.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &ObjectId> {
        self.dependents_by_owner.get(uid).into_iter().flatten()
    }

    /// Uids that are named as an owner, whether or not the owner still exists.
    pub fn owner_uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.dependents_by_owner.keys()
    }

    /// The object with this uid.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<&ObjectId> {
        self.ids_by_uid.get(uid)
    }

    /// The metadata of any object.
    #[must_use]
    pub fn meta(&self, id: &ObjectId) -> Option<&Meta> {
        if let Some((object, _)) = self.unreadable.get(id) {
            return Some(&object.metadata);
        }
        let key = &id.key;
        match Kind::of(&id.resource) {
            Kind::Pod => self.pods.get(key).map(|object| &object.meta),
            Kind::Node => self.nodes.get(key).map(|object| &object.meta),
            Kind::ReplicaSet => self.replica_sets.get(key).map(|object| &object.meta),
            Kind::Deployment => self.deployments.get(key).map(|object| &object.meta),
            Kind::Service => self.services.get(key).map(|object| &object.meta),
            Kind::EndpointSlice => self.endpoint_slices.get(key).map(|object| &object.meta),
            Kind::Namespace => self.namespaces.get(key).map(|object| &object.meta),
            Kind::Budget => self.budgets.get(key).map(|object| &object.meta),
            Kind::Storage => self.storage.meta(id),
            Kind::Workload => self.workloads.meta(id),
            Kind::Other => self.others.get(&id.resource)?.get(key).map(|object| &object.metadata),
        }
    }

    /// The metadata of all objects, by resource and key.
    pub fn metas(&self) -> impl Iterator<Item = (&Resource, &Meta)> {
        let others = self.others.iter().flat_map(|(resource, objects)| {
            objects.values().map(move |object| (resource, &object.metadata))
        });
        let unreadable =
            self.unreadable.iter().map(|(id, (object, _))| (&id.resource, &object.metadata));
        let pods = self.pods.values().map(|object| (&PODS, &object.meta));
        let nodes = self.nodes.values().map(|object| (&NODES, &object.meta));
        let sets = self.replica_sets.values().map(|object| (&REPLICA_SETS, &object.meta));
        let deployments = self.deployments.values().map(|object| (&DEPLOYMENTS, &object.meta));
        let services = self.services.values().map(|object| (&SERVICES, &object.meta));
        let slices = self.endpoint_slices.values().map(|object| (&SLICES, &object.meta));
        let namespaces = self.namespaces.values().map(|object| (&NAMESPACES, &object.meta));
        let budgets = self.budgets.values().map(|object| (&BUDGETS, &object.meta));
        pods.chain(nodes)
            .chain(sets)
            .chain(deployments)
            .chain(services)
            .chain(slices)
            .chain(namespaces)
            .chain(budgets)
            .chain(self.storage.metas())
            .chain(self.workloads.metas())
            .chain(others)
            .chain(unreadable)
    }

    /// Takes in what can be read of an object: its metadata, or else its name alone.
    fn insert_unreadable(
        &mut self,
        id: &ObjectId,
        value: &[u8],
        revision: u64,
        reason: &serde_json::Error,
    ) -> serde_json::Result<()> {
        let json: serde_json::Value = serde_json::from_slice(value)?;
        let mut view: ObjectView = serde_json::from_value(json).unwrap_or_default();
        view.metadata.resource_version = revision;
        view.metadata.namespace = Arc::clone(&id.key.namespace);
        view.metadata.name = Arc::clone(&id.key.name);
        self.remove(id);
        let reason = Arc::from(reason.to_string());
        self.unreadable.insert(id.clone(), (Arc::new(view), reason));
        self.index(id);
        Ok(())
    }

    fn insert(&mut self, id: &ObjectId, value: &[u8], revision: u64) -> serde_json::Result<()> {
        let key = id.key.clone();
        match Kind::of(&id.resource) {
            Kind::Pod => {
                let pod = decode::<PodView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                match &pod.node_name {
                    Some(node) => {
                        let node = self.intern_node(node);
                        self.pods_by_node.entry(node).or_default().insert(key.clone());
                    }
                    None if !pod.terminated() => {
                        self.pending_pods.insert(key.clone());
                    }
                    None => {}
                }
                self.pods.insert(key, pod);
            }
            Kind::Node => {
                let view = decode::<NodeView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.nodes.insert(key, view);
            }
            Kind::ReplicaSet => {
                let view = decode::<ReplicaSetView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.replica_sets.insert(key, view);
            }
            Kind::Deployment => {
                let view = decode::<DeploymentView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.deployments.insert(key, view);
            }
            Kind::Service => {
                let view = decode::<ServiceView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.services.insert(key, view);
            }
            Kind::EndpointSlice => {
                let view = decode::<EndpointSliceView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.endpoint_slices.insert(key, view);
            }
            Kind::Namespace => {
                let view = decode::<NamespaceView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.namespaces.insert(key, view);
            }
            Kind::Budget => {
                let view = decode::<BudgetView>(value, id, revision, |view| &mut view.meta)?;
                self.unindex(id);
                self.budgets.insert(key, view);
            }
            Kind::Storage => {
                let decoded = Storage::decode(id, value, revision)?;
                self.unindex(id);
                self.storage.insert(id, decoded);
            }
            Kind::Workload => {
                let decoded = Workloads::decode(id, value, revision)?;
                self.unindex(id);
                if let Some(decoded) = decoded {
                    self.workloads.insert(key, decoded);
                }
            }
            Kind::Other => {
                let view = decode::<ObjectView>(value, id, revision, |view| &mut view.metadata)?;
                let content = read_root_ca(id, value)?;
                self.unindex(id);
                if let Some(content) = content {
                    self.insert_root_ca(&id.key.namespace, content);
                }
                self.others.entry(id.resource.clone()).or_default().insert(key, view);
            }
        }
        self.index(id);
        Ok(())
    }

    fn remove(&mut self, id: &ObjectId) {
        self.unindex(id);
        let key = &id.key;
        match Kind::of(&id.resource) {
            Kind::Pod => drop(self.pods.remove(key)),
            Kind::Node => drop(self.nodes.remove(key)),
            Kind::ReplicaSet => drop(self.replica_sets.remove(key)),
            Kind::Deployment => drop(self.deployments.remove(key)),
            Kind::Service => drop(self.services.remove(key)),
            Kind::EndpointSlice => drop(self.endpoint_slices.remove(key)),
            Kind::Namespace => drop(self.namespaces.remove(key)),
            Kind::Budget => drop(self.budgets.remove(key)),
            Kind::Storage => self.storage.remove(id),
            Kind::Workload => self.workloads.remove(id),
            Kind::Other => {
                if let Some(objects) = self.others.get_mut(&id.resource) {
                    objects.remove(key);
                    if objects.is_empty() {
                        self.others.remove(&id.resource);
                    }
                }
            }
        }
    }

    /// Nearly always they are all the same, and share one text.
    fn insert_root_ca(&mut self, namespace: &Arc<str>, view: RootCaView) {
        let same = self.root_cas.values().next().filter(|present| ***present == view);
        let view = same.map_or_else(|| Arc::new(view), Arc::clone);
        self.root_cas.insert(Arc::clone(namespace), view);
    }

    /// Shares the string of a node's name with the index.
    fn intern_node(&self, node: &Arc<str>) -> Arc<str> {
        self.pods_by_node
            .get_key_value(node)
            .map_or_else(|| Arc::clone(node), |(key, _)| Arc::clone(key))
    }

    fn index(&mut self, id: &ObjectId) {
        let Some(meta) = self.meta(id) else { return };
        let uid = Arc::clone(&meta.uid);
        let owners: Vec<Arc<str>> =
            meta.owner_references.iter().map(|owner| Arc::clone(&owner.uid)).collect();
        if !uid.is_empty() {
            self.ids_by_uid.insert(uid, id.clone());
        }
        for owner in owners {
            self.dependents_by_owner.entry(owner).or_default().insert(id.clone());
        }
    }

    /// Forgets what the indexes hold of the present version of an object, and that it could not be
    /// read.
    fn unindex(&mut self, id: &ObjectId) {
        self.unindex_present(id);
        self.unreadable.remove(id);
    }

    fn unindex_present(&mut self, id: &ObjectId) {
        let Some(meta) = self.meta(id) else { return };
        let uid = Arc::clone(&meta.uid);
        let owners: Vec<Arc<str>> =
            meta.owner_references.iter().map(|owner| Arc::clone(&owner.uid)).collect();
        self.ids_by_uid.remove(&uid);
        for owner in owners {
            remove_from(&mut self.dependents_by_owner, &owner, id);
        }
        if is_root_ca(id) {
            self.root_cas.remove(&id.key.namespace);
        }
        if id.resource == Resource::PODS {
            self.pending_pods.remove(&id.key);
            let node = self.pods.get(&id.key).and_then(|pod| pod.node_name.clone());
            if let Some(node) = node {
                remove_from(&mut self.pods_by_node, &node, &id.key);
            }
        }
    }
}

fn is_root_ca(id: &ObjectId) -> bool {
    id.resource == Resource::CONFIG_MAPS && &*id.key.name == root_ca::NAME
}

fn read_root_ca(id: &ObjectId, value: &[u8]) -> serde_json::Result<Option<RootCaView>> {
    is_root_ca(id).then(|| serde_json::from_slice(value)).transpose()
}

static PODS: Resource = Resource::PODS;
static NODES: Resource = Resource::NODES;
static SERVICES: Resource = Resource::SERVICES;
static NAMESPACES: Resource = Resource::NAMESPACES;
static REPLICA_SETS: Resource = Resource::REPLICA_SETS;
static DEPLOYMENTS: Resource = Resource::DEPLOYMENTS;
static BUDGETS: Resource = Resource::POD_DISRUPTION_BUDGETS;
static SLICES: Resource = Resource::ENDPOINT_SLICES;

/// The resources that have a view of their own.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Pod,
    Node,
    ReplicaSet,
    Deployment,
    Service,
    EndpointSlice,
    Namespace,
    Budget,
    Storage,
    Workload,
    Other,
}

impl Kind {
    fn of(resource: &Resource) -> Self {
        match (&*resource.group, &*resource.plural) {
            ("", "pods") => Self::Pod,
            ("", "nodes") => Self::Node,
            ("", "services") => Self::Service,
            ("", "namespaces") => Self::Namespace,
            ("apps", "replicasets") => Self::ReplicaSet,
            ("apps", "deployments") => Self::Deployment,
            ("discovery.k8s.io", "endpointslices") => Self::EndpointSlice,
            ("policy", "poddisruptionbudgets") => Self::Budget,
            _ if Storage::holds(resource) => Self::Storage,
            _ if Workloads::hold(resource) => Self::Workload,
            _ => Self::Other,
        }
    }
}

/// Reads an object as a view, with what its key says.
fn decode<T: DeserializeOwned>(
    value: &[u8],
    id: &ObjectId,
    revision: u64,
    meta: fn(&mut T) -> &mut Meta,
) -> serde_json::Result<Arc<T>> {
    let mut view: T = serde_json::from_slice(value)?;
    let meta = meta(&mut view);
    meta.resource_version = revision;
    // The key is the truth, and sharing its strings saves two allocations per object.
    meta.namespace = Arc::clone(&id.key.namespace);
    meta.name = Arc::clone(&id.key.name);
    Ok(Arc::new(view))
}

/// The objects of one namespace, by name.
pub(crate) fn in_namespace<'a, T>(
    objects: &'a Objects<T>,
    namespace: &str,
) -> impl Iterator<Item = &'a Arc<T>> {
    let namespace: Arc<str> = Arc::from(namespace);
    let first = ObjectKey { namespace: Arc::clone(&namespace), name: Arc::from("") };
    objects.range(first..).take_while(move |(key, _)| key.namespace == namespace).map(|(_, it)| it)
}

fn controlled_by(meta: &Meta, uid: &str) -> bool {
    meta.controller().is_some_and(|owner| &*owner.uid == uid)
}

/// Removes one entry of an index, and the set with its last entry.
fn remove_from<T: Ord>(index: &mut BTreeMap<Arc<str>, BTreeSet<T>>, key: &Arc<str>, entry: &T) {
    if let Some(entries) = index.get_mut(key) {
        entries.remove(entry);
        if entries.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn apply(snapshot: &mut Snapshot, key: &str, value: &Value, revision: u64) -> Changed {
        let bytes = serde_json::to_vec(value).unwrap();
        snapshot.apply(key, Some(&bytes), revision).unwrap()
    }

    fn pod(node: Option<&str>, owner: Option<&str>) -> Value {
        let owners = owner.map(|uid| {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": uid, "controller": true})
        });
        json!({
            "metadata": {"name": "a", "namespace": "d", "uid": "u1", "ownerReferences": owners.as_slice()},
            "spec": {"nodeName": node, "containers": []},
        })
    }

    #[test]
    fn indexes_follow_an_object_from_creation_to_removal() {
        let mut snapshot = Snapshot::new();
        let key = "/core/pods/d/a";
        let added = apply(&mut snapshot, key, &pod(None, None), 1);
        assert!(matches!(added, Changed::Added(_)));
        assert_eq!(snapshot.pending_pods().count(), 1);

        let modified = apply(&mut snapshot, key, &pod(Some("n1"), Some("set")), 2);
        assert!(matches!(modified, Changed::Modified(_)));
        assert_eq!(snapshot.pending_pods().count(), 0);
        assert_eq!(snapshot.pods_on("n1").count(), 1);
        assert_eq!(snapshot.pods_controlled_by("set").count(), 1);
        assert_eq!(snapshot.pods_in("d").count(), 1);
        assert!(snapshot.by_uid("u1").is_some());

        let removed = snapshot.apply(key, None, 3).unwrap();
        assert!(matches!(removed, Changed::Removed(_)));
        assert_eq!(snapshot.pods_on("n1").count(), 0);
        assert_eq!(snapshot.nodes_with_pods().count(), 0);
        assert_eq!(snapshot.owner_uids().count(), 0);
        assert_eq!(snapshot.by_uid("u1"), None);
    }

    #[test]
    fn an_older_entry_changes_nothing() {
        let mut snapshot = Snapshot::new();
        apply(&mut snapshot, "/core/pods/d/a", &pod(Some("n2"), None), 5);
        let changed = apply(&mut snapshot, "/core/pods/d/a", &pod(Some("n1"), None), 4);
        assert_eq!(changed, Changed::Nothing);
        assert_eq!(snapshot.pods_on("n2").count(), 1);
    }

    #[test]
    fn what_is_no_json_is_refused_and_keeps_the_old_one() {
        let mut snapshot = Snapshot::new();
        apply(&mut snapshot, "/core/pods/d/a", &pod(Some("n1"), None), 1);
        snapshot.apply("/core/pods/d/a", Some(b"{\"spec\":"), 2).unwrap_err();
        assert_eq!(snapshot.pods_on("n1").count(), 1);
    }

    #[test]
    fn unreadable_object_is_seen_by_name_owner_and_namespace() {
        let mut snapshot = Snapshot::new();
        let key = "/core/pods/d/a";
        let id = ObjectId::from_store_key(key).unwrap();
        apply(&mut snapshot, key, &pod(Some("n1"), None), 1);
        let mut odd = pod(Some("n1"), Some("set"));
        odd["spec"] = json!("odd");
        assert!(matches!(apply(&mut snapshot, key, &odd, 2), Changed::Modified(_)));
        assert!(snapshot.unreadable(&id).is_some());
        assert_eq!(snapshot.pods().len() + snapshot.pods_on("n1").count(), 0);
        assert_eq!(snapshot.metas().count(), 1);
        assert_eq!(snapshot.dependents("set").count(), 1);
        assert_eq!(snapshot.by_uid("u1"), Some(&id));
        // Metadata that makes no sense leaves the name.
        apply(&mut snapshot, key, &json!({"metadata": "odd"}), 3);
        assert_eq!(snapshot.meta(&id).map(|meta| &*meta.name), Some("a"));
        assert_eq!(snapshot.dependents("set").count(), 0);
        // Once it can be read it is one like all others.
        apply(&mut snapshot, key, &pod(Some("n1"), None), 4);
        assert_eq!((snapshot.unreadable(&id), snapshot.pods_on("n1").count()), (None, 1));
        assert_eq!(snapshot.metas().count(), 1);
        apply(&mut snapshot, key, &odd, 5);
        snapshot.apply(key, None, 6).unwrap();
        assert_eq!((snapshot.metas().count(), snapshot.owner_uids().count()), (0, 0));
    }

    #[test]
    fn objects_of_unknown_resources_keep_their_metadata() {
        let mut snapshot = Snapshot::new();
        let value = json!({"metadata": {"name": "x", "uid": "u"}, "data": {"a": "b"}});
        apply(&mut snapshot, "/core/configmaps/d/x", &value, 1);
        assert_eq!(snapshot.metas().count(), 1);
        snapshot.apply("/core/configmaps/d/x", None, 2).unwrap();
        assert_eq!(snapshot.metas().count(), 0);
    }
}
