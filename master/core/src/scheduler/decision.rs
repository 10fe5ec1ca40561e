//! One pod's search for a node: filters, then scores.
//!
//! Changes nothing: who asked assumes the pod where it was found a place.

use std::collections::BTreeMap;
use std::fmt;

use super::cluster::{Cluster, Terms};
use super::node_info::NodeInfo;
use super::plugins::{Context, FILTERS, Filter, FilterPlugin, Prepared, Refusal, SCORES};
use super::queue::Refusers;
use crate::snapshot::Snapshot;
use crate::view::pod::PodView;

/// Below this number of nodes all are looked at, as upstream.
const FEASIBLE_MIN: usize = 100;

/// Why a pod could not be placed.
#[derive(Clone, Debug)]
pub struct Unschedulable {
    /// The number of nodes.
    nodes: usize,
    /// How many nodes were refused for each reason; for all of them if `whole` is set.
    reasons: BTreeMap<String, usize>,
    /// What spoke against every node at once.
    whole: Option<String>,
    /// The plug-ins that refused.
    pub refusers: Refusers,
}

impl fmt::Display for Unschedulable {
    /// Writes upstream's text: `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return write!(formatter, "no nodes available to schedule pods");
        }
        write!(formatter, "0/{} nodes are available: ", self.nodes)?;
        if let Some(whole) = &self.whole {
            return write!(formatter, "{whole}.");
        }
        write!(formatter, "{}.", counted(&self.reasons))
    }
}

/// Reasons with their counts, in the order of the text as upstream.
pub(super) fn counted(reasons: &BTreeMap<String, usize>) -> String {
    let counted = reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
    let mut counted: Vec<String> = counted.collect();
    counted.sort();
    counted.join(", ")
}

/// A filter that is ready, with the plug-in that made it.
type Ready<'a> = (&'static dyn FilterPlugin, Box<dyn Filter + 'a>);

/// A search that is being made.
#[derive(Debug)]
pub struct Decision<'a> {
    pod: &'a PodView,
    context: Context<'a>,
    filters: Vec<Ready<'a>>,
    /// What a plug-in said before any node was looked at.
    refused: Option<(&'static dyn FilterPlugin, Refusal)>,
}

impl<'a> Decision<'a> {
    /// Gets the plug-ins ready. `terms` are what the cluster learnt of the pod.
    #[must_use]
    pub fn new(
        pod: &'a PodView,
        cluster: &'a Cluster,
        snapshot: &'a Snapshot,
        terms: &'a Terms,
    ) -> Self {
        let context = Context { cluster, snapshot, terms };
        let mut filters = Vec::with_capacity(FILTERS.len());
        let mut refused = None;
        for plugin in FILTERS {
            match plugin.prepare(pod, &context) {
                Prepared::Skip => {}
                Prepared::Ask(filter) => filters.push((plugin, filter)),
                Prepared::Refuse(refusal) => {
                    refused = Some((plugin, refusal));
                    break;
                }
            }
        }
        Self { pod, context, filters, refused }
    }

    /// Finds the best node, by its index. `next_start` is where the search begins, and is moved on.
    ///
    /// # Errors
    ///
    /// Returns [`Unschedulable`] with the count of every reason if no node fits.
    pub fn find_node(&mut self, next_start: &mut usize) -> Result<usize, Unschedulable> {
        let nodes = self.context.cluster.nodes();
        let total = nodes.len();
        if let Some((plugin, refusal)) = self.refused.take() {
            return Err(Unschedulable {
                nodes: total,
                reasons: BTreeMap::new(),
                whole: Some(refusal.reasons.join(", ")),
                refusers: vec![plugin],
            });
        }
        let named = self.context.cluster.named_for(self.pod);
        let wanted = feasible_wanted(total);
        let mut candidates = Vec::with_capacity(wanted.min(total));
        let mut refusals: BTreeMap<(usize, Refusal), usize> = BTreeMap::new();
        let mut look = |index: usize, node: &NodeInfo| {
            match self.ask(index, node) {
                Ok(()) => candidates.push(index),
                Err(refusal) => *refusals.entry(refusal).or_default() += 1,
            }
            candidates.len() < wanted
        };
        if let Some(named) = &named {
            for (index, node) in named.iter().filter_map(|it| Some((*it, nodes.get(*it)?))) {
                look(index, node);
            }
        } else {
            let (before, after) = nodes.split_at((*next_start).min(total));
            let from = before.len();
            let mut visited = 0;
            for (node, index) in after.iter().zip(from..).chain(before.iter().zip(0..)) {
                visited += 1;
                if !look(index, node) {
                    break;
                }
            }
            *next_start = (from + visited) % total.max(1);
        }
        if candidates.is_empty() {
            let absent = named.map_or(0, |named| total.saturating_sub(named.len()));
            return Err(self.unschedulable(refusals, absent));
        }
        Ok(self.best(&candidates))
    }

    /// Asks all filters about one node; an error names the filter by its place.
    fn ask(&self, index: usize, node: &NodeInfo) -> Result<(), (usize, Refusal)> {
        for ((_, filter), place) in self.filters.iter().zip(0..) {
            filter.filter(index, node).map_err(|refusal| (place, refusal))?;
        }
        Ok(())
    }

    fn unschedulable(
        &self,
        refusals: BTreeMap<(usize, Refusal), usize>,
        absent: usize,
    ) -> Unschedulable {
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut refusers: Refusers = Vec::new();
        let mut last = None;
        for ((place, refusal), count) in refusals {
            if last.replace(place) != Some(place) {
                refusers.extend(self.filters.get(place).map(|(plugin, _)| *plugin));
            }
            for reason in refusal.reasons {
                *reasons.entry(reason.into_owned()).or_default() += count;
            }
        }
        if absent > 0 {
            let affinity: &dyn FilterPlugin = &super::plugins::node_affinity::NodeAffinity;
            refusers.push(affinity);
            reasons
                .insert(format!("node(s) didn't satisfy plugin(s) [{}]", affinity.name()), absent);
        }
        let nodes = self.context.cluster.nodes().len();
        if nodes == 0 {
            // Any node that comes may do.
            refusers.push(&super::plugins::node_name::NodeName);
        }
        Unschedulable { nodes, reasons, whole: None, refusers }
    }

    /// The candidate with the best weighted sum of scores; the first of equals, which is another
    /// one each time since the search begins elsewhere.
    fn best(&self, candidates: &[usize]) -> usize {
        let [first, ..] = candidates else { return 0 };
        if candidates.len() == 1 {
            return *first;
        }
        let nodes = self.context.cluster.nodes();
        let mut totals = vec![0_i64; candidates.len()];
        let mut scores = Vec::with_capacity(candidates.len());
        for plugin in SCORES {
            let Some(score) = plugin.prepare(self.pod, &self.context, candidates) else { continue };
            scores.clear();
            let known = candidates.iter().map(|index| (*index, nodes.get(*index)));
            scores
                .extend(known.map(|(index, node)| node.map_or(0, |node| score.score(index, node))));
            score.normalize(&mut scores);
            for (total, points) in totals.iter_mut().zip(&scores) {
                *total += plugin.weight() * points;
            }
        }
        let mut best = (i64::MIN, *first);
        for (total, index) in totals.iter().zip(candidates) {
            if *total > best.0 {
                best = (*total, *index);
            }
        }
        best.1
    }
}

/// How many nodes that fit are enough to choose from: upstream's adaptive percentage.
fn feasible_wanted(nodes: usize) -> usize {
    let percentage = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percentage / 100).max(FEASIBLE_MIN).min(nodes)
}
