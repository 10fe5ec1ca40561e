//! Finds the Services whose rules the kernel does not take, so that they do not stop the others.

use std::collections::BTreeSet;

use bramble_agent_core::service_rules;
use bramble_network::NodeNetwork;
use bramble_shared::ids::NodeId;
use bramble_shared::link::Accepted;

use super::{Services, plan};
use crate::node::Node;

/// Halves the Services until those that are refused stand alone.
pub(super) async fn find(
    node: &Node,
    network: &NodeNetwork,
    accepted: &Accepted,
    unreachable: &BTreeSet<NodeId>,
) -> Services {
    let mut refused = Services::new();
    let mut groups = vec![node.desired().services.clone()];
    while let Some(mut group) = groups.pop() {
        let text = {
            let host_ports = BTreeSet::new();
            let plan = plan(node, accepted, &group, &host_ports, unreachable);
            service_rules::ruleset(&plan).whole()
        };
        if network.check_rules(&text).await.is_ok() {
            continue;
        }
        if group.len() <= 1 {
            for (namespace, name) in group.keys() {
                tracing::error!(namespace, name, "the kernel refuses the rules of this Service");
            }
            refused.append(&mut group);
            continue;
        }
        let middle = group.keys().nth(group.len() / 2).cloned();
        if let Some(middle) = middle {
            groups.push(group.split_off(&middle));
            groups.push(group);
        }
    }
    refused
}
