//! Keeps a node from being over-committed, and prefers nodes with much left over.

use std::borrow::Cow;

use super::{Context, Filter, FilterPlugin, MAX, Prepared, Refusal, Score, ScorePlugin};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::{NodeInfo, requests_or_default};
use crate::scheduler::queue::ClusterEvent;
use crate::view::pod::PodView;
use crate::view::quantity::Resources;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesFit;

#[derive(Debug)]
struct Wanted<'a>(&'a PodView);

/// Refuses a node on which any requested resource is short. A resource that is not requested is
/// never short, even on a node that is over-committed already.
fn fits(wanted: &Resources, node: &NodeInfo) -> Result<(), Refusal> {
    let used = &node.requested;
    let total = &node.node.allocatable;
    let mut reasons = Vec::new();
    let mut resolvable = true;
    if used.pods + 1 > total.pods {
        reasons.push(Cow::Borrowed("Too many pods"));
    }
    let mut check = |wanted: i64, used: i64, total: i64, reason: &dyn Fn() -> Cow<'static, str>| {
        if wanted > 0 && wanted > total.saturating_sub(used) {
            reasons.push(reason());
            // More than the whole node has.
            resolvable &= wanted <= total;
        }
    };
    let fixed = |reason: &'static str| move || Cow::Borrowed(reason);
    check(wanted.cpu_milli, used.cpu_milli, total.cpu_milli, &fixed("Insufficient cpu"));
    check(wanted.memory, used.memory, total.memory, &fixed("Insufficient memory"));
    check(
        wanted.ephemeral_storage,
        used.ephemeral_storage,
        total.ephemeral_storage,
        &fixed("Insufficient ephemeral-storage"),
    );
    for (name, amount) in &wanted.extended {
        let of = |resources: &Resources| resources.extended.get(name).copied().unwrap_or_default();
        check(*amount, of(used), of(total), &|| Cow::Owned(format!("Insufficient {name}")));
    }
    if reasons.is_empty() { Ok(()) } else { Err(Refusal { reasons, resolvable }) }
}

impl FilterPlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        Prepared::Ask(Box::new(Wanted(pod)))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, cluster: &Cluster) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => node.allocatable.pods > 0,
            ClusterEvent::NodeChanged { old, new, index } => {
                old.allocatable != new.allocatable
                    && cluster.node(*index).is_some_and(|node| fits(&pod.requests, node).is_ok())
            }
            ClusterEvent::PodGone { node, .. } => {
                let node = node.and_then(|node| cluster.node(node));
                node.is_some_and(|node| fits(&pod.requests, node).is_ok())
            }
            ClusterEvent::PodPlaced(_) | ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Wanted<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        fits(&self.0.requests, node)
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodView,
        _: &Context<'a>,
        _: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        Some(Box::new(Wanted(pod)))
    }
}

impl Score for Wanted<'_> {
    /// The mean of the free shares of CPU and memory after the pod was added.
    fn score(&self, _: usize, node: &NodeInfo) -> i64 {
        let (cpu, memory) = requests_or_default(self.0);
        let (used_cpu, used_memory) = node.requested_or_default;
        let total = &node.node.allocatable;
        let cpu = free_share(used_cpu.saturating_add(cpu), total.cpu_milli);
        let memory = free_share(used_memory.saturating_add(memory), total.memory);
        i64::midpoint(cpu, memory)
    }
}

const fn free_share(used: i64, total: i64) -> i64 {
    if total <= 0 || used > total { 0 } else { (total - used).saturating_mul(MAX) / total }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::check;
    use super::NodeResourcesFit;

    fn pod(requests: Value) -> Arc<crate::view::pod::PodView> {
        let containers = json!([{"resources": {"requests": requests}}]);
        Arc::new(check::pod(json!({"spec": {"containers": containers}})))
    }

    #[test]
    fn what_pods_hold_already_is_not_given_twice() {
        let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "2", "example.com/led": "1"});
        let mut node = check::node(json!({"status": {"allocatable": allocatable}}));
        let ask = |requests, node: &_| check::ask(&NodeResourcesFit, &pod(requests), node);
        let half = json!({"cpu": "600m", "memory": "512Mi", "example.com/led": "1"});
        assert_eq!(ask(half.clone(), &node), Ok(()));
        node.add(&pod(half.clone()));
        let refusal = ask(half, &node).unwrap_err();
        assert_eq!(refusal.reasons, ["Insufficient cpu", "Insufficient example.com/led"]);
        assert!(refusal.resolvable, "without the other pod it would fit");
        assert!(!ask(json!({"cpu": "2"}), &node).unwrap_err().resolvable);
        assert_eq!(ask(json!({"cpu": "400m", "memory": "512Mi"}), &node), Ok(()));
        node.add(&pod(json!({})));
        assert_eq!(ask(json!({}), &node).unwrap_err().reasons, ["Too many pods"]);
    }

    #[test]
    fn an_emptier_node_scores_higher() {
        let allocatable = json!({"cpu": "1", "memory": "1000Mi"});
        let node = || check::node(json!({"status": {"allocatable": allocatable}}));
        let quarter = pod(json!({"cpu": "250m", "memory": "250Mi"}));
        let mut fuller = node();
        fuller.add(&quarter);
        assert_eq!(check::scores(&NodeResourcesFit, &quarter, &[node(), fuller]), [75, 50]);
    }
}
