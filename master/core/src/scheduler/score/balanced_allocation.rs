//! Prefers nodes whose CPU and memory are used alike, so that neither is left over alone.

use super::MAX;
use crate::scheduler::node_info::{NodeInfo, requests_or_default};
use crate::view::pod::PodView;

/// 100 minus half the difference of the used shares in per cent: upstream's standard deviation for
/// two resources.
#[must_use]
pub fn score(pod: &PodView, node: &NodeInfo) -> i64 {
    let (cpu, memory) = requests_or_default(pod);
    let (used_cpu, used_memory) = node.requested_or_default;
    let total = &node.node.allocatable;
    let cpu = used_share(used_cpu.saturating_add(cpu), total.cpu_milli);
    let memory = used_share(used_memory.saturating_add(memory), total.memory);
    MAX - (cpu - memory).abs() / 2
}

const fn used_share(used: i64, total: i64) -> i64 {
    if total <= 0 || used >= total { MAX } else { used.saturating_mul(MAX) / total }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::score;
    use crate::scheduler::filter::check;

    #[test]
    fn a_lopsided_node_scores_lower() {
        let node = |cpu: &str| {
            check::node(json!({"status": {"allocatable": {"cpu": cpu, "memory": "1000Mi"}}}))
        };
        let requests = json!({"cpu": "500m", "memory": "500Mi"});
        let pod =
            check::pod(json!({"spec": {"containers": [{"resources": {"requests": requests}}]}}));
        assert_eq!(score(&pod, &node("1")), 100);
        assert_eq!(score(&pod, &node("5")), 80);
    }
}
