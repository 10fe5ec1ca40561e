//! One node as the scheduler sees it: what it can give and what its pods hold already.
//!
//! Pods that were placed in this run or whose binding is not seen yet (assumed pods) are counted
//! like bound ones; this type does not know the difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::view::node::{Effect, NodeView};
use crate::view::pod::{ContainerPort, PodView};
use crate::view::quantity::Resources;

/// CPU that a container without a request is reckoned with when nodes are compared, as upstream.
pub const DEFAULT_CPU_MILLI: i64 = 100;
/// Memory that a container without a request is reckoned with when nodes are compared, as upstream.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// A node with the sums over its pods.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// The node.
    pub node: Arc<NodeView>,
    /// What its pods request.
    pub requested: Resources,
    /// CPU and memory with defaults for pods without requests: for scores only.
    pub requested_or_default: (i64, i64),
    /// Whether any taint keeps new pods away; most nodes have none.
    pub has_hard_taints: bool,
    /// Whether any taint makes the node less liked.
    pub has_soft_taints: bool,
    pods: Vec<Arc<PodView>>,
    host_ports: BTreeMap<(Arc<str>, i32), Vec<Arc<str>>>,
}

impl NodeInfo {
    /// A node without pods.
    #[must_use]
    pub fn new(node: Arc<NodeView>) -> Self {
        let soft = |effect: Effect| effect == Effect::PreferNoSchedule;
        Self {
            has_hard_taints: node.taints.iter().any(|taint| !soft(taint.effect)),
            has_soft_taints: node.taints.iter().any(|taint| soft(taint.effect)),
            node,
            pods: Vec::new(),
            requested: Resources::default(),
            requested_or_default: (0, 0),
            host_ports: BTreeMap::new(),
        }
    }

    /// Puts a new version of the node in place; its pods stay.
    pub fn set_node(&mut self, node: Arc<NodeView>) {
        let emptied = Self::new(node);
        self.has_hard_taints = emptied.has_hard_taints;
        self.has_soft_taints = emptied.has_soft_taints;
        self.node = emptied.node;
    }

    /// Its pods, in no order.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<PodView>> {
        self.pods.iter()
    }

    /// Counts a pod in.
    pub fn add(&mut self, pod: &Arc<PodView>) {
        self.pods.push(Arc::clone(pod));
        self.requested.add(&pod.requests);
        self.requested.pods += 1;
        let (cpu, memory) = requests_or_default(pod);
        self.requested_or_default.0 += cpu;
        self.requested_or_default.1 += memory;
        for port in host_ports(pod) {
            let key = (Arc::from(port.protocol()), host_port(pod, port));
            self.host_ports.entry(key).or_default().push(Arc::clone(&port.host_ip));
        }
    }

    /// Counts a pod out. It must have been counted in.
    pub fn remove(&mut self, pod: &PodView) {
        let at = self.pods.iter().position(|present| present.meta.uid == pod.meta.uid);
        at.map(|at| self.pods.swap_remove(at));
        self.requested.subtract(&pod.requests);
        self.requested.pods -= 1;
        let (cpu, memory) = requests_or_default(pod);
        self.requested_or_default.0 -= cpu;
        self.requested_or_default.1 -= memory;
        for port in host_ports(pod) {
            let key = (Arc::from(port.protocol()), host_port(pod, port));
            if let Some(addresses) = self.host_ports.get_mut(&key) {
                let at = addresses.iter().position(|address| *address == port.host_ip);
                at.map(|at| addresses.swap_remove(at));
                if addresses.is_empty() {
                    self.host_ports.remove(&key);
                }
            }
        }
    }

    /// Whether a port that `pod` wants on the node is taken.
    #[must_use]
    pub fn port_taken(&self, pod: &PodView) -> bool {
        !self.host_ports.is_empty()
            && host_ports(pod).any(|port| {
                let key = (Arc::from(port.protocol()), host_port(pod, port));
                let every = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
                self.host_ports.get(&key).is_some_and(|taken| {
                    taken.iter().any(|address| {
                        every(address) || every(&port.host_ip) || *address == port.host_ip
                    })
                })
            })
    }
}

/// The ports that a pod takes on its node.
pub fn host_ports(pod: &PodView) -> impl Iterator<Item = &ContainerPort> {
    pod.ports.iter().filter(|port| host_port(pod, port) > 0)
}

/// A pod in the node's network takes its container ports there.
const fn host_port(pod: &PodView, port: &ContainerPort) -> i32 {
    if port.host_port == 0 && pod.host_network { port.container_port } else { port.host_port }
}

/// A pod's CPU and memory for comparing nodes.
#[must_use]
pub const fn requests_or_default(pod: &PodView) -> (i64, i64) {
    let cpu = pod.requests.cpu_milli;
    let memory = pod.requests.memory;
    (
        if cpu == 0 { DEFAULT_CPU_MILLI } else { cpu },
        if memory == 0 { DEFAULT_MEMORY } else { memory },
    )
}
