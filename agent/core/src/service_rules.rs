//! The nftables rules of Services on one node.
//!
//! Knows nothing of how they are applied. The same plan gives the same rules, so the shell applies
//! the difference to what it applied last.
//!
//! ```text
//!  prerouting, output : address . protocol . port -> chain of the port -> random endpoint
//!                       protocol . port of the node -> the same, or a pod's own port (hostPort)
//!  forward, output    : Services without endpoints are refused, so that clients know at once
//!  postrouting        : masquerade what leaves the cluster, hairpins, and NodePorts
//! ```
//!
//! A port's chains: `s_` for who asks from inside, `c_` for the same where that differs from all
//! endpoints, `x_` for who asks from outside, `e_` one for each endpoint that clients stick to.

mod host_ports;
mod ruleset;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Endpoint, Ipv4Range, Peer, Protocol, Service, ServicePort};

pub use host_ports::{HostPort, host_ports};
pub use ruleset::Ruleset;

use crate::address::contains;

/// Mark of packets whose source must be replaced; kube-proxy's bit, so that both may be known.
const MASQUERADE_MARK: &str = "0x4000";

/// Most addresses of one node's pods; a node has far fewer pods.
const ADDRESSES_MAX: u32 = 4096;

/// Port of DNS.
const DNS_PORT: u16 = 53;

/// What the rules are made from.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// This node.
    pub node: NodeId,
    /// Addresses of this node's pods.
    pub pod_range: Ipv4Range,
    /// Addresses of all pods.
    pub cluster_range: Ipv4Range,
    /// Services by namespace and name.
    pub services: &'a BTreeMap<(String, String), Service>,
    /// Ports of this node that lead to its pods.
    pub host_ports: &'a BTreeSet<HostPort>,
    /// Where this node answers for cluster DNS.
    pub dns: NodeDns<'a>,
    /// Nodes whose endpoints are left out.
    pub unreachable: &'a BTreeSet<NodeId>,
}

/// Where a node answers for cluster DNS.
#[derive(Clone, Copy, Debug)]
pub struct NodeDns<'a> {
    /// Address of its Service, which is on the pods' bridge.
    pub address: Ipv4Addr,
    /// Port at that address, 0 if nobody answers yet.
    pub port: u16,
    /// The pods' bridge: who comes in elsewhere is a stranger.
    pub bridge: &'a str,
}

/// The rules of a plan.
#[must_use]
pub fn ruleset(plan: &Plan<'_>) -> Ruleset {
    let mut rules = Ruleset::new(plan);
    for port in plan.host_ports {
        rules.host_port(plan, port);
    }
    for service in plan.services.values() {
        for port in &service.ports {
            rules.port(plan, service, port);
        }
    }
    let NodeDns { address, port, .. } = plan.dns;
    if port != 0 && port != DNS_PORT {
        let to = |protocol| format!("meta l4proto {protocol} dnat to {address}:{port}");
        rules.chain("node_dns".to_owned(), vec![to("tcp"), to("udp")]);
        for protocol in ["tcp", "udp"] {
            let key = format!("{address} . {protocol} . {DNS_PORT}");
            rules.element_if_free("service_ips", key, "goto node_dns");
        }
    }
    rules
}

/// Ports at which load balancers ask whether this node has endpoints of its own, with the Service
/// and the number of its ready endpoints here.
#[must_use]
pub fn health_checks<'a>(plan: &Plan<'a>) -> BTreeMap<u16, (&'a Service, usize)> {
    let asked = |service: &&Service| service.health_check_port != 0 && service.external_local;
    plan.services
        .values()
        .filter(asked)
        .map(|service| {
            let endpoints = service.ports.iter().flat_map(|port| &port.endpoints);
            let here =
                |endpoint: &&Endpoint| endpoint.node == Some(plan.node) && !endpoint.terminating;
            let ips: BTreeSet<Ipv4Addr> =
                endpoints.filter(here).map(|endpoint| endpoint.ip).collect();
            (service.health_check_port, (service, ips.len()))
        })
        .collect()
}

/// Addresses on nodes that have just become unreachable: established connections to them are
/// ended. `told` are the nodes whose connections have been ended already.
///
/// Those are the nodes' endpoints, and all addresses of their pods: the master may have taken an
/// endpoint out of its Service a moment before this node hears that the other one is silent.
#[must_use]
pub fn lost_endpoints<'a>(
    services: &BTreeMap<(String, String), Service>,
    peers: impl Iterator<Item = &'a Peer>,
    unreachable: &BTreeSet<NodeId>,
    told: &BTreeSet<NodeId>,
) -> BTreeSet<Ipv4Addr> {
    let lost: BTreeSet<NodeId> = unreachable.difference(told).copied().collect();
    if lost.is_empty() {
        return BTreeSet::new();
    }
    let endpoints = services
        .values()
        .flat_map(|service| &service.ports)
        .flat_map(|port| &port.endpoints)
        .filter(|endpoint| endpoint.node.is_some_and(|node| lost.contains(&node)))
        .map(|endpoint| endpoint.ip);
    let pods = peers.filter(|peer| lost.contains(&peer.id)).flat_map(|peer| {
        let Ipv4Range { network, prefix_len } = peer.pod_range;
        let len = 1_u32.checked_shl(32_u32.saturating_sub(prefix_len.into())).unwrap_or(0);
        let first = u32::from(network);
        (first..first.saturating_add(len.min(ADDRESSES_MAX))).map(Ipv4Addr::from)
    });
    endpoints.chain(pods).collect()
}

/// Where packets of one port go.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// To one of these.
    Send(Vec<Endpoint>),
    /// Nowhere: there are endpoints, but none on this node, which alone counts.
    Drop,
    /// Nowhere: there are none.
    Refuse,
}

impl Choice {
    fn of(plan: &Plan<'_>, port: &ServicePort, local_only: bool) -> Self {
        let reachable = |endpoint: &&Endpoint| {
            endpoint.node.is_none_or(|node| !plan.unreachable.contains(&node))
        };
        let mut all: Vec<Endpoint> = port.endpoints.iter().filter(reachable).copied().collect();
        if all.is_empty() {
            return Self::Refuse;
        }
        all.retain(|endpoint| !local_only || endpoint.node == Some(plan.node));
        // Those that end serve as long as nobody else does.
        let ending = all.iter().all(|endpoint| endpoint.terminating);
        all.retain(|endpoint| endpoint.terminating == ending);
        all.sort();
        all.dedup_by_key(|endpoint| (endpoint.ip, endpoint.port));
        if all.is_empty() { Self::Drop } else { Self::Send(all) }
    }
}

impl Ruleset {
    fn port(&mut self, plan: &Plan<'_>, service: &Service, port: &ServicePort) {
        let protocol = protocol_word(port.protocol);
        let everywhere = Choice::of(plan, port, false);
        let inside = Choice::of(plan, port, service.internal_local);
        // The node answers itself, unless somebody has put DNS servers of his own in its place.
        if service.cluster_ip == Some(plan.dns.address) && everywhere == Choice::Refuse {
            return;
        }
        let name = chain_name(service, port);
        if let Choice::Send(endpoints) = &everywhere {
            for endpoint in endpoints {
                self.hairpin(plan, endpoint.ip);
            }
        }
        let inner = format!("s_{name}");
        self.send(&inner, Vec::new(), &name, service, port, &inside);
        if let Some(ip) = service.cluster_ip {
            let key = format!("{ip} . {protocol} . {}", port.port);
            self.lead("ips", key, &inner, &inside);
        }
        if service.external_ips.is_empty() && port.node_port == 0 {
            return;
        }
        let outer = format!("x_{name}");
        let masquerade = format!("meta mark set meta mark | {MASQUERADE_MARK}");
        let mut leads = &everywhere;
        let local;
        if service.external_local && matches!(everywhere, Choice::Send(_)) {
            // A local endpoint can answer a client itself, and sees its address. Who asks from
            // inside the cluster needs neither, and is sent to any of them, as upstream.
            local = Choice::of(plan, port, true);
            let all = if service.internal_local { format!("c_{name}") } else { inner };
            if service.internal_local {
                self.send(&all, Vec::new(), &name, service, port, &everywhere);
            }
            let Ipv4Range { network, prefix_len } = plan.cluster_range;
            let first = vec![
                format!("ip saddr {network}/{prefix_len} goto {all}"),
                format!("fib saddr type local {masquerade} goto {all}"),
            ];
            self.send(&outer, first, &name, service, port, &local);
            leads = &local;
        } else {
            // One elsewhere must answer through this node, or the client would get an answer from
            // a stranger.
            self.send(&outer, vec![masquerade], &name, service, port, &everywhere);
        }
        for ip in &service.external_ips {
            self.lead("ips", format!("{ip} . {protocol} . {}", port.port), &outer, leads);
        }
        if port.node_port != 0 {
            self.lead("node_ports", format!("{protocol} . {}", port.node_port), &outer, leads);
        }
    }

    /// Makes the chain that sends to one of the endpoints, after some rules; none if there are
    /// neither.
    fn send(
        &mut self,
        chain: &str,
        first: Vec<String>,
        name: &str,
        service: &Service,
        port: &ServicePort,
        choice: &Choice,
    ) {
        let mut rules = first;
        if let Choice::Send(endpoints) = choice {
            if port.protocol == Protocol::Udp {
                self.datagrams
                    .extend(endpoints.iter().map(|endpoint| (endpoint.ip, endpoint.port)));
            }
            match service.affinity_s {
                Some(timeout_s) => rules.extend(self.stick(name, port, timeout_s, endpoints)),
                None => rules.push(send_to_any(port, endpoints)),
            }
        } else if matches!(choice, Choice::Refuse) {
            return;
        }
        if !rules.is_empty() {
            self.chain(chain.to_owned(), rules);
        }
    }

    /// Rules that send a client to where it was sent before, for as long as it comes back in time.
    fn stick(
        &mut self,
        name: &str,
        port: &ServicePort,
        timeout_s: u32,
        endpoints: &[Endpoint],
    ) -> Vec<String> {
        let protocol = protocol_word(port.protocol);
        let mut rules = Vec::new();
        let mut map = Vec::new();
        for (number, endpoint) in endpoints.iter().enumerate() {
            let Endpoint { ip, port, .. } = endpoint;
            let own = format!("{name}_{:08x}_{port}", u32::from(*ip));
            self.clients(format!("a_{own}"), timeout_s);
            let sent = vec![
                format!("update @a_{own} {{ ip saddr }}"),
                format!("meta l4proto {protocol} dnat to {ip}:{port}"),
            ];
            self.chain(format!("e_{own}"), sent);
            rules.push(format!("ip saddr @a_{own} goto e_{own}"));
            map.push(format!("{number} : goto e_{own}"));
        }
        rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), map.join(", ")));
        rules
    }

    /// Leads packets with a key of `service_ips` or `node_ports` to a chain, or refuses them.
    fn lead(&mut self, what: &str, key: String, chain: &str, choice: &Choice) {
        let (to, dropped, refused) = match what {
            "ips" => ("service_ips", "dropped_ips", "refused_ips"),
            _ => ("node_ports", "dropped_node_ports", "refused_node_ports"),
        };
        if matches!(choice, Choice::Drop) {
            self.element(dropped, key.clone(), String::new());
        }
        if matches!(choice, Choice::Refuse) {
            self.element(refused, key, String::new());
        } else if self.has_chain(chain) {
            // Of two Services that claim one address and port the first has it, as upstream.
            self.element_if_free(to, key, &format!("goto {chain}"));
        }
    }

    fn hairpin(&mut self, plan: &Plan<'_>, ip: Ipv4Addr) {
        if contains(plan.pod_range, ip) {
            self.element("hairpins", format!("{ip} . {ip}"), String::new());
        }
    }
}

/// The rule that sends to one of some endpoints.
fn send_to_any(port: &ServicePort, endpoints: &[Endpoint]) -> String {
    let protocol = protocol_word(port.protocol);
    if let [only] = endpoints {
        return format!("meta l4proto {protocol} dnat to {}:{}", only.ip, only.port);
    }
    let map: Vec<String> = endpoints
        .iter()
        .enumerate()
        .map(|(n, endpoint)| format!("{n} : {} . {}", endpoint.ip, endpoint.port))
        .collect();
    format!(
        "meta l4proto {protocol} dnat ip to numgen random mod {} map {{ {} }}",
        endpoints.len(),
        map.join(", ")
    )
}

/// The end of a port's chains' names: readable and unique.
fn chain_name(service: &Service, port: &ServicePort) -> String {
    let full = format!("{}/{}", service.namespace, service.name);
    let readable: String = service
        .name
        .chars()
        .take(16)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let protocol = protocol_word(port.protocol);
    format!("{readable}_{:08x}_{protocol}{}", hash(&full), port.port)
}

/// FNV-1a folded to 32 bits: names of a few thousand Services stay apart, and the text of the
/// plan is the same on every run and machine.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests;
