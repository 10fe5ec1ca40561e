//! What every node needs, kept ready to be sent: pods by node, Services with their endpoints,
//! ConfigMaps and Secrets, peers.
//!
//! Fed with store entries by the control loop; sessions compare it with what they sent. What
//! did not change in meaning keeps its `Arc`, so that a comparison is one of pointers, and a
//! change of a pod's status sends nothing to its node. Knows nothing of sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use bramble_process::panics;
use bramble_shared::ids::NodeId;
use bramble_shared::link::{Data, DataKey, DataKind, Ipv4Range, Peer, Pod, Service};
use bramble_store::KeyValue;
use serde_json::Value;
use tokio::sync::watch;

use super::claims::Claims;
use super::field::Field;
use super::pod::{self, ConvertPodError};
use super::service::{self, SERVICE_NAME_LABEL};
use super::{NODE_ID_ANNOTATION, data};

const PODS: &str = "/core/pods/";
const CLAIMS: &str = "/core/persistentvolumeclaims/";
const VOLUMES: &str = "/core/persistentvolumes/_/";
const CONFIG_MAPS: &str = "/core/configmaps/";
const SECRETS: &str = "/core/secrets/";
const SERVICES: &str = "/core/services/";
const SLICES: &str = "/discovery.k8s.io/endpointslices/";
const NODES: &str = "/core/nodes/_/";

/// Namespace and name.
pub(super) type Name = (String, String);

/// Desired state of all nodes, shared by control loop and sessions.
#[derive(Debug)]
pub(crate) struct Desired {
    world: Mutex<World>,
    /// Revision of what can be read; 0 until everything was taken in once.
    revision: watch::Sender<u64>,
}

impl Default for Desired {
    fn default() -> Self {
        Self { world: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl Desired {
    /// Takes in entries (a key without entry was deleted), and then tells the sessions that
    /// everything up to `revision` can be read.
    pub(crate) fn apply<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a str, Option<&'a KeyValue>)>,
        revision: u64,
    ) {
        let mut world = self.lock();
        let mut stale = Stale::default();
        for (key, entry) in entries {
            world.apply(key, entry, &mut stale);
        }
        world.refresh(&stale);
        drop(world);
        self.revision.send_replace(revision);
    }

    /// Wakes with every revision; 0 means that nothing can be read yet.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// What can be read now. Not to be held while waiting.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|_| panics::torn("the desired state"))
    }
}

/// A pod on its node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DesiredPod {
    /// Namespace and name.
    pub(super) name: Name,
    /// The pod, or why no node can run it.
    pub(super) pod: Result<Pod, ConvertPodError>,
    /// What it uses.
    pub(super) data: BTreeSet<DataKey>,
    /// It has ended for good: nobody may start it again.
    pub(super) ended: bool,
}

/// Desired state of all nodes.
#[derive(Debug, Default)]
pub(super) struct World {
    /// By node, then by uid.
    pods: BTreeMap<String, BTreeMap<String, Arc<DesiredPod>>>,
    /// Node and uid by store key.
    places: BTreeMap<String, Name>,
    claims: Claims,
    /// Pods, by store key, that ask for a claim without a volume.
    without_volume: BTreeMap<String, KeyValue>,
    data: BTreeMap<DataKey, KeyValue>,
    services: BTreeMap<Name, ServiceEntry>,
    /// Which Service a slice belongs to, by the slice's key.
    slice_owners: BTreeMap<String, Name>,
    peers: BTreeMap<NodeId, Arc<Peer>>,
    node_ids: BTreeMap<String, NodeId>,
}

#[derive(Debug, Default)]
struct ServiceEntry {
    object: Option<KeyValue>,
    /// By key.
    slices: BTreeMap<String, KeyValue>,
    converted: Option<Arc<Service>>,
}

/// Which Services must be made anew.
#[derive(Debug, Default)]
struct Stale {
    services: BTreeSet<Name>,
    all: bool,
}

impl World {
    /// The pods of a node, by uid.
    pub(super) fn pods_on(&self, node: &str) -> impl Iterator<Item = (&String, &Arc<DesiredPod>)> {
        self.pods.get(node).into_iter().flatten()
    }

    /// All Services that nodes know of.
    pub(super) fn services(&self) -> impl Iterator<Item = (&Name, &Arc<Service>)> {
        self.services
            .iter()
            .filter_map(|(name, entry)| entry.converted.as_ref().map(|service| (name, service)))
    }

    /// All nodes.
    pub(super) const fn peers(&self) -> &BTreeMap<NodeId, Arc<Peer>> {
        &self.peers
    }

    /// Revision of a ConfigMap or Secret.
    pub(super) fn data_revision(&self, key: &DataKey) -> Option<u64> {
        self.data.get(key).map(|entry| entry.mod_revision)
    }

    /// A ConfigMap or Secret.
    pub(super) fn data(&self, key: &DataKey) -> Option<Data> {
        let entry = self.data.get(key)?;
        let object = serde_json::from_slice(&entry.value).ok()?;
        Some(data::convert(key, &object, entry.mod_revision))
    }

    fn apply(&mut self, key: &str, entry: Option<&KeyValue>, stale: &mut Stale) {
        if key.starts_with(PODS) {
            self.apply_pod(key, entry);
        } else if let Some(name) = key.strip_prefix(CLAIMS) {
            let Some(name) = split(name) else { return };
            self.claims.set_claim(name, entry.and_then(parse).as_ref());
            self.retry_pods();
        } else if let Some(name) = key.strip_prefix(VOLUMES) {
            self.claims.set_volume(name, entry.and_then(parse).as_ref());
            self.retry_pods();
        } else if let Some(name) = key.strip_prefix(CONFIG_MAPS) {
            self.apply_data(DataKind::ConfigMap, name, entry);
        } else if let Some(name) = key.strip_prefix(SECRETS) {
            self.apply_data(DataKind::Secret, name, entry);
        } else if let Some(name) = key.strip_prefix(SERVICES) {
            let Some(name) = split(name) else { return };
            self.services.entry(name.clone()).or_default().object = entry.cloned();
            stale.services.insert(name);
        } else if key.starts_with(SLICES) {
            self.apply_slice(key, entry, stale);
        } else if let Some(name) = key.strip_prefix(NODES) {
            self.apply_node(name, entry, stale);
        }
    }

    fn apply_pod(&mut self, key: &str, entry: Option<&KeyValue>) {
        let parsed = entry.and_then(parse);
        let place = parsed.as_ref().and_then(|object| {
            let node = Field(object).get("spec").get("nodeName").string();
            let uid = Field(object).get("metadata").get("uid").string();
            (!node.is_empty() && !uid.is_empty()).then_some((node, uid))
        });
        let before = match &place {
            Some(place) => self.places.insert(key.to_owned(), place.clone()),
            None => self.places.remove(key),
        };
        if let Some((node, uid)) = before.filter(|before| Some(before) != place.as_ref())
            && let Some(pods) = self.pods.get_mut(&node)
        {
            pods.remove(&uid);
            if pods.is_empty() {
                self.pods.remove(&node);
            }
        }
        self.without_volume.remove(key);
        let (Some((node, uid)), Some(mut object)) = (place, parsed) else { return };
        if !self.claims.resolve(&mut object)
            && let Some(entry) = entry
        {
            self.without_volume.insert(key.to_owned(), entry.clone());
        }
        let desired = desired_pod(&object);
        let pods = self.pods.entry(node).or_default();
        if pods.get(&uid).is_none_or(|present| **present != desired) {
            pods.insert(uid, Arc::new(desired));
        }
    }

    /// Takes in again the pods whose claims had no volume.
    fn retry_pods(&mut self) {
        for (key, entry) in std::mem::take(&mut self.without_volume) {
            self.apply_pod(&key, Some(&entry));
        }
    }

    fn apply_data(&mut self, kind: DataKind, name: &str, entry: Option<&KeyValue>) {
        let Some((namespace, name)) = split(name) else { return };
        let key = DataKey { kind, namespace, name };
        match entry {
            Some(entry) => drop(self.data.insert(key, entry.clone())),
            None => drop(self.data.remove(&key)),
        }
    }

    fn apply_slice(&mut self, key: &str, entry: Option<&KeyValue>, stale: &mut Stale) {
        let owner = entry.and_then(|entry| {
            let object = parse(entry)?;
            let metadata = Field(&object).get("metadata");
            let service = metadata.get("labels").get(SERVICE_NAME_LABEL).string();
            (!service.is_empty()).then(|| (metadata.get("namespace").string(), service))
        });
        let before = match &owner {
            Some(owner) => self.slice_owners.insert(key.to_owned(), owner.clone()),
            None => self.slice_owners.remove(key),
        };
        if let Some(before) = before.filter(|before| Some(before) != owner.as_ref()) {
            if let Some(service) = self.services.get_mut(&before) {
                service.slices.remove(key);
            }
            stale.services.insert(before);
        }
        if let (Some(owner), Some(entry)) = (owner, entry) {
            let service = self.services.entry(owner.clone()).or_default();
            service.slices.insert(key.to_owned(), entry.clone());
            stale.services.insert(owner);
        }
    }

    fn apply_node(&mut self, name: &str, entry: Option<&KeyValue>, stale: &mut Stale) {
        let peer = entry.and_then(|entry| peer(name, &parse(entry)?));
        let before = self.node_ids.get(name).copied();
        let id = peer.as_ref().map(|peer| peer.id);
        if before != id {
            // Endpoints name their nodes by number.
            stale.all = true;
            if let Some(before) = before {
                self.peers.remove(&before);
            }
            match id {
                Some(id) => drop(self.node_ids.insert(name.to_owned(), id)),
                None => drop(self.node_ids.remove(name)),
            }
        }
        if let Some(peer) = peer
            && self.peers.get(&peer.id).is_none_or(|present| **present != peer)
        {
            self.peers.insert(peer.id, Arc::new(peer));
        }
    }

    /// Makes the Services anew whose object, slices or nodes changed.
    fn refresh(&mut self, stale: &Stale) {
        let names: Vec<Name> = if stale.all {
            self.services.keys().cloned().collect()
        } else {
            stale.services.iter().cloned().collect()
        };
        for name in names {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let converted = entry.object.as_ref().and_then(parse).map(|object| {
                let slices: Vec<Value> = entry.slices.values().filter_map(parse).collect();
                service::convert(&object, slices.iter(), &self.node_ids)
            });
            if entry.converted.as_deref() != converted.as_ref() {
                entry.converted = converted.map(Arc::new);
            }
            if entry.object.is_none() && entry.slices.is_empty() {
                self.services.remove(&name);
            }
        }
    }
}

/// What a stored object says; none if it is damaged, which the store's own checks report.
fn parse(entry: &KeyValue) -> Option<Value> {
    serde_json::from_slice(&entry.value).ok()
}

fn split(name: &str) -> Option<Name> {
    name.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
}

fn desired_pod(object: &Value) -> DesiredPod {
    let metadata = Field(object).get("metadata");
    let converted = pod::convert(object);
    let data = converted.as_ref().map(pod::data_keys).unwrap_or_default();
    let phase = Field(object).get("status").get("phase").text();
    DesiredPod {
        name: (metadata.get("namespace").string(), metadata.get("name").string()),
        pod: converted,
        data,
        ended: matches!(phase, "Succeeded" | "Failed"),
    }
}

/// A node as others see it; none before it was linked for the first time.
fn peer(name: &str, object: &Value) -> Option<Peer> {
    let object = Field(object);
    let id = object.get("metadata").get("annotations").get(NODE_ID_ANNOTATION).text();
    let addresses = object.get("status").get("addresses");
    let internal = addresses.items().find(|entry| entry.get("type").text() == "InternalIP")?;
    Some(Peer {
        id: NodeId(id.parse().ok()?),
        name: name.to_owned(),
        address: internal.get("address").text().parse().ok()?,
        pod_range: parse_range(object.get("spec").get("podCIDR").text())?,
    })
}

/// Reads `a.b.c.d/n`.
pub(super) fn parse_range(text: &str) -> Option<Ipv4Range> {
    let (network, prefix_len) = text.split_once('/')?;
    let network: Ipv4Addr = network.parse().ok()?;
    let prefix_len: u8 = prefix_len.parse().ok()?;
    (prefix_len <= 32).then_some(Ipv4Range { network, prefix_len })
}
