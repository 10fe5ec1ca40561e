//! Plug-ins: may a pod run on a node (filters), and how good is the node (scores)?
//!
//! A plug-in is prepared once for a pod and then asked about each node. Filters are asked in
//! upstream's order and the first that says no gives the reason, so that the counts in a
//! `FailedScheduling` event are the same as upstream's. Names and weights are upstream's, too.

use std::borrow::Cow;
use std::fmt::Debug;

use super::cluster::{Cluster, Terms};
use super::node_info::NodeInfo;
use super::queue::ClusterEvent;
use crate::snapshot::Snapshot;
use crate::view::pod::PodView;

pub mod architecture;
pub mod default_preemption;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod pod_topology_spread;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;

/// The best score of one plug-in.
pub const MAX: i64 = 100;

/// Why a node was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// In upstream's words; several when several resources are short.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether removing pods from the node could change it.
    pub resolvable: bool,
}

impl Refusal {
    /// A reason that goes away with other pods.
    #[must_use]
    pub fn resolvable(reason: &'static str) -> Self {
        Self { reasons: vec![Cow::Borrowed(reason)], resolvable: true }
    }

    /// A reason that stays whatever pods the node has.
    #[must_use]
    pub fn lasting(reason: &'static str) -> Self {
        Self { reasons: vec![Cow::Borrowed(reason)], resolvable: false }
    }
}

/// What plug-ins look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The nodes and their pods.
    pub cluster: &'a Cluster,
    /// The other objects.
    pub snapshot: &'a Snapshot,
    /// What the pod's terms are about.
    pub terms: &'a Terms,
}

/// What a filter says before any node is looked at.
#[derive(Debug)]
pub enum Prepared<'a> {
    /// It has nothing to say about this pod.
    Skip,
    /// No node will do.
    Refuse(Refusal),
    /// It is to be asked about each node.
    Ask(Box<dyn Filter + 'a>),
}

/// A filter.
pub trait FilterPlugin: Debug + Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;

    /// Gets ready for one pod.
    fn prepare<'a>(&self, pod: &'a PodView, context: &Context<'a>) -> Prepared<'a>;

    /// Whether a change could make it let a pod pass that it refused.
    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, cluster: &Cluster) -> bool;
}

/// A filter that is ready for one pod.
pub trait Filter: Debug {
    /// Whether the pod may run on a node; the node may hold other pods than the cluster knows of.
    ///
    /// # Errors
    ///
    /// Returns why it may not.
    fn filter(&self, index: usize, node: &NodeInfo) -> Result<(), Refusal>;

    /// Reckons with another pod on a node (`by` is 1), or with one less (-1).
    fn shift(&mut self, pod: &PodView, index: usize, by: i64) {
        let _ = (pod, index, by);
    }
}

/// A score.
pub trait ScorePlugin: Debug + Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;

    /// How much it counts.
    fn weight(&self) -> i64 {
        1
    }

    /// Gets ready for one pod; `None` if all nodes are alike to it. `candidates` are the nodes that
    /// it will be asked about.
    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        context: &Context<'a>,
        candidates: &[usize],
    ) -> Option<Box<dyn Score + 'a>>;
}

/// A score that is ready for one pod.
pub trait Score: Debug {
    /// Scores one node.
    fn score(&self, index: usize, node: &NodeInfo) -> i64;

    /// Brings the scores of all candidates, in their order, to 0 to [`MAX`].
    fn normalize(&self, scores: &mut [i64]) {
        let _ = scores;
    }
}

/// All filters in the order in which they are asked.
pub static FILTERS: [&dyn FilterPlugin; 11] = [
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &architecture::Architecture,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &volume_restrictions::VolumeRestrictions,
    &volume_binding::VolumeBinding,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
];

/// All scores.
pub static SCORES: [&dyn ScorePlugin; 7] = [
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_resources_fit::NodeResourcesFit,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &node_resources_balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
];

/// Scales scores to the best of them, and turns them round if fewer is better.
pub(crate) fn normalize_to_best(scores: &mut [i64], fewer_is_better: bool) {
    let best = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        let scaled = if best == 0 { 0 } else { *score * MAX / best };
        *score = if fewer_is_better { MAX - scaled } else { scaled };
    }
}

#[cfg(test)]
pub(crate) mod check {
    //! One way to ask a filter about a pod and a node written as JSON.

    use std::sync::Arc;

    use serde_json::Value;

    use super::super::cluster::Cluster;
    use super::{Context, FilterPlugin, NodeInfo, Prepared, Refusal, ScorePlugin, Terms};
    use crate::snapshot::Snapshot;
    use crate::view::pod::PodView;

    pub(crate) fn pod(value: Value) -> PodView {
        serde_json::from_value(value).unwrap()
    }

    pub(crate) fn node(value: Value) -> NodeInfo {
        NodeInfo::new(Arc::new(serde_json::from_value(value).unwrap()))
    }

    /// Asks a filter that looks at one node only.
    pub(crate) fn ask(
        plugin: &dyn FilterPlugin,
        pod: &PodView,
        node: &NodeInfo,
    ) -> Result<(), Refusal> {
        let (cluster, snapshot, terms) = (Cluster::default(), Snapshot::new(), Terms::default());
        let context = Context { cluster: &cluster, snapshot: &snapshot, terms: &terms };
        match plugin.prepare(pod, &context) {
            Prepared::Skip => Ok(()),
            Prepared::Refuse(refusal) => Err(refusal),
            Prepared::Ask(filter) => filter.filter(0, node),
        }
    }

    pub(crate) fn check(
        plugin: &dyn FilterPlugin,
        pod_json: Value,
        node_json: Value,
        wanted: Option<&str>,
    ) {
        let found = ask(plugin, &pod(pod_json), &node(node_json)).err();
        assert_eq!(found.map(|refusal| refusal.reasons.join(", ")).as_deref(), wanted);
    }

    /// Scores nodes with a plug-in that looks at one node only.
    pub(crate) fn scores(plugin: &dyn ScorePlugin, pod: &PodView, nodes: &[NodeInfo]) -> Vec<i64> {
        let (cluster, snapshot, terms) = (Cluster::default(), Snapshot::new(), Terms::default());
        let context = Context { cluster: &cluster, snapshot: &snapshot, terms: &terms };
        let candidates: Vec<usize> = (0..nodes.len()).collect();
        let Some(score) = plugin.prepare(pod, &context, &candidates) else {
            return vec![0; nodes.len()];
        };
        let mut scores: Vec<i64> =
            nodes.iter().zip(0..).map(|(node, index)| score.score(index, node)).collect();
        score.normalize(&mut scores);
        scores
    }
}
