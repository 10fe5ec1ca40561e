//! Prefers nodes whose CPU and memory are used alike, so that neither is left over alone.

use super::{Context, MAX, Score, ScorePlugin};
use crate::scheduler::node_info::{NodeInfo, requests_or_default};
use crate::view::pod::PodView;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesBalancedAllocation;

#[derive(Debug)]
struct Wanted<'a>(&'a PodView);

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
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
    /// 100 minus half the difference of the used shares in per cent: upstream's standard deviation
    /// for two resources.
    fn score(&self, _: usize, node: &NodeInfo) -> i64 {
        let (cpu, memory) = requests_or_default(self.0);
        let (used_cpu, used_memory) = node.requested_or_default;
        let total = &node.node.allocatable;
        let cpu = used_share(used_cpu.saturating_add(cpu), total.cpu_milli);
        let memory = used_share(used_memory.saturating_add(memory), total.memory);
        MAX - (cpu - memory).abs() / 2
    }
}

const fn used_share(used: i64, total: i64) -> i64 {
    if total <= 0 || used >= total { MAX } else { used.saturating_mul(MAX) / total }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check;
    use super::NodeResourcesBalancedAllocation;

    #[test]
    fn a_lopsided_node_scores_lower() {
        let node = |cpu: &str| {
            check::node(json!({"status": {"allocatable": {"cpu": cpu, "memory": "1000Mi"}}}))
        };
        let requests = json!({"cpu": "500m", "memory": "500Mi"});
        let pod =
            check::pod(json!({"spec": {"containers": [{"resources": {"requests": requests}}]}}));
        let nodes = [node("1"), node("5")];
        assert_eq!(check::scores(&NodeResourcesBalancedAllocation, &pod, &nodes), [100, 80]);
    }
}
