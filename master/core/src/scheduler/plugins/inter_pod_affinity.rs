//! Keeps pods near to those that they need and away from those that they or the others do not bear.
//!
//! What is near is said by a label of nodes. All sums come from counts that follow placements, so
//! that this costs the same whatever number of pods is placed.

use super::{Context, Filter, FilterPlugin, MAX, Prepared, Refusal, Score, ScorePlugin};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::groups::{Groups, Namespaces};
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::scheduler::topology::{Topologies, TopologyId};
use crate::view::pod::PodView;
use crate::view::pod_affinity::PodTerm;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct InterPodAffinity;

/// Numbers by place, of one label.
#[derive(Debug)]
struct Places {
    near: TopologyId,
    sums: Vec<i64>,
}

impl Places {
    fn new(near: TopologyId, of_nodes: &[i64], topologies: &Topologies) -> Self {
        let sums = topologies.get(near).map(|topology| topology.sum(of_nodes));
        Self { near, sums: sums.unwrap_or_default() }
    }

    /// The sum at a node's place; `None` if the node has no such place.
    fn at(&self, node: usize, topologies: &Topologies) -> Option<i64> {
        let place = topologies.get(self.near)?.place(node)?;
        Some(self.sums.get(place).copied().unwrap_or_default())
    }

    fn shift(&mut self, node: usize, by: i64, topologies: &Topologies) {
        let place = topologies.get(self.near).and_then(|topology| topology.place(node));
        let Some(place) = place else { return };
        if self.sums.len() <= place {
            self.sums.resize(place + 1, 0);
        }
        if let Some(sum) = self.sums.get_mut(place) {
            *sum += by;
        }
    }
}

#[derive(Debug)]
struct Ready<'a> {
    pod: &'a PodView,
    topologies: &'a Topologies,
    namespaces: &'a Namespaces,
    /// Pods that all of the pod's terms mean, for each term's label.
    required: Vec<Places>,
    /// Whether the pod means itself: then the first of its like may go anywhere.
    means_itself: bool,
    /// Pods that the pod does not bear, for each of its terms.
    anti: Vec<Places>,
    /// Pods that do not bear the pod.
    borne_by_none: Vec<Places>,
}

fn terms(pod: &PodView) -> (&[PodTerm], &[PodTerm]) {
    pod.pod_affinity.as_ref().map_or((&[], &[]), |it| (&it.required, &it.required_anti))
}

fn means(term: &PodTerm, pod: &PodView, namespaces: &Namespaces) -> bool {
    let namespace = &pod.meta.namespace;
    term.pods.selects(&pod.meta.labels, namespace, namespaces.get(namespace))
}

impl FilterPlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn prepare<'a>(&self, pod: &'a PodView, context: &Context<'a>) -> Prepared<'a> {
        let Context { cluster, terms: known, .. } = *context;
        let (groups, topologies) = (cluster.groups(), cluster.topologies());
        let namespaces = cluster.namespaces();
        let places = |group, near| {
            let counts = groups.get(group).map(|group| &*group.counts).unwrap_or_default();
            Places::new(near, counts, topologies)
        };
        let required = known
            .required
            .iter()
            .flat_map(|(group, labels)| labels.iter().map(|near| places(*group, *near)));
        let required: Vec<_> = required.collect();
        let anti: Vec<_> =
            known.required_anti.iter().map(|(group, near)| places(*group, *near)).collect();
        let borne_by_none = of_others(pod, groups, topologies, namespaces);
        if required.is_empty() && anti.is_empty() && borne_by_none.is_empty() {
            return Prepared::Skip;
        }
        let means_itself = terms(pod).0.iter().all(|term| means(term, pod, namespaces));
        Prepared::Ask(Box::new(Ready {
            pod,
            topologies,
            namespaces,
            required,
            means_itself,
            anti,
            borne_by_none,
        }))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, cluster: &Cluster) -> bool {
        let names = cluster.namespaces();
        let (near, away) = terms(pod);
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeChanged { .. } => event.node_labels_changed(),
            ClusterEvent::PodPlaced(placed) => near.iter().any(|term| means(term, placed, names)),
            ClusterEvent::PodGone { pod: gone, .. } => {
                away.iter().any(|term| means(term, gone, names))
                    || terms(gone).1.iter().any(|term| means(term, pod, names))
            }
            ClusterEvent::Volumes { .. } => false,
        }
    }
}

/// Where placed pods are that do not bear this one.
fn of_others(
    pod: &PodView,
    groups: &Groups,
    topologies: &Topologies,
    namespaces: &Namespaces,
) -> Vec<Places> {
    let mut all: Vec<Places> = Vec::new();
    for group in groups.of(pod, namespaces).into_iter().filter_map(|id| groups.get(id)) {
        for (near, held) in group.held.iter().filter(|(_, held)| held.forbids()) {
            let places = Places::new(*near, &held.anti, topologies);
            match all.iter_mut().find(|present| present.near == *near) {
                Some(present) => {
                    present.sums.iter_mut().zip(&places.sums).for_each(|(sum, more)| *sum += more);
                }
                None => all.push(places),
            }
        }
    }
    all
}

impl Filter for Ready<'_> {
    fn filter(&self, index: usize, _: &NodeInfo) -> Result<(), Refusal> {
        let found: Option<Vec<i64>> =
            self.required.iter().map(|places| places.at(index, self.topologies)).collect();
        let Some(found) = found else {
            return Err(Refusal::lasting("node(s) didn't match pod affinity rules"));
        };
        if found.contains(&0) {
            let none = self.required.iter().all(|places| places.sums.iter().all(|sum| *sum == 0));
            if !(none && self.means_itself) {
                return Err(Refusal::lasting("node(s) didn't match pod affinity rules"));
            }
        }
        let any = |places: &Places| places.at(index, self.topologies).is_some_and(|sum| sum > 0);
        if self.anti.iter().any(any) {
            return Err(Refusal::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        if self.borne_by_none.iter().any(any) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Refusal::resolvable(reason));
        }
        Ok(())
    }

    fn shift(&mut self, other: &PodView, index: usize, by: i64) {
        let (near, away) = terms(self.pod);
        if !near.is_empty() && near.iter().all(|term| means(term, other, self.namespaces)) {
            self.required.iter_mut().for_each(|it| it.shift(index, by, self.topologies));
        }
        for (term, places) in away.iter().zip(&mut self.anti) {
            if means(term, other, self.namespaces) {
                places.shift(index, by, self.topologies);
            }
        }
        for term in terms(other).1.iter().filter(|term| means(term, self.pod, self.namespaces)) {
            let Some(near) = self.topologies.id(&term.topology_key) else { continue };
            let at = self.borne_by_none.iter().position(|places| places.near == near);
            let at = at.unwrap_or_else(|| {
                self.borne_by_none.push(Places { near, sums: Vec::new() });
                self.borne_by_none.len() - 1
            });
            if let Some(places) = self.borne_by_none.get_mut(at) {
                places.shift(index, by, self.topologies);
            }
        }
    }
}

/// Sums of weights by place.
#[derive(Debug)]
struct Wishes<'a> {
    topologies: &'a Topologies,
    places: Vec<Places>,
}

impl ScorePlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        context: &Context<'a>,
        _: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let Context { cluster, terms: known, .. } = *context;
        let (groups, topologies) = (cluster.groups(), cluster.topologies());
        let mut places = Vec::new();
        for (group, near, weight) in &known.preferred {
            let Some(group) = groups.get(*group).filter(|group| group.total > 0) else { continue };
            let mut found = Places::new(*near, &group.counts, topologies);
            found.sums.iter_mut().for_each(|sum| *sum *= weight);
            places.push(found);
        }
        for group in groups.of(pod, cluster.namespaces()) {
            let held = groups.get(group).into_iter().flat_map(|group| &group.held);
            for (near, held) in held.filter(|(_, held)| held.wishes()) {
                places.push(Places::new(*near, &held.weight, topologies));
            }
        }
        (!places.is_empty()).then(|| Box::new(Wishes { topologies, places }) as Box<dyn Score>)
    }
}

impl Score for Wishes<'_> {
    fn score(&self, index: usize, _: &NodeInfo) -> i64 {
        self.places.iter().filter_map(|places| places.at(index, self.topologies)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let least = scores.iter().copied().min().unwrap_or_default();
        let most = scores.iter().copied().max().unwrap_or_default();
        for score in scores {
            *score = if most > least { (*score - least) * MAX / (most - least) } else { 0 };
        }
    }
}
