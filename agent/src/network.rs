//! Keeps the node's routes and service rules as the plan says, at once when a node falls silent.
//!
//! What the plan is, the core decides; this task notices that it must be made again. The set of
//! unreachable nodes comes straight from the heartbeat thread, not over TCP.

mod health_checks;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bramble_agent_core::service_rules::{self, HostPort, NodeDns, Plan, Ruleset};
use bramble_agent_core::{forward_policy, routes};
use bramble_network::{Lost, NetworkError, NodeNetwork, Route};
use bramble_shared::ids::NodeId;
use bramble_shared::link::{Accepted, Service};
use bramble_shared::node_set::NodeSet;
use tokio::sync::{Notify, watch};

use self::health_checks::HealthChecks;
use crate::node::Node;
use crate::records;
use crate::telemetry::Chain;

/// Services by namespace and name.
type Services = BTreeMap<(String, String), Service>;

/// Wait before a refused plan is tried again, and calm after which what is known is kept.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Time between two looks at what firewalls of others do to forwarded packets.
const FORWARD_LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// Applies the plan for ever. `changed` is notified when services, peers or pods have changed.
pub(crate) async fn keep(
    node: Arc<Node>,
    network: Arc<NodeNetwork>,
    changed: Arc<Notify>,
    mut unreachable: watch::Receiver<NodeSet>,
) {
    let mut applied = Applied::default();
    let mut unkept = false;
    let mut look = tokio::time::interval(FORWARD_LOOK);
    loop {
        let silent: BTreeSet<NodeId> = unreachable.borrow_and_update().iter().collect();
        let again = !applied.bring_up_to_date(&node, &network, &silent).await;
        tokio::select! {
            () = changed.notified() => unkept = true,
            result = unreachable.changed() => if result.is_err() { return },
            _ = look.tick() => let_pods_through(&node, &network).await,
            () = tokio::time::sleep(RETRY), if again || unkept => {
                if unkept {
                    keep_cluster(&node);
                    unkept = false;
                }
            }
        }
    }
}

/// Docker and ufw drop what the board forwards unless a rule of theirs allows it.
async fn let_pods_through(node: &Node, network: &NodeNetwork) {
    let bridge = &node.config.bridge;
    let Some(found) = network.forward_rules().await else { return };
    for rule in forward_policy::missing(&found, bridge) {
        match network.allow_forwarding(&rule).await {
            Ok(()) => tracing::info!(
                rule = rule.join(" "),
                "the firewall of this board drops what it forwards; pods are let through"
            ),
            Err(error) => {
                let error = Chain(&error).to_string();
                tracing::warn!(error, "the firewall of this board cuts pods off");
            }
        }
    }
}

/// Keeps what is known of the cluster for an agent that starts while the master is away.
fn keep_cluster(node: &Node) {
    let desired = node.desired();
    if !desired.is_complete() {
        return;
    }
    let services = desired.services.values().collect();
    let peers = desired.peers.values().collect();
    if let Err(error) = records::write_cluster(&node.records_dir(), services, peers) {
        tracing::warn!(%error, "what is known of the cluster could not be kept");
    }
}

/// What the kernel was told last.
#[derive(Default)]
struct Applied {
    /// None before the first time: what is in the kernel then is another agent's.
    rules: Option<Ruleset>,
    /// Services that the kernel did not take, as they were then.
    refused: Services,
    routes: Option<BTreeSet<Route>>,
    unreachable: BTreeSet<NodeId>,
    health_checks: HealthChecks,
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
        // What an agent before this one told the kernel stays until the cluster is known.
        if !node.desired().is_complete() {
            return true;
        }
        let wanted = Wanted::of(node, &accepted, unreachable, &self.refused);
        let ips = self.silent_endpoints(node, unreachable);
        let datagrams = match self.apply_rules(network, wanted.rules).await {
            Ok(lost) => Some(lost),
            Err(error) => {
                let error = Chain(&error).to_string();
                tracing::warn!(error, "service rules could not be applied");
                let found = refused::find(node, network, &accepted, unreachable).await;
                let news = found != self.refused;
                self.refused = found;
                // With those left out, it is tried again at once.
                if news {
                    return false;
                }
                None
            }
        };
        let mut complete = datagrams.is_some();
        let lost = Lost { ips, datagrams: datagrams.unwrap_or_default() };
        // After the rules, or a client's next packet would go the old way again.
        if !lost.is_empty() {
            match network.drop_connections_to(lost).await {
                Ok(0) => {}
                Ok(connections) => {
                    tracing::info!(connections, "connections to endpoints that are gone were ended")
                }
                Err(error) => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(error, "connections to what is gone could not be ended");
                    complete = false;
                }
            }
        }
        if complete && self.unreachable != *unreachable {
            tracing::info!(nodes = ?unreachable, "endpoints on unreachable nodes are left out");
            self.unreachable.clone_from(unreachable);
        }
        if self.routes.as_ref() != Some(&wanted.routes) {
            match network.set_routes(&wanted.routes).await {
                Ok(()) => self.routes = Some(wanted.routes),
                Err(error) => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(error, "routes to other nodes could not be set");
                    complete = false;
                }
            }
        }
        self.health_checks.set(wanted.health_checks);
        complete
    }

    /// Addresses on nodes that have fallen silent since the last time.
    fn silent_endpoints(&self, node: &Node, unreachable: &BTreeSet<NodeId>) -> BTreeSet<Ipv4Addr> {
        let desired = node.desired();
        let peers = desired.peers.values();
        service_rules::lost_endpoints(&desired.services, peers, unreachable, &self.unreachable)
    }

    /// Tells the kernel what has changed, and returns where datagrams do not go any more.
    async fn apply_rules(
        &mut self,
        network: &NodeNetwork,
        rules: Ruleset,
    ) -> Result<BTreeSet<(Ipv4Addr, u16)>, NetworkError> {
        let Some(before) = &self.rules else {
            network.apply_rules(&rules.whole()).await?;
            self.rules = Some(rules);
            return Ok(BTreeSet::new());
        };
        let difference = rules.difference(before);
        if !difference.is_empty() && network.apply_rules(&difference).await.is_err() {
            // Somebody else may have changed what the kernel has.
            network.apply_rules(&rules.whole()).await?;
        }
        let lost = rules.lost_datagrams(before);
        self.rules = Some(rules);
        Ok(lost)
    }
}

/// What the kernel should have.
struct Wanted {
    rules: Ruleset,
    routes: BTreeSet<Route>,
    health_checks: BTreeMap<u16, health_checks::Status>,
}

impl Wanted {
    fn of(
        node: &Node,
        accepted: &Accepted,
        unreachable: &BTreeSet<NodeId>,
        refused: &Services,
    ) -> Self {
        let desired = node.desired();
        let host_ports = service_rules::host_ports(desired.pods.values(), &node.pod_ips());
        let mut kept = None;
        if !refused.is_empty() {
            let mut services = desired.services.clone();
            services.retain(|name, service| refused.get(name) != Some(service));
            kept = Some(services);
        }
        let services = kept.as_ref().unwrap_or(&desired.services);
        let plan = plan(node, accepted, services, &host_ports, unreachable);
        let health_checks = service_rules::health_checks(&plan)
            .into_iter()
            .map(|(port, (service, endpoints))| {
                let Service { namespace, name, .. } = service.clone();
                (port, health_checks::Status { namespace, name, endpoints })
            })
            .collect();
        let routes = routes::plan(accepted.pod_range, desired.peers.values())
            .into_iter()
            .map(|route| Route { range: route.range, via: route.via })
            .collect();
        Self { rules: service_rules::ruleset(&plan), routes, health_checks }
    }
}

fn plan<'a>(
    node: &'a Node,
    accepted: &Accepted,
    services: &'a Services,
    host_ports: &'a BTreeSet<HostPort>,
    unreachable: &'a BTreeSet<NodeId>,
) -> Plan<'a> {
    Plan {
        node: accepted.node,
        pod_range: accepted.pod_range,
        cluster_range: accepted.cluster_range,
        services,
        host_ports,
        dns: NodeDns {
            address: accepted.dns,
            port: node.dns_port.load(Ordering::Relaxed),
            bridge: &node.config.bridge,
        },
        unreachable,
    }
}
