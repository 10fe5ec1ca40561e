//! Keeps two pods from wanting the same port of a node.

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::{NodeInfo, host_ports};
use crate::scheduler::queue::ClusterEvent;
use crate::view::pod::PodView;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts;

#[derive(Debug)]
struct Wanted<'a>(&'a PodView);

impl FilterPlugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn prepare<'a>(&self, pod: &'a PodView, _: &Context<'a>) -> Prepared<'a> {
        if host_ports(pod).next().is_none() {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(Wanted(pod)))
    }

    fn helped_by(&self, _: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::PodGone { pod, .. } => host_ports(pod).next().is_some(),
            ClusterEvent::NodeChanged { .. }
            | ClusterEvent::PodPlaced(_)
            | ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Wanted<'_> {
    fn filter(&self, _: usize, node: &NodeInfo) -> Result<(), Refusal> {
        if node.port_taken(self.0) {
            let reason = "node(s) didn't have free ports for the requested pod ports";
            return Err(Refusal::resolvable(reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::check;
    use super::NodePorts;
    use crate::view::pod::PodView;

    fn pod(port: i32, address: &str, protocol: &str) -> Arc<PodView> {
        let port: Value =
            json!({"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol});
        Arc::new(check::pod(json!({"spec": {"containers": [{"ports": [port]}]}})))
    }

    #[test]
    fn a_port_is_free_on_another_address_or_protocol() {
        let mut node = check::node(json!({}));
        node.add(&pod(80, "10.0.0.1", "TCP"));
        assert!(check::ask(&NodePorts, &pod(80, "10.0.0.2", "TCP"), &node).is_ok());
        assert!(check::ask(&NodePorts, &pod(80, "10.0.0.1", "UDP"), &node).is_ok());
        assert!(check::ask(&NodePorts, &pod(81, "", ""), &node).is_ok());
        assert!(check::ask(&NodePorts, &pod(80, "", "TCP"), &node).is_err());
        assert!(check::ask(&NodePorts, &pod(80, "10.0.0.1", ""), &node).is_err());
    }

    #[test]
    fn a_port_is_free_again_when_its_pod_is_gone() {
        let mut node = check::node(json!({}));
        node.add(&pod(80, "", "TCP"));
        node.remove(&pod(80, "", "TCP"));
        assert!(check::ask(&NodePorts, &pod(80, "", "TCP"), &node).is_ok());
    }
}
