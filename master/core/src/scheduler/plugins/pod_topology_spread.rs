//! Spreads the like of a pod over places, as its constraints say; without constraints rather over
//! nodes and zones, so that one dead board does not take them all.

use super::node_affinity::{restricted, selected};
use super::taint_toleration::tolerated;
use super::{Context, Filter, FilterPlugin, MAX, Prepared, Refusal, Score, ScorePlugin};
use crate::scheduler::cluster::{Cluster, ZONE_LABEL, owner};
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::scheduler::topology::{Topologies, TopologyId};
use crate::view::pod::PodView;
use crate::view::topology_spread::SpreadConstraint;

const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
/// Upstream's constraints for pods that have none: by node and by zone.
const DEFAULT_SKEW_NODE: f64 = 3.0;
const DEFAULT_SKEW_ZONE: f64 = 5.0;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct PodTopologySpread;

/// One constraint that must hold.
#[derive(Debug)]
struct Hard<'a> {
    constraint: &'a SpreadConstraint,
    near: TopologyId,
    /// Pods by place; `None` where no node counts.
    counts: Vec<Option<i64>>,
    /// 1 if the pod itself will count.
    own: i64,
    least: i64,
}

impl Hard<'_> {
    fn find_least(&mut self) {
        let present = || self.counts.iter().flatten();
        let places = i64::try_from(present().count()).unwrap_or(i64::MAX);
        let few = places < self.constraint.min_domains;
        self.least = if few { 0 } else { present().copied().min().unwrap_or_default() };
    }
}

#[derive(Debug)]
struct Ready<'a> {
    pod: &'a PodView,
    cluster: &'a Cluster,
    hard: Vec<Hard<'a>>,
}

/// Whether a node counts for a constraint of a pod.
fn counts(constraint: &SpreadConstraint, pod: &PodView, node: &NodeInfo, free: bool) -> bool {
    (free || constraint.ignore_node_affinity || selected(pod, &node.node))
        && (!constraint.honor_taints || !node.has_hard_taints || tolerated(pod, &node.node))
}

fn counted(constraint: &SpreadConstraint, pod: &PodView) -> bool {
    !pod.meta.deleting() && constraint.pods.selects(&pod.meta.labels, &pod.meta.namespace, None)
}

fn place(topologies: &Topologies, near: TopologyId, node: usize) -> Option<usize> {
    topologies.get(near).and_then(|topology| topology.place(node))
}

impl FilterPlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn prepare<'a>(&self, pod: &'a PodView, context: &Context<'a>) -> Prepared<'a> {
        let Context { cluster, terms, .. } = *context;
        let topologies = cluster.topologies();
        let known = pod.spread.iter().zip(&terms.spread);
        let required: Vec<_> = known.filter(|(constraint, _)| constraint.required).collect();
        if required.is_empty() {
            return Prepared::Skip;
        }
        let free = !restricted(pod);
        let mut hard: Vec<Hard<'_>> = Vec::with_capacity(required.len());
        for (constraint, (_, near)) in &required {
            let places = topologies.get(*near).map_or(0, |topology| topology.len());
            let own = i64::from(counted(constraint, pod));
            let counts = vec![None; places];
            hard.push(Hard { constraint, near: *near, counts, own, least: 0 });
        }
        for (node, index) in cluster.nodes().iter().zip(0..) {
            // A node without one of the labels counts for none of the constraints.
            if hard.iter().any(|it| place(topologies, it.near, index).is_none()) {
                continue;
            }
            for (it, (_, (group, _))) in hard.iter_mut().zip(&required) {
                if !counts(it.constraint, pod, node, free) {
                    continue;
                }
                let group = cluster.groups().get(*group);
                let here = group.and_then(|group| group.counts.get(index)).copied();
                let slot = place(topologies, it.near, index);
                if let Some(slot) = slot.and_then(|place| it.counts.get_mut(place)) {
                    *slot = Some(slot.unwrap_or_default() + here.unwrap_or_default());
                }
            }
        }
        hard.iter_mut().for_each(Hard::find_least);
        Prepared::Ask(Box::new(Ready { pod, cluster, hard }))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        let required = || pod.spread.iter().filter(|constraint| constraint.required);
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeChanged { old, new, .. } => {
                event.node_labels_changed() || old.taints != new.taints
            }
            // One more in the emptiest place makes room in the others.
            ClusterEvent::PodPlaced(other) | ClusterEvent::PodGone { pod: other, .. } => {
                let selects = |it: &SpreadConstraint| {
                    it.pods.selects(&other.meta.labels, &other.meta.namespace, None)
                };
                required().any(selects)
            }
            ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Ready<'_> {
    fn filter(&self, index: usize, _: &NodeInfo) -> Result<(), Refusal> {
        for it in &self.hard {
            let Some(place) = place(self.cluster.topologies(), it.near, index) else {
                let reason =
                    "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Refusal::lasting(reason));
            };
            let here = it.counts.get(place).copied().flatten().unwrap_or_default();
            if here + it.own - it.least > it.constraint.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Refusal::resolvable(reason));
            }
        }
        Ok(())
    }

    fn shift(&mut self, other: &PodView, index: usize, by: i64) {
        let Some(node) = self.cluster.node(index) else { return };
        let free = !restricted(self.pod);
        for it in &mut self.hard {
            if !counted(it.constraint, other) || !counts(it.constraint, self.pod, node, free) {
                continue;
            }
            let place = place(self.cluster.topologies(), it.near, index);
            if let Some(Some(count)) = place.and_then(|place| it.counts.get_mut(place)) {
                *count += by;
            }
            it.find_least();
        }
    }
}

/// One constraint that nodes are compared by.
#[derive(Debug)]
struct Soft {
    /// Pods on each node, or by place.
    counts: Vec<i64>,
    /// The label; `None` for the node itself.
    near: Option<TopologyId>,
    weight: f64,
    skew: f64,
}

#[derive(Debug)]
struct Wishes<'a> {
    topologies: &'a Topologies,
    soft: Vec<Soft>,
    /// Whether a node without one of the labels is not wanted at all.
    all_labels: bool,
}

/// Stands for a node that is not wanted at all until scores are normalized.
const UNWANTED: i64 = i64::MAX;

#[expect(clippy::cast_precision_loss, reason = "as many places or pods are never there")]
fn weight(places: usize) -> f64 {
    ((places + 2) as f64).ln()
}

impl ScorePlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        context: &Context<'a>,
        candidates: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let topologies = context.cluster.topologies();
        let soft = if pod.spread.is_empty() {
            default_wishes(pod, context, candidates)
        } else {
            own_wishes(pod, context, candidates)
        };
        let all_labels = !pod.spread.is_empty();
        (!soft.is_empty())
            .then(|| Box::new(Wishes { topologies, soft, all_labels }) as Box<dyn Score>)
    }
}

/// How many places candidates are in.
fn places_of(topologies: &Topologies, near: TopologyId, candidates: &[usize]) -> usize {
    let Some(topology) = topologies.get(near) else { return 0 };
    let mut seen = vec![false; topology.len()];
    for place in candidates.iter().filter_map(|index| topology.place(*index)) {
        if let Some(seen) = seen.get_mut(place) {
            *seen = true;
        }
    }
    seen.into_iter().filter(|seen| *seen).count()
}

fn own_wishes(pod: &PodView, context: &Context<'_>, candidates: &[usize]) -> Vec<Soft> {
    let Context { cluster, terms, .. } = *context;
    let topologies = cluster.topologies();
    let free = !restricted(pod);
    let known = pod.spread.iter().zip(&terms.spread).filter(|(it, _)| !it.required);
    let all: Vec<_> = known.collect();
    let complete =
        |index: &usize| all.iter().all(|(_, (_, near))| place(topologies, *near, *index).is_some());
    let complete: Vec<usize> = candidates.iter().copied().filter(complete).collect();
    let mut soft = Vec::with_capacity(all.len());
    for (constraint, (group, near)) in &all {
        let of_nodes = cluster.groups().get(*group).map(|it| &*it.counts).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a skew is small")]
        let skew = constraint.max_skew as f64;
        if &*constraint.topology_key == HOSTNAME_LABEL {
            let weight = weight(complete.len());
            soft.push(Soft { counts: of_nodes.to_vec(), near: None, weight, skew });
            continue;
        }
        let nodes = cluster.nodes().iter().zip(of_nodes);
        let counting =
            nodes.map(|(node, count)| if counts(constraint, pod, node, free) { *count } else { 0 });
        let counting: Vec<i64> = counting.collect();
        let counts = topologies.get(*near).map(|it| it.sum(&counting)).unwrap_or_default();
        let weight = weight(places_of(topologies, *near, &complete));
        soft.push(Soft { counts, near: Some(*near), weight, skew });
    }
    soft
}

/// The like of a pod without constraints are those of its owner.
fn default_wishes(pod: &PodView, context: &Context<'_>, candidates: &[usize]) -> Vec<Soft> {
    let cluster = context.cluster;
    let Some(owned) = owner(pod).and_then(|owner| cluster.owned_by(owner)) else {
        return Vec::new();
    };
    let mut of_nodes = vec![0; cluster.nodes().len()];
    for (index, count) in owned {
        if let Some(slot) = of_nodes.get_mut(*index) {
            *slot = *count;
        }
    }
    let mut soft = Vec::with_capacity(2);
    let topologies = cluster.topologies();
    let zones = topologies.id(ZONE_LABEL).and_then(|id| Some((id, topologies.get(id)?)));
    if let Some((near, zones)) = zones.filter(|(_, zones)| !zones.is_empty()) {
        soft.push(Soft {
            counts: zones.sum(&of_nodes),
            near: Some(near),
            weight: weight(places_of(topologies, near, candidates)),
            skew: DEFAULT_SKEW_ZONE,
        });
    }
    let weight = weight(candidates.len());
    soft.push(Soft { counts: of_nodes, near: None, weight, skew: DEFAULT_SKEW_NODE });
    soft
}

impl Score for Wishes<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a cast from f64 saturates, and as many pods are never there"
    )]
    fn score(&self, index: usize, _: &NodeInfo) -> i64 {
        let mut sum = 0.0;
        for it in &self.soft {
            let slot = match it.near {
                None => Some(index),
                Some(near) => place(self.topologies, near, index),
            };
            match slot {
                Some(slot) => {
                    let count = it.counts.get(slot).copied().unwrap_or_default();
                    sum += (count as f64).mul_add(it.weight, it.skew - 1.0);
                }
                None if self.all_labels => return UNWANTED,
                None => {}
            }
        }
        sum.round() as i64
    }

    fn normalize(&self, scores: &mut [i64]) {
        let wanted = || scores.iter().copied().filter(|score| *score != UNWANTED);
        let least = wanted().min().unwrap_or_default();
        let most = wanted().max().unwrap_or_default();
        for score in scores {
            *score = match (*score, most) {
                (UNWANTED, _) => 0,
                (_, 0) => MAX,
                (score, most) => MAX * (most + least - score) / most,
            };
        }
    }
}
