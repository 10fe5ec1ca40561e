//! What the master wants of this node: pods, data, services and peers, kept from the stream.
//!
//! Level-based: after every welcome the master names all that the node needs and says
//! [`Desired::synced`]; what was not named by then is gone. Until then everything of before
//! stays, so a broken connection stops nothing.

use std::collections::{BTreeMap, BTreeSet};

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Change, Data, DataKey, Peer, Pod, Service};

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// This pod is new or changed.
    Pod(Box<Pod>),
    /// This pod is gone.
    PodGone(String),
    /// A ConfigMap or Secret has changed.
    Data(DataKey),
    /// The network plan must be made again.
    Network,
}

/// Desired state of the node.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Pods by uid.
    pub pods: BTreeMap<String, Pod>,
    /// ConfigMaps and Secrets.
    pub data: BTreeMap<DataKey, Data>,
    /// Services by namespace and name.
    pub services: BTreeMap<(String, String), Service>,
    /// Other nodes.
    pub peers: BTreeMap<NodeId, Peer>,
    named: Option<Named>,
    complete: bool,
}

/// What the master has named since the welcome.
#[derive(Clone, Debug, Default)]
struct Named {
    pods: BTreeSet<String>,
    data: BTreeSet<DataKey>,
    services: BTreeSet<(String, String)>,
    peers: BTreeSet<NodeId>,
}

impl Desired {
    /// A new session: the master is about to name everything.
    pub fn welcomed(&mut self) {
        self.named = Some(Named::default());
    }

    /// Applies a change; returns what it touched, nothing if it says what is known already.
    pub fn apply(&mut self, change: Change) -> Option<Touched> {
        let named = self.named.as_mut();
        match change {
            Change::Pod(pod) => {
                if let Some(named) = named {
                    named.pods.insert(pod.uid.clone());
                }
                let changed = self.pods.get(&pod.uid) != Some(&*pod);
                self.pods.insert(pod.uid.clone(), (*pod).clone());
                changed.then_some(Touched::Pod(pod))
            }
            Change::PodGone { uid } => {
                self.pods.remove(&uid);
                // Said even when unknown: something of the pod may be left from before.
                Some(Touched::PodGone(uid))
            }
            Change::Data(data) => {
                if let Some(named) = named {
                    named.data.insert(data.key.clone());
                }
                let key = data.key.clone();
                let old = self.data.insert(key.clone(), data);
                (old.as_ref() != self.data.get(&key)).then_some(Touched::Data(key))
            }
            Change::DataGone(key) => self.data.remove(&key).is_some().then_some(Touched::Data(key)),
            Change::Service(service) => {
                let key = (service.namespace.clone(), service.name.clone());
                if let Some(named) = named {
                    named.services.insert(key.clone());
                }
                let old = self.services.insert(key.clone(), service);
                (old.as_ref() != self.services.get(&key)).then_some(Touched::Network)
            }
            Change::ServiceGone { namespace, name } => {
                self.services.remove(&(namespace, name)).is_some().then_some(Touched::Network)
            }
            Change::Peer(peer) => {
                let id = peer.id;
                if let Some(named) = named {
                    named.peers.insert(id);
                }
                let old = self.peers.insert(id, peer);
                (old.as_ref() != self.peers.get(&id)).then_some(Touched::Network)
            }
            Change::PeerGone(id) => self.peers.remove(&id).is_some().then_some(Touched::Network),
        }
    }

    /// Nothing of this pod is left on the node. Should the master name it again, the message that
    /// said so was lost with its connection, and must be said again.
    pub fn removed(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// The master has named everything: what it did not name is gone.
    ///
    /// `present` are uids of pods that the node still runs although desired state may not know
    /// them (found after a restart of the agent).
    pub fn synced<'a>(&mut self, present: impl Iterator<Item = &'a str>) -> Vec<Touched> {
        let Some(named) = self.named.take() else { return Vec::new() };
        self.complete = true;
        let mut gone: BTreeSet<String> =
            self.pods.keys().filter(|uid| !named.pods.contains(*uid)).cloned().collect();
        gone.extend(present.filter(|uid| !named.pods.contains(*uid)).map(str::to_owned));
        self.pods.retain(|uid, _| named.pods.contains(uid));
        let mut touched: Vec<Touched> = gone.into_iter().map(Touched::PodGone).collect();
        let lost: Vec<DataKey> =
            self.data.keys().filter(|key| !named.data.contains(*key)).cloned().collect();
        for key in lost {
            self.data.remove(&key);
            touched.push(Touched::Data(key));
        }
        let before = (self.services.len(), self.peers.len());
        self.services.retain(|key, _| named.services.contains(key));
        self.peers.retain(|id, _| named.peers.contains(id));
        if before != (self.services.len(), self.peers.len()) {
            touched.push(Touched::Network);
        }
        touched
    }

    /// Whether Services and peers are those of the whole cluster, as the master named them in this
    /// session or an earlier one. Before that, what is not there may only not have been named yet.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes over what an agent before this one knew of the cluster, unless the master has spoken
    /// already.
    pub fn restore(&mut self, services: Vec<Service>, peers: Vec<Peer>) {
        if self.complete || self.named.is_some() {
            return;
        }
        let key = |service: &Service| (service.namespace.clone(), service.name.clone());
        self.services = services.into_iter().map(|service| (key(&service), service)).collect();
        self.peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
        self.complete = true;
    }

    /// Whether the master has named everything in this session.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.named.is_none()
    }
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::Deletion;

    use super::*;
    use crate::pod_worker::example::pod;

    fn named(uid: &str) -> Change {
        let mut pod = pod();
        pod.uid = uid.to_owned();
        Change::Pod(Box::new(pod))
    }

    #[test]
    fn what_was_not_named_again_is_gone() {
        let mut desired = Desired::default();
        desired.welcomed();
        assert!(desired.apply(named("a")).is_some());
        assert!(desired.apply(named("b")).is_some());
        assert_eq!(desired.synced(std::iter::empty()), []);

        desired.welcomed();
        assert_eq!(desired.apply(named("b")), None, "the same pod again is no change");
        assert_eq!(desired.pods.len(), 2, "nothing goes before the end of the list");
        assert_eq!(desired.synced(std::iter::empty()), [Touched::PodGone("a".to_owned())]);
    }

    #[test]
    fn removed_pod_that_is_named_again_is_no_old_news() {
        let mut desired = Desired::default();
        let deleted = || {
            let mut pod = pod();
            pod.deletion = Some(Deletion { grace_s: 1 });
            Change::Pod(Box::new(pod))
        };
        desired.apply(named(&pod().uid));
        assert!(desired.apply(deleted()).is_some());
        desired.removed(&pod().uid);
        // The connection broke before the master heard of it.
        desired.welcomed();
        assert!(matches!(desired.apply(deleted()), Some(Touched::Pod(_))));
        assert_eq!(desired.synced(std::iter::empty()), []);
    }

    #[test]
    fn pods_that_only_the_node_knows_are_gone_after_the_list() {
        let mut desired = Desired::default();
        desired.welcomed();
        desired.apply(named("a"));
        let touched = desired.synced(["a", "old"].into_iter());
        assert_eq!(touched, [Touched::PodGone("old".to_owned())]);
    }

    #[test]
    fn what_an_agent_before_knew_counts_until_the_master_has_spoken() {
        let service = |name: &str| Service { name: name.to_owned(), ..Service::default() };
        let mut desired = Desired::default();
        assert!(!desired.is_complete());
        desired.restore(vec![service("old"), service("kept")], vec![]);
        assert!(desired.is_complete());
        desired.welcomed();
        desired.apply(Change::Service(service("kept")));
        desired.restore(vec![service("older")], vec![]);
        assert_eq!(desired.services.len(), 2);
        assert_eq!(desired.synced(std::iter::empty()), [Touched::Network]);
        assert!(desired.services.values().all(|service| service.name == "kept"));
    }

    #[test]
    fn end_of_list_without_a_welcome_takes_nothing() {
        let mut desired = Desired::default();
        desired.apply(named("a"));
        assert_eq!(desired.synced(["x"].into_iter()), []);
        assert_eq!(desired.pods.len(), 1);
    }
}
