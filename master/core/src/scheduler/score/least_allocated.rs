//! Prefers nodes with much left over.

use super::MAX;
use crate::scheduler::node_info::{NodeInfo, requests_or_default};
use crate::view::pod::PodView;

/// The mean of the free shares of CPU and memory after the pod was added.
#[must_use]
pub fn score(pod: &PodView, node: &NodeInfo) -> i64 {
    let (cpu, memory) = requests_or_default(pod);
    let (used_cpu, used_memory) = node.requested_or_default;
    let total = &node.node.allocatable;
    let cpu = free_share(used_cpu.saturating_add(cpu), total.cpu_milli);
    let memory = free_share(used_memory.saturating_add(memory), total.memory);
    i64::midpoint(cpu, memory)
}

const fn free_share(used: i64, total: i64) -> i64 {
    if total <= 0 || used > total { 0 } else { (total - used).saturating_mul(MAX) / total }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::score;
    use crate::scheduler::filter::check;

    #[test]
    fn an_emptier_node_scores_higher() {
        let allocatable = json!({"cpu": "1", "memory": "1000Mi"});
        let mut node = check::node(json!({"status": {"allocatable": allocatable}}));
        let requests = json!({"cpu": "250m", "memory": "250Mi"});
        let pod =
            check::pod(json!({"spec": {"containers": [{"resources": {"requests": requests}}]}}));
        assert_eq!(score(&pod, &node), 75);
        node.add(&pod);
        assert_eq!(score(&pod, &node), 50);
    }
}
