//! Keeps pods from cordoned nodes.

use std::sync::Arc;

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::node::{Effect, TAINT_UNSCHEDULABLE, Taint};
use crate::view::pod::PodView;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodeUnschedulable;

#[derive(Debug)]
struct Uncordoned;

impl FilterPlugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    /// A pod may tolerate the taint that stands for a cordon.
    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        let taint = Taint {
            key: Arc::from(TAINT_UNSCHEDULABLE),
            value: Arc::default(),
            effect: Effect::NoSchedule,
            time_added: None,
        };
        if pod.tolerations.iter().any(|toleration| toleration.tolerates(&taint)) {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(Uncordoned))
    }

    fn helped_by(&self, _: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => !node.unschedulable,
            ClusterEvent::NodeChanged { old, new, .. } => old.unschedulable && !new.unschedulable,
            ClusterEvent::PodPlaced(_)
            | ClusterEvent::PodGone { .. }
            | ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Uncordoned {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        if node.node.unschedulable {
            return Err(Refusal::lasting("node(s) were unschedulable"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::NodeUnschedulable;

    #[test]
    fn a_cordoned_node_takes_only_pods_that_tolerate_it() {
        let node = || json!({"spec": {"unschedulable": true}});
        check(&NodeUnschedulable, json!({}), node(), Some("node(s) were unschedulable"));
        let key = "node.kubernetes.io/unschedulable";
        let pod = json!({"spec": {"tolerations": [{"key": key, "operator": "Exists"}]}});
        check(&NodeUnschedulable, pod, node(), None);
    }
}
