//! Makes room for an important pod: which less important pods would have to go, and from where?
//!
//! Decides only; who asked has the victims evicted, and the pod waits until they are gone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::scheduler::decision::{Decision, counted};
use crate::scheduler::node_info::NodeInfo;
use crate::snapshot::Snapshot;
use crate::view::pod::PodView;
use crate::view::timestamp::Timestamp;

/// Nodes found able to make room after which the search ends: upstream's bounds.
const CANDIDATES_MIN: usize = 100;
const CANDIDATES_SHARE: usize = 10;

/// Pods that have to go from one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Victims {
    /// The node's index.
    pub node: usize,
    /// The pods, the most important first.
    pub pods: Vec<Arc<PodView>>,
    /// How many of them a disruption budget wants to keep.
    violations: usize,
}

impl Victims {
    /// The smaller, the less harm: upstream's order of criteria.
    fn harm(&self) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
        let most = self.pods.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
        // Raised, so that many pods of a negative priority weigh more than few.
        let raised = |pod: &Arc<PodView>| i64::from(pod.priority) + i64::from(i32::MAX) + 1;
        let earliest = self.pods.iter().filter(|pod| pod.priority == most).map(|pod| started(pod));
        (
            self.violations,
            most,
            self.pods.iter().map(raised).sum(),
            self.pods.len(),
            Reverse(earliest.min().unwrap_or_default()),
        )
    }
}

fn started(pod: &PodView) -> Timestamp {
    // A pod that has not started is the youngest.
    pod.start_time.unwrap_or(Timestamp(i64::MAX))
}

/// The more important pod first.
fn importance(pod: &PodView) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

/// Finds the node whose pods can make room with the least harm.
///
/// # Errors
///
/// Returns upstream's words on why there is none.
pub fn find_victims(decision: &mut Decision<'_>, next_start: usize) -> Result<Victims, String> {
    let pod = decision.pod();
    if !pod.may_preempt {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    let nodes = decision.nodes();
    let total = nodes.len();
    let enough = (total / CANDIDATES_SHARE).max(CANDIDATES_MIN).min(total);
    let helpful = decision.resolvable();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let hopeless = total.saturating_sub(helpful.len());
    if hopeless > 0 {
        reasons.insert("Preemption is not helpful for scheduling".to_owned(), hopeless);
    }
    let from = helpful.partition_point(|index| *index < next_start);
    let mut found: Vec<Victims> = Vec::new();
    for index in helpful.iter().skip(from).chain(helpful.iter().take(from)) {
        let Some(node) = nodes.get(*index) else { continue };
        match victims_on(decision, *index, node) {
            Ok(victims) => found.push(victims),
            Err(why) => {
                for reason in why {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
        if found.len() >= enough {
            break;
        }
    }
    let best = found.into_iter().min_by_key(Victims::harm);
    best.ok_or_else(|| format!("0/{total} nodes are available: {}.", counted(&reasons)))
}

/// Takes all less important pods away, and gives back as many as can stay.
fn victims_on(
    decision: &mut Decision<'_>,
    index: usize,
    node: &NodeInfo,
) -> Result<Victims, Vec<String>> {
    let priority = decision.pod().priority;
    let less = node.pods().filter(|other| other.priority < priority);
    let mut less: Vec<Arc<PodView>> = less.cloned().collect();
    if less.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    less.sort_by_key(|pod| importance(pod));
    let mut left = node.clone();
    for pod in &less {
        left.remove(pod);
        decision.shift(pod, index, -1);
    }
    let result = match decision.ask(index, &left) {
        Err((_, refusal)) => {
            Err(refusal.reasons.into_iter().map(std::borrow::Cow::into_owned).collect())
        }
        Ok(()) => Ok(spare(decision, index, &mut left, &less)),
    };
    // The filters must be as they were for the next node; what was spared is back already.
    let gone: &[Arc<PodView>] = result.as_ref().map_or(&less, |victims: &Victims| &victims.pods);
    for pod in gone {
        decision.shift(pod, index, 1);
    }
    result
}

/// Gives back what can stay, first what disruption budgets want to keep, then by importance.
fn spare(
    decision: &mut Decision<'_>,
    index: usize,
    left: &mut NodeInfo,
    less: &[Arc<PodView>],
) -> Victims {
    let (protected, others) = by_budgets(decision.snapshot(), less);
    let mut victims = Victims { node: index, pods: Vec::new(), violations: 0 };
    for (pod, violates) in
        protected.iter().map(|pod| (pod, true)).chain(others.iter().map(|pod| (pod, false)))
    {
        left.add(pod);
        decision.shift(pod, index, 1);
        if decision.ask(index, left).is_err() {
            left.remove(pod);
            decision.shift(pod, index, -1);
            victims.pods.push(Arc::clone(pod));
            victims.violations += usize::from(violates);
        }
    }
    victims.pods.sort_by_key(|pod| importance(pod));
    victims
}

/// Splits pods into those whose budget is used up by the ones before them, and the others.
fn by_budgets(
    snapshot: &Snapshot,
    pods: &[Arc<PodView>],
) -> (Vec<Arc<PodView>>, Vec<Arc<PodView>>) {
    let mut allowed: BTreeMap<&str, i64> = BTreeMap::new();
    let mut violates = |pod: &Arc<PodView>| {
        let mut violated = false;
        for budget in snapshot.disruption_budgets_in(&pod.meta.namespace) {
            let counted = budget.status.disrupted_pods.contains_key(&pod.meta.name);
            if counted || !budget.covers(&pod.meta.labels) {
                continue;
            }
            let left = allowed.entry(&budget.meta.uid).or_insert(budget.status.disruptions_allowed);
            *left -= 1;
            violated |= *left < 0;
        }
        violated
    };
    pods.iter().cloned().partition(|pod| violates(pod))
}
