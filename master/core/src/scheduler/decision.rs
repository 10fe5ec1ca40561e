//! One pod's search for a node: filters, then scores.
//!
//! Changes nothing: who asked assumes the pod where it was found a place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::cluster::{Cluster, Terms};
use super::node_info::NodeInfo;
use super::nominations::Nominations;
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
    /// Why no room can be made.
    pub preemption: Option<String>,
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
        match &self.whole {
            Some(whole) => write!(formatter, "{whole}.")?,
            None => write!(formatter, "{}.", counted(&self.reasons))?,
        }
        match &self.preemption {
            Some(why) => write!(formatter, " preemption: {why}"),
            None => Ok(()),
        }
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
    nominations: &'a Nominations,
    /// The nodes that could do if other pods went, in order.
    resolvable: Vec<usize>,
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
        nominations: &'a Nominations,
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
        Self { pod, context, filters, nominations, resolvable: Vec::new(), refused }
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
                preemption: None,
                refusers: vec![plugin],
            });
        }
        // Room was made for it there.
        let nominated = self.nominations.node_of(&self.pod.meta.uid);
        if let Some(index) = nominated.and_then(|node| self.context.cluster.index_of(node))
            && let Some(node) = nodes.get(index)
            && self.ask(index, node).is_ok()
        {
            return Ok(index);
        }
        let named = self.context.cluster.named_for(self.pod);
        let wanted = feasible_wanted(total);
        let mut candidates = Vec::with_capacity(wanted.min(total));
        let mut refusals: BTreeMap<(usize, Refusal), usize> = BTreeMap::new();
        let mut resolvable = Vec::new();
        let mut look = |index: usize, node: &NodeInfo| {
            match self.ask(index, node) {
                Ok(()) => candidates.push(index),
                Err(refusal) => {
                    if refusal.1.resolvable {
                        resolvable.push(index);
                    }
                    *refusals.entry(refusal).or_default() += 1;
                }
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
            resolvable.sort_unstable();
            self.resolvable = resolvable;
            let absent = named.map_or(0, |named| total.saturating_sub(named.len()));
            return Err(self.unschedulable(refusals, absent));
        }
        Ok(self.best(&candidates))
    }

    /// The pod that a node is sought for.
    #[must_use]
    pub const fn pod(&self) -> &'a PodView {
        self.pod
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &'a [NodeInfo] {
        self.context.cluster.nodes()
    }

    /// The other objects.
    #[must_use]
    pub const fn snapshot(&self) -> &'a Snapshot {
        self.context.snapshot
    }

    /// The nodes that could do if other pods went, after a search in vain.
    #[must_use]
    pub fn resolvable(&self) -> Vec<usize> {
        self.resolvable.clone()
    }

    /// Reckons with another pod on a node (`by` is 1), or with one less (-1).
    pub fn shift(&mut self, pod: &PodView, index: usize, by: i64) {
        for (_, filter) in &mut self.filters {
            filter.shift(pod, index, by);
        }
    }

    /// Asks all filters about one node, with and without the pods for which room is being made
    /// there.
    ///
    /// # Errors
    ///
    /// Returns what the first filter that refuses says, and its place.
    pub fn ask(&mut self, index: usize, node: &NodeInfo) -> Result<(), (usize, Refusal)> {
        let ahead = self.nominations.ahead_of(self.pod, &node.node.meta.name);
        if !ahead.is_empty() {
            let mut with = node.clone();
            ahead.iter().for_each(|pod| with.add(pod));
            self.shift_all(&ahead, index, 1);
            let found = self.ask_filters(index, &with);
            self.shift_all(&ahead, index, -1);
            found?;
        }
        self.ask_filters(index, node)
    }

    fn shift_all(&mut self, pods: &[Arc<PodView>], index: usize, by: i64) {
        pods.iter().for_each(|pod| self.shift(pod, index, by));
    }

    fn ask_filters(&self, index: usize, node: &NodeInfo) -> Result<(), (usize, Refusal)> {
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
        Unschedulable { nodes, reasons, whole: None, preemption: None, refusers }
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
