//! What one session must still send, so that its node has what it needs.
//!
//! Compares desired state with what was sent; does not send. Level-based: it does not matter how
//! many changes lie between two calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Change, DataKey, Peer, Service};

use super::desired::{DesiredPod, Name, World};
use super::pod::ConvertPodError;

/// What one session has sent.
#[derive(Debug)]
pub(super) struct Sent {
    node: String,
    id: NodeId,
    pods: BTreeMap<String, Arc<DesiredPod>>,
    data: BTreeMap<DataKey, u64>,
    services: BTreeMap<Name, Arc<Service>>,
    peers: BTreeMap<NodeId, Arc<Peer>>,
}

/// What must be sent, in this order, and which pods cannot be.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// To be sent.
    pub(super) changes: Vec<Change>,
    /// Pods that no node of this version can run: name, uid and why.
    pub(super) refused: Vec<(Name, String, ConvertPodError)>,
}

impl Sent {
    /// A session that has sent nothing yet.
    pub(super) fn new(node: &str, id: NodeId) -> Self {
        Self {
            node: node.to_owned(),
            id,
            pods: BTreeMap::new(),
            data: BTreeMap::new(),
            services: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Returns what is missing and takes it as sent. What a pod uses comes before the pod.
    pub(super) fn update(&mut self, world: &World) -> Difference {
        let mut difference = Difference::default();
        let changes = &mut difference.changes;
        self.update_peers(world, changes);
        self.update_services(world, changes);
        let pods = self.wanted_pods(world);
        let used: BTreeSet<&DataKey> = pods.values().flat_map(|pod| &pod.data).collect();
        for key in &used {
            let revision = world.data_revision(key);
            if revision.is_some() && self.data.get(*key).copied() != revision {
                changes.extend(world.data(key).map(Change::Data));
            }
        }
        for (uid, desired) in &pods {
            if self.pods.get(uid).is_some_and(|sent| Arc::ptr_eq(sent, desired)) {
                continue;
            }
            match &desired.pod {
                Ok(pod) => changes.push(Change::Pod(Box::new(pod.clone()))),
                Err(error) => {
                    let refused = (desired.name.clone(), uid.clone(), error.clone());
                    difference.refused.push(refused);
                }
            }
        }
        let gone = self.pods.keys().filter(|uid| !pods.contains_key(*uid));
        changes.extend(gone.map(|uid| Change::PodGone { uid: uid.clone() }));
        let present: BTreeMap<DataKey, u64> = used
            .into_iter()
            .filter_map(|key| Some((key.clone(), world.data_revision(key)?)))
            .collect();
        let gone = self.data.keys().filter(|key| !present.contains_key(*key));
        changes.extend(gone.map(|key| Change::DataGone(key.clone())));
        self.data = present;
        self.pods = pods;
        difference
    }

    /// A pod that has ended is not named to a session that does not know it, lest a board that
    /// lost its memory starts it again; but it is when it waits to be removed.
    fn wanted_pods(&self, world: &World) -> BTreeMap<String, Arc<DesiredPod>> {
        let wanted = |uid: &String, desired: &DesiredPod| {
            let deleting = desired.pod.as_ref().is_ok_and(|pod| pod.deletion.is_some());
            !desired.ended || deleting || self.pods.contains_key(uid)
        };
        world
            .pods_on(&self.node)
            .filter(|(uid, desired)| wanted(uid, desired))
            .map(|(uid, desired)| (uid.clone(), Arc::clone(desired)))
            .collect()
    }

    fn update_peers(&mut self, world: &World, changes: &mut Vec<Change>) {
        let others = || world.peers().iter().filter(|(id, _)| **id != self.id);
        for (id, peer) in others() {
            if self.peers.get(id).is_none_or(|sent| !Arc::ptr_eq(sent, peer)) {
                changes.push(Change::Peer(Peer::clone(peer)));
            }
        }
        let gone = self.peers.keys().filter(|id| !world.peers().contains_key(id));
        changes.extend(gone.map(|id| Change::PeerGone(*id)));
        self.peers = others().map(|(id, peer)| (*id, Arc::clone(peer))).collect();
    }

    fn update_services(&mut self, world: &World, changes: &mut Vec<Change>) {
        let mut present = BTreeMap::new();
        for (name, service) in world.services() {
            if self.services.get(name).is_none_or(|sent| !Arc::ptr_eq(sent, service)) {
                changes.push(Change::Service(Service::clone(service)));
            }
            present.insert(name.clone(), Arc::clone(service));
        }
        let gone = self.services.keys().filter(|name| !present.contains_key(*name));
        changes.extend(gone.map(|(namespace, name)| Change::ServiceGone {
            namespace: namespace.clone(),
            name: name.clone(),
        }));
        self.services = present;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bramble_shared::link::DataKind;
    use bramble_store::KeyValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::link::desired::Desired;

    struct Field {
        desired: Desired,
        revision: u64,
        sent: Sent,
    }

    impl Field {
        fn new() -> Self {
            let sent = Sent::new("pi-1", NodeId(1));
            Self { desired: Desired::default(), revision: 0, sent }
        }

        fn put(&mut self, key: &str, value: &Value) {
            self.revision += 1;
            let entry = KeyValue {
                key: Arc::from(key),
                value: value.to_string().into_bytes().into(),
                create_revision: 1,
                mod_revision: self.revision,
                version: 1,
            };
            self.desired.apply([(key, Some(&entry))], self.revision);
        }

        fn delete(&mut self, key: &str) {
            self.revision += 1;
            self.desired.apply([(key, None)], self.revision);
        }

        /// One word for each change.
        fn changes(&mut self) -> Vec<String> {
            let difference = self.sent.update(&self.desired.lock());
            let refused = difference.refused.iter().map(|(name, ..)| format!("!{}", name.1));
            let changes = difference.changes.iter().map(|change| match change {
                Change::Pod(pod) => format!("+pod {}", pod.uid),
                Change::PodGone { uid } => format!("-pod {uid}"),
                Change::Data(data) => format!("+data {}", data.key.name),
                Change::DataGone(key) => format!("-data {}", key.name),
                Change::Service(service) => {
                    let ports = service.ports.iter();
                    let endpoints: usize = ports.map(|port| port.endpoints.len()).sum();
                    format!("+service {} {endpoints}", service.name)
                }
                Change::ServiceGone { name, .. } => format!("-service {name}"),
                Change::Peer(peer) => format!("+peer {}", peer.name),
                Change::PeerGone(id) => format!("-peer {}", id.0),
            });
            changes.chain(refused).collect()
        }
    }

    fn pod(uid: &str, node: &str, phase: &str) -> Value {
        json!({
            "metadata": {"namespace": "n", "name": uid, "uid": uid},
            "spec": {
                "nodeName": node,
                "containers": [{"name": "c", "image": "i", "envFrom": [
                    {"configMapRef": {"name": "conf"}},
                ]}],
            },
            "status": {"phase": phase},
        })
    }

    fn node(id: &str, address: &str, range: &str) -> Value {
        json!({
            "metadata": {"annotations": {"bramble.io/node-id": id}},
            "spec": {"podCIDR": range},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    }

    #[test]
    fn a_node_gets_its_own_pods_and_what_they_use() {
        let mut field = Field::new();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Pending"));
        field.put("/core/pods/n/b", &pod("b", "pi-2", "Pending"));
        field.put("/core/pods/n/c", &pod("c", "", "Pending"));
        field.put("/core/secrets/n/other", &json!({"data": {}}));
        assert_eq!(field.changes(), ["+pod a"]);
        field.put("/core/configmaps/n/conf", &json!({"data": {"k": "v"}}));
        assert_eq!(field.changes(), ["+data conf"]);
        field.put("/core/configmaps/n/conf", &json!({"data": {"k": "w"}}));
        assert_eq!(field.changes(), ["+data conf"]);
        field.delete("/core/pods/n/a");
        assert_eq!(field.changes(), ["-pod a", "-data conf"]);
        assert_eq!(field.changes(), [""; 0]);
    }

    #[test]
    fn a_change_of_status_is_not_sent() {
        let mut field = Field::new();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Pending"));
        assert_eq!(field.changes(), ["+pod a"]);
        let mut running = pod("a", "pi-1", "Running");
        field.put("/core/pods/n/a", &running);
        assert_eq!(field.changes(), [""; 0]);
        running["metadata"]["labels"] = json!({"new": "label"});
        field.put("/core/pods/n/a", &running);
        assert_eq!(field.changes(), ["+pod a"]);
    }

    #[test]
    fn a_pod_that_was_made_anew_under_its_name_replaces_the_old() {
        let mut field = Field::new();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Running"));
        field.changes();
        field.put("/core/pods/n/a", &pod("a2", "pi-1", "Pending"));
        assert_eq!(field.changes(), ["+pod a2", "-pod a"]);
    }

    #[test]
    fn what_has_ended_is_not_started_again_by_a_new_session() {
        let mut field = Field::new();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Running"));
        field.changes();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Succeeded"));
        assert!(!field.changes().contains(&"-pod a".to_owned()));
        field.sent = Sent::new("pi-1", NodeId(1));
        assert_eq!(field.changes(), [""; 0]);
        let mut deleting = pod("a", "pi-1", "Succeeded");
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        field.put("/core/pods/n/a", &deleting);
        assert_eq!(field.changes(), ["+pod a"]);
    }

    #[test]
    fn a_pod_that_cannot_run_is_reported_once() {
        let mut field = Field::new();
        let mut object = pod("a", "pi-1", "Pending");
        object["spec"]["volumes"] = json!([{"name": "v", "nfs": {}}]);
        field.put("/core/pods/n/a", &object);
        assert_eq!(field.changes(), ["!a"]);
        assert_eq!(field.changes(), [""; 0]);
    }

    #[test]
    fn services_follow_their_slices_and_nodes() {
        let mut field = Field::new();
        let service = json!({
            "metadata": {"namespace": "n", "name": "s"}, "spec": {"ports": [{"port": 80}]},
        });
        field.put("/core/services/n/s", &service);
        assert_eq!(field.changes(), ["+service s 0"]);
        let slice = json!({
            "metadata": {"namespace": "n", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.42.2.2"], "nodeName": "pi-2"}],
        });
        field.put("/discovery.k8s.io/endpointslices/n/s-1", &slice);
        assert_eq!(field.changes(), ["+service s 1"]);
        field.put("/core/nodes/_/pi-2", &node("2", "192.0.2.2", "10.42.2.0/24"));
        assert_eq!(field.changes(), ["+peer pi-2", "+service s 1"]);
        field.delete("/discovery.k8s.io/endpointslices/n/s-1");
        assert_eq!(field.changes(), ["+service s 0"]);
        field.delete("/core/services/n/s");
        assert_eq!(field.changes(), ["-service s"]);
    }

    #[test]
    fn peers_are_the_others() {
        let mut field = Field::new();
        field.put("/core/nodes/_/pi-1", &node("1", "192.0.2.1", "10.42.1.0/24"));
        field.put("/core/nodes/_/pi-2", &node("2", "192.0.2.2", "10.42.2.0/24"));
        field.put("/core/nodes/_/new", &json!({}));
        assert_eq!(field.changes(), ["+peer pi-2"]);
        field.put("/core/nodes/_/pi-2", &node("2", "192.0.2.9", "10.42.2.0/24"));
        assert_eq!(field.changes(), ["+peer pi-2"]);
        field.delete("/core/nodes/_/pi-2");
        assert_eq!(field.changes(), ["-peer 2"]);
    }

    #[test]
    fn data_of_the_other_kind_is_not_readable() {
        let mut field = Field::new();
        field.put("/core/pods/n/a", &pod("a", "pi-1", "Pending"));
        field.put("/core/secrets/n/conf", &json!({"data": {}}));
        assert_eq!(field.changes(), ["+pod a"]);
        let key =
            DataKey { kind: DataKind::Secret, namespace: "n".to_owned(), name: "conf".to_owned() };
        assert!(field.desired.lock().data(&key).is_some());
    }
}
