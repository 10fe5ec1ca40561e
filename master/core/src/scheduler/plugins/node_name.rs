//! Keeps a pod that names a node from every other node.

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::pod::PodView;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodeName;

#[derive(Debug)]
struct Named<'a>(&'a str);

impl FilterPlugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        match &pod.node_name {
            Some(name) => Prepared::Ask(Box::new(Named(name))),
            None => Prepared::Skip,
        }
    }

    fn helped_by(&self, _: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        matches!(event, ClusterEvent::NodeAdded(_))
    }
}

impl Filter for Named<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        if *node.node.meta.name == *self.0 {
            return Ok(());
        }
        Err(Refusal::lasting("node(s) didn't match the requested node name"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::NodeName;

    #[test]
    fn only_the_named_node_is_accepted() {
        let pod = || json!({"spec": {"nodeName": "a"}});
        check(&NodeName, pod(), json!({"metadata": {"name": "a"}}), None);
        let reason = "node(s) didn't match the requested node name";
        check(&NodeName, pod(), json!({"metadata": {"name": "b"}}), Some(reason));
        check(&NodeName, json!({}), json!({"metadata": {"name": "b"}}), None);
    }
}
