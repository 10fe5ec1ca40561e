//! Keeps pods from cordoned nodes.

use std::sync::Arc;

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::node::{Effect, TAINT_UNSCHEDULABLE, Taint};
use crate::view::pod::PodView;

/// Refuses a cordoned node, unless the pod tolerates the taint that stands for it.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    if !node.node.unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: Arc::from(TAINT_UNSCHEDULABLE),
        value: Arc::default(),
        effect: Effect::NoSchedule,
        time_added: None,
    };
    if pod.tolerations.iter().any(|toleration| toleration.tolerates(&taint)) {
        return Ok(());
    }
    refuse("node(s) were unschedulable")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::filter;

    #[test]
    fn a_cordoned_node_takes_only_pods_that_tolerate_it() {
        let node = || json!({"spec": {"unschedulable": true}});
        check(filter, json!({}), node(), Some("node(s) were unschedulable"));
        let key = "node.kubernetes.io/unschedulable";
        let pod = json!({"spec": {"tolerations": [{"key": key, "operator": "Exists"}]}});
        check(filter, pod, node(), None);
    }
}
