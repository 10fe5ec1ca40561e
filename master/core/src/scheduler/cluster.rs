//! All nodes with what their pods hold, and the counts that decisions need ready.
//!
//! Does not know whether a pod is bound or only assumed, nor which pods wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::groups::{GroupId, Groups, Matcher, Namespaces, Stance};
use super::node_info::NodeInfo;
use super::plugins::node_affinity::required_names;
use super::topology::{Topologies, TopologyId};
use crate::snapshot::Snapshot;
use crate::view::labels::Labels;
use crate::view::node::NodeView;
use crate::view::pod::PodView;
use crate::view::pod_affinity::PodTerm;
use crate::view::resource::ObjectKey;

/// The label of nodes that the like of a pod without constraints is spread by, beside nodes.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What a pod's terms are about, as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Pods that all required terms mean, and where one must be.
    pub required: Option<(GroupId, Vec<TopologyId>)>,
    /// Pods that must not be near, term by term.
    pub required_anti: Vec<(GroupId, TopologyId)>,
    /// Wishes with their weights.
    pub preferred: Vec<(GroupId, TopologyId, i64)>,
    /// Group and label of each spread constraint, in order.
    pub spread: Vec<(GroupId, TopologyId)>,
}

/// Nodes, ordered by name, and what is counted about their pods.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    indexes: BTreeMap<Arc<str>, usize>,
    namespaces: Namespaces,
    groups: Groups,
    topologies: Topologies,
    /// Per owner uid: pods on each node.
    owned: BTreeMap<Arc<str>, BTreeMap<usize, i64>>,
    /// How many placed pods use a claim.
    claims: BTreeMap<ObjectKey, i64>,
    /// How many nodes have an image of this name.
    images: BTreeMap<Arc<str>, usize>,
}

impl Cluster {
    /// The nodes of a snapshot, without pods.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let nodes: Vec<_> =
            snapshot.nodes().values().map(|node| NodeInfo::new(Arc::clone(node))).collect();
        let names = nodes.iter().map(|info| Arc::clone(&info.node.meta.name));
        let indexes = names.zip(0..).collect();
        let namespaces = snapshot.namespaces().values();
        let namespaces =
            namespaces.map(|it| (Arc::clone(&it.meta.name), it.meta.labels.clone())).collect();
        let mut cluster = Self { nodes, indexes, namespaces, ..Self::default() };
        for info in &cluster.nodes {
            count_images(&mut cluster.images, &info.node, true);
        }
        cluster
    }

    /// All nodes, by name.
    #[must_use]
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The node with this index.
    #[must_use]
    pub fn node(&self, index: usize) -> Option<&NodeInfo> {
        self.nodes.get(index)
    }

    /// The index of a node.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.indexes.get(name).copied()
    }

    /// What is counted about pods.
    #[must_use]
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Places.
    #[must_use]
    pub const fn topologies(&self) -> &Topologies {
        &self.topologies
    }

    /// Labels of namespaces.
    #[must_use]
    pub const fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Pods of one owner on each node, by the node's index.
    #[must_use]
    pub fn owned_by(&self, owner: &str) -> Option<&BTreeMap<usize, i64>> {
        self.owned.get(owner)
    }

    /// How many nodes have an image of this name.
    #[must_use]
    pub fn nodes_with_image(&self, name: &str) -> usize {
        self.images.get(name).copied().unwrap_or_default()
    }

    /// How many placed pods use a claim.
    #[must_use]
    pub fn users_of(&self, claim: &ObjectKey) -> i64 {
        self.claims.get(claim).copied().unwrap_or_default()
    }

    /// Puts a new version of a node in place; its pods stay.
    pub fn set_node(&mut self, index: usize, node: Arc<NodeView>) {
        let Some(info) = self.nodes.get_mut(index) else { return };
        if info.node.images != node.images {
            count_images(&mut self.images, &info.node, false);
            count_images(&mut self.images, &node, true);
        }
        if info.node.meta.labels != node.meta.labels {
            self.topologies.set_node(index, &node.meta.labels);
        }
        info.set_node(node);
    }

    /// Takes in the labels of a namespace; true if what was counted is no longer right.
    pub fn set_namespace(&mut self, name: &Arc<str>, labels: Option<Labels>) -> bool {
        let before = match &labels {
            Some(labels) => self.namespaces.insert(Arc::clone(name), labels.clone()),
            None => self.namespaces.remove(name),
        };
        before != labels && self.groups.by_namespace_labels()
    }

    /// Makes sure that everything is counted which a pod asks about.
    pub fn learn(&mut self, pod: &PodView) -> Terms {
        let mut terms = Terms::default();
        if let Some(affinity) = &pod.pod_affinity {
            if !affinity.required.is_empty() {
                let all = affinity.required.iter().map(|term| term.pods.clone()).collect();
                let group = self.group(Matcher { terms: all, live_only: false });
                let near = affinity.required.iter().map(|term| self.topology(&term.topology_key));
                terms.required = Some((group, near.collect()));
            }
            terms.required_anti =
                affinity.required_anti.iter().map(|term| self.term(term)).collect();
            let wish = |(weight, term): &(i64, PodTerm)| {
                let (group, near) = self.term(term);
                (group, near, *weight)
            };
            terms.preferred = affinity.preferred.iter().map(wish).collect();
        }
        let spread = pod.spread.iter().map(|constraint| {
            let matcher = Matcher { terms: vec![constraint.pods.clone()], live_only: true };
            (self.group(matcher), self.topology(&constraint.topology_key))
        });
        terms.spread = spread.collect();
        if pod.spread.is_empty() && owner(pod).is_some() {
            self.topology(&Arc::from(ZONE_LABEL));
        }
        terms
    }

    /// Makes sure that everything is counted which a placed pod says about others.
    pub fn learn_stances(&mut self, pod: &PodView) -> Vec<(GroupId, TopologyId, Stance)> {
        let Some(affinity) = &pod.pod_affinity else { return Vec::new() };
        let mut stances = Vec::new();
        for term in &affinity.required_anti {
            let (group, near) = self.term(term);
            stances.push((group, near, Stance::Forbids));
        }
        // As upstream: whom a placed pod must be near to is drawn to it, with the least weight.
        let drawn = affinity.required.iter().map(|term| (1, term));
        for (weight, term) in affinity.preferred.iter().map(|(w, term)| (*w, term)).chain(drawn) {
            let (group, near) = self.term(term);
            stances.push((group, near, Stance::Wishes(weight)));
        }
        stances
    }

    /// Counts a pod in on a node.
    pub fn add(&mut self, pod: &Arc<PodView>, node: usize) {
        self.shift(pod, node, 1);
        if let Some(info) = self.nodes.get_mut(node) {
            info.add(pod);
        }
    }

    /// Counts a pod out. It must have been counted in.
    pub fn remove(&mut self, pod: &PodView, node: usize) {
        self.shift(pod, node, -1);
        if let Some(info) = self.nodes.get_mut(node) {
            info.remove(pod);
        }
    }

    fn shift(&mut self, pod: &PodView, node: usize, by: i64) {
        for (group, near, stance) in self.learn_stances(pod) {
            self.groups.hold(group, near, stance, node, by);
        }
        self.groups.count(pod, node, by, &self.namespaces);
        for name in &pod.claims {
            let namespace = Arc::clone(&pod.meta.namespace);
            let key = ObjectKey { namespace, name: Arc::clone(name) };
            let count = self.claims.entry(key.clone()).or_default();
            *count += by;
            if *count <= 0 {
                self.claims.remove(&key);
            }
        }
        if let Some(owner) = owner(pod) {
            let counts = self.owned.entry(Arc::clone(owner)).or_default();
            let count = counts.entry(node).or_default();
            *count += by;
            if *count <= 0 {
                counts.remove(&node);
                if counts.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
    }

    fn term(&mut self, term: &PodTerm) -> (GroupId, TopologyId) {
        let matcher = Matcher { terms: vec![term.pods.clone()], live_only: false };
        (self.group(matcher), self.topology(&term.topology_key))
    }

    fn group(&mut self, matcher: Matcher) -> GroupId {
        let placed = self.nodes.iter().zip(0..);
        let pods = placed.flat_map(|(info, node)| info.pods().map(move |pod| (node, &**pod)));
        self.groups.learn(matcher, pods, &self.namespaces)
    }

    fn topology(&mut self, key: &Arc<str>) -> TopologyId {
        self.topologies.learn(key, self.nodes.iter().map(|info| &info.node.meta.labels))
    }

    /// The nodes that a pod's affinity names, if it names any: all others need not be asked.
    #[must_use]
    pub fn named_for(&self, pod: &PodView) -> Option<Vec<usize>> {
        let names = required_names(pod)?;
        Some(names.iter().filter_map(|name| self.index_of(name)).collect())
    }
}

/// The uid of the controller that made a pod.
#[must_use]
pub fn owner(pod: &PodView) -> Option<&Arc<str>> {
    pod.meta.controller().map(|owner| &owner.uid)
}

fn count_images(images: &mut BTreeMap<Arc<str>, usize>, node: &NodeView, present: bool) {
    for (name, _) in &node.images {
        let count = images.entry(Arc::clone(name)).or_default();
        *count = if present { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            images.remove(name);
        }
    }
}
