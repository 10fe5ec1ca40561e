//! Keeps the node's routes and service rules as the plan says, at once when a node falls silent.
//!
//! What the plan is, the core decides; this task notices that it must be made again. The set of
//! unreachable nodes comes straight from the heartbeat thread, not over TCP.

use std::collections::BTreeSet;
use std::sync::Arc;

use bramble_agent_core::{routes, service_rules};
use bramble_network::{NodeNetwork, Route};
use bramble_shared::ids::NodeId;
use bramble_shared::node_set::NodeSet;
use tokio::sync::{Notify, watch};

use crate::node::Node;

/// Wait before a refused plan is tried again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Applies the plan for ever. `changed` is notified when services or peers have changed.
pub(crate) async fn keep(
    node: Arc<Node>,
    network: Arc<NodeNetwork>,
    changed: Arc<Notify>,
    mut unreachable: watch::Receiver<NodeSet>,
) {
    let mut applied = Applied::default();
    loop {
        let silent: BTreeSet<NodeId> = unreachable.borrow_and_update().iter().collect();
        let again = !applied.bring_up_to_date(&node, &network, &silent).await;
        tokio::select! {
            () = changed.notified() => {}
            result = unreachable.changed() => if result.is_err() { return },
            () = tokio::time::sleep(RETRY), if again => {}
        }
    }
}

/// What the kernel was told last.
#[derive(Default)]
struct Applied {
    rules: String,
    routes: Option<BTreeSet<Route>>,
    unreachable: BTreeSet<NodeId>,
}

impl Applied {
    /// Returns whether everything could be applied.
    async fn bring_up_to_date(
        &mut self,
        node: &Node,
        network: &NodeNetwork,
        unreachable: &BTreeSet<NodeId>,
    ) -> bool {
        let Some(accepted) = node.accepted() else { return true };
        let (rules, wanted, lost) = {
            let desired = node.desired();
            let plan = service_rules::Plan {
                node: accepted.node,
                pod_range: accepted.pod_range,
                cluster_range: accepted.cluster_range,
                services: &desired.services,
                unreachable,
            };
            let lost = service_rules::lost_endpoints(
                &desired.services,
                desired.peers.values(),
                unreachable,
                &self.unreachable,
            );
            let routes: BTreeSet<Route> = routes::plan(accepted.pod_range, desired.peers.values())
                .into_iter()
                .map(|route| Route { range: route.range, via: route.via })
                .collect();
            (service_rules::ruleset(&plan), routes, lost)
        };
        let mut complete = true;
        if rules != self.rules {
            match network.apply_rules(&rules).await {
                Ok(()) => self.rules = rules,
                Err(error) => {
                    let error = crate::telemetry::Chain(&error).to_string();
                    tracing::warn!(error, "service rules could not be applied");
                    complete = false;
                }
            }
        }
        // After the rules, or a client's next packet would go the old way again.
        if !lost.is_empty() {
            match network.drop_connections_to(lost).await {
                Ok(dropped) => tracing::info!(
                    nodes = ?unreachable,
                    connections = dropped,
                    "endpoints on unreachable nodes are left out"
                ),
                Err(error) => {
                    let error = crate::telemetry::Chain(&error).to_string();
                    tracing::warn!(error, "connections to a lost node could not be ended");
                    complete = false;
                }
            }
        }
        if complete {
            self.unreachable.clone_from(unreachable);
        }
        if self.routes.as_ref() != Some(&wanted) {
            match network.set_routes(&wanted).await {
                Ok(()) => self.routes = Some(wanted),
                Err(error) => {
                    let error = crate::telemetry::Chain(&error).to_string();
                    tracing::warn!(error, "routes to other nodes could not be set");
                    complete = false;
                }
            }
        }
        complete
    }
}
