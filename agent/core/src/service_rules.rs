//! The nftables rules of Services on one node, as one text that replaces the table at once.
//!
//! Knows nothing of how the text is applied. The same plan gives the same text, so the shell
//! compares texts to see whether there is anything to do.
//!
//! ```text
//!  prerouting, output : address . protocol . port -> chain of the port -> random endpoint
//!  forward, output    : Services without endpoints are refused, so that clients know at once
//!  postrouting        : masquerade what leaves the cluster, hairpins, and NodePorts
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Endpoint, Ipv4Range, Peer, Protocol, Service, ServicePort};

use crate::address::contains;

/// Mark of packets whose source must be replaced; kube-proxy's bit, so that both may be known.
const MASQUERADE_MARK: &str = "0x4000";

/// Most addresses of one node's pods; a node has far fewer pods.
const ADDRESSES_MAX: u32 = 4096;

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
    /// Nodes whose endpoints are left out.
    pub unreachable: &'a BTreeSet<NodeId>,
}

/// The rules, ready for `nft -f`.
#[must_use]
pub fn ruleset(plan: &Plan<'_>) -> String {
    let mut rules = Rules::default();
    for service in plan.services.values() {
        for port in &service.ports {
            rules.port(plan, service, port);
        }
    }
    rules.text(plan)
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

#[derive(Default)]
struct Rules {
    addresses: BTreeMap<String, String>,
    node_ports: BTreeMap<String, String>,
    refused: BTreeSet<String>,
    refused_node_ports: BTreeSet<String>,
    hairpins: BTreeSet<String>,
    chains: BTreeMap<String, Vec<String>>,
}

impl Rules {
    fn port(&mut self, plan: &Plan<'_>, service: &Service, port: &ServicePort) {
        let protocol = protocol_word(port.protocol);
        let inside = endpoints(plan, port, service.internal_local);
        let outside = endpoints(plan, port, service.external_local);
        for endpoint in &inside {
            if contains(plan.pod_range, endpoint.ip) {
                self.hairpins.insert(format!("{} . {}", endpoint.ip, endpoint.ip));
            }
        }
        let name = chain_name(service, port);
        if !inside.is_empty() {
            self.chains.insert(name.clone(), vec![send(service, port, &inside)]);
        }
        if let Some(ip) = service.cluster_ip {
            let key = format!("{ip} . {protocol} . {}", port.port);
            match inside.is_empty() {
                true => drop(self.refused.insert(key)),
                false => drop(self.addresses.insert(key, format!("goto {name}"))),
            }
        }
        let from_outside = !service.external_ips.is_empty() || port.node_port != 0;
        if !from_outside {
            return;
        }
        let outer = format!("x{name}");
        if !outside.is_empty() {
            let mut rules = Vec::new();
            // A local endpoint can answer a client itself; one elsewhere must answer through
            // this node, or the client would get an answer from a stranger.
            if !service.external_local {
                rules.push(format!("meta mark set meta mark | {MASQUERADE_MARK}"));
            }
            rules.push(send(service, port, &outside));
            self.chains.insert(outer.clone(), rules);
        }
        for ip in &service.external_ips {
            let key = format!("{ip} . {protocol} . {}", port.port);
            match outside.is_empty() {
                true => drop(self.refused.insert(key)),
                false => drop(self.addresses.insert(key, format!("goto {outer}"))),
            }
        }
        if port.node_port != 0 {
            let key = format!("{protocol} . {}", port.node_port);
            match outside.is_empty() {
                true => drop(self.refused_node_ports.insert(key)),
                false => drop(self.node_ports.insert(key, format!("goto {outer}"))),
            }
        }
    }

    fn text(&self, plan: &Plan<'_>) -> String {
        let mut out = String::new();
        // Made before it is deleted, so that the first time is no error.
        out.push_str("table ip bramble\ndelete table ip bramble\ntable ip bramble {\n");
        let key = "ipv4_addr . inet_proto . inet_service";
        let verdicts = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, verdict)| format!("{key} : {verdict}")).collect()
        };
        let listed = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        for (name, rules) in &self.chains {
            let _ = writeln!(out, "  chain {name} {{\n    {}\n  }}", rules.join("\n    "));
        }
        elements(
            &mut out,
            "map service_ips",
            &format!("{key} : verdict"),
            verdicts(&self.addresses),
        );
        let key_np = "inet_proto . inet_service";
        elements(
            &mut out,
            "map node_ports",
            &format!("{key_np} : verdict"),
            verdicts(&self.node_ports),
        );
        elements(&mut out, "set refused_ips", key, listed(&self.refused));
        elements(&mut out, "set refused_node_ports", key_np, listed(&self.refused_node_ports));
        elements(&mut out, "set hairpins", "ipv4_addr . ipv4_addr", listed(&self.hairpins));
        let Ipv4Range { network: pods, prefix_len: pods_len } = plan.pod_range;
        let Ipv4Range { network: cluster, prefix_len: cluster_len } = plan.cluster_range;
        let _ = write!(
            out,
            "  chain services {{
    ip daddr . meta l4proto . th dport vmap @service_ips
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain refuse {{
    ct state new ip daddr . meta l4proto . th dport @refused_ips reject
    ct state new fib daddr type local meta l4proto . th dport @refused_node_ports reject
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain refuse_forward {{
    type filter hook forward priority filter; policy accept;
    jump refuse
  }}
  chain refuse_input {{
    type filter hook input priority filter; policy accept;
    jump refuse
  }}
  chain refuse_output {{
    type filter hook output priority filter; policy accept;
    jump refuse
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK} meta mark set meta mark & 0xffffbfff masquerade
    ct status dnat ip saddr . ip daddr @hairpins masquerade
    ip saddr {pods}/{pods_len} ip daddr != {cluster}/{cluster_len} ip daddr != 224.0.0.0/4 masquerade
  }}
}}
"
        );
        out
    }
}

fn elements(out: &mut String, name: &str, kind: &str, elements: Vec<String>) {
    let _ = writeln!(out, "  {name} {{\n    type {kind}");
    if !elements.is_empty() {
        let _ = writeln!(out, "    elements = {{ {} }}", elements.join(", "));
    }
    let _ = writeln!(out, "  }}");
}

/// The endpoints that a packet may be sent to, in order.
fn endpoints(plan: &Plan<'_>, port: &ServicePort, local_only: bool) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = port
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.node.is_none_or(|node| !plan.unreachable.contains(&node)))
        .filter(|endpoint| !local_only || endpoint.node == Some(plan.node))
        .copied()
        .collect();
    found.sort();
    found.dedup_by_key(|endpoint| (endpoint.ip, endpoint.port));
    found
}

/// The rule that sends to one of some endpoints.
fn send(service: &Service, port: &ServicePort, endpoints: &[Endpoint]) -> String {
    let protocol = protocol_word(port.protocol);
    if let [only] = endpoints {
        return format!("meta l4proto {protocol} dnat to {}:{}", only.ip, only.port);
    }
    // Affinity by a hash of the client's address needs no state and survives a change of the
    // rules; it ends when the endpoints change, where upstream's ends after its time-out.
    let choice = match service.affinity_s {
        Some(_) => "jhash ip saddr",
        None => "numgen random",
    };
    let map: Vec<String> = endpoints
        .iter()
        .enumerate()
        .map(|(n, endpoint)| format!("{n} : {} . {}", endpoint.ip, endpoint.port))
        .collect();
    format!(
        "meta l4proto {protocol} dnat ip to {choice} mod {} map {{ {} }}",
        endpoints.len(),
        map.join(", ")
    )
}

/// A chain's name: readable, unique, and within the kernel's 31 bytes where names are short.
fn chain_name(service: &Service, port: &ServicePort) -> String {
    let full = format!("{}/{}", service.namespace, service.name);
    let readable: String = service
        .name
        .chars()
        .take(16)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let protocol = protocol_word(port.protocol);
    format!("s_{readable}_{:08x}_{protocol}{}", hash(&full), port.port)
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
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn endpoint(third: u8, last: u8, node: u16) -> Endpoint {
        Endpoint { ip: Ipv4Addr::new(10, 42, third, last), port: 8080, node: Some(NodeId(node)) }
    }

    fn service(name: &str, last: u8, node_port: u16, endpoints: Vec<Endpoint>) -> Service {
        Service {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            cluster_ip: Some(Ipv4Addr::new(10, 43, 0, last)),
            external_ips: vec![],
            affinity_s: None,
            internal_local: false,
            external_local: false,
            ports: vec![ServicePort {
                name: String::new(),
                protocol: Protocol::Tcp,
                port: 80,
                node_port,
                endpoints,
            }],
        }
    }

    fn rules(services: Vec<Service>, unreachable: &[u16]) -> String {
        let services: BTreeMap<_, _> =
            services.into_iter().map(|s| ((s.namespace.clone(), s.name.clone()), s)).collect();
        let unreachable = unreachable.iter().map(|id| NodeId(*id)).collect();
        ruleset(&Plan {
            node: NodeId(1),
            pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 1, 0), prefix_len: 24 },
            cluster_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 0, 0), prefix_len: 16 },
            services: &services,
            unreachable: &unreachable,
        })
    }

    fn many() -> Vec<Service> {
        let both = vec![endpoint(1, 2, 1), endpoint(2, 2, 2)];
        let mut sticky = service("sticky", 3, 0, both.clone());
        sticky.affinity_s = Some(10_800);
        let mut local = service("local", 4, 30_002, both.clone());
        local.external_local = true;
        local.external_ips = vec![Ipv4Addr::new(192, 168, 1, 200)];
        let mut udp = service("dns", 6, 0, both.clone());
        udp.ports[0].protocol = Protocol::Udp;
        vec![
            service("web", 1, 30_001, both.clone()),
            service("one", 2, 0, vec![endpoint(1, 2, 1)]),
            sticky,
            local,
            service("empty", 5, 30_003, vec![]),
            udp,
        ]
    }

    #[test]
    fn rules_of_several_services() {
        insta::assert_snapshot!(rules(many(), &[]));
    }

    #[test]
    fn endpoints_of_unreachable_nodes_are_left_out() {
        let text = rules(many(), &[2]);
        assert!(!text.contains("10.42.2.2"), "{text}");
        assert!(text.contains("dnat to 10.42.1.2:8080"));
        let text = rules(many(), &[1, 2]);
        assert!(text.contains("10.43.0.1 . tcp . 80"), "refused, not forgotten: {text}");
        assert!(!text.contains("10.42.1.2"));
    }

    #[test]
    fn lost_endpoints_are_those_of_lost_nodes() {
        let services: BTreeMap<_, _> =
            many().into_iter().map(|s| ((s.namespace.clone(), s.name.clone()), s)).collect();
        let lost = |unreachable: &[u16], told: &[u16]| {
            let ids = |ids: &[u16]| ids.iter().map(|id| NodeId(*id)).collect();
            lost_endpoints(&services, [].iter(), &ids(unreachable), &ids(told))
        };
        assert_eq!(lost(&[2], &[]), [Ipv4Addr::new(10, 42, 2, 2)].into());
        assert_eq!(lost(&[2], &[2]), [].into(), "told once");
        assert_eq!(lost(&[1, 2], &[2]), [Ipv4Addr::new(10, 42, 1, 2)].into());
        assert_eq!(lost(&[], &[2]), [].into(), "a node that is back has lost nothing");
    }

    #[test]
    fn pods_of_lost_nodes_are_lost_even_when_no_service_names_them_any_more() {
        let peer = |id| Peer {
            id: NodeId(id),
            name: format!("n{id}"),
            address: Ipv4Addr::new(10, 77, 0, 1),
            pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 2, 0), prefix_len: 24 },
        };
        let unreachable = [NodeId(2)].into();
        let lost = |id| {
            let none = BTreeSet::new();
            lost_endpoints(&BTreeMap::new(), [peer(id)].iter(), &unreachable, &none)
        };
        assert_eq!(lost(2).len(), 256);
        assert!(lost(2).contains(&Ipv4Addr::new(10, 42, 2, 2)));
        assert_eq!(lost(3), [].into());
    }

    #[test]
    fn nft_takes_the_rules() {
        for text in [rules(vec![], &[]), rules(many(), &[]), rules(many(), &[1, 2])] {
            let child = Command::new("nft")
                .args(["-c", "-f", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                println!("skipped: there is no nft here");
                return;
            };
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            if stderr.contains("Operation not permitted") {
                println!("skipped: nft may not talk to the kernel here");
                return;
            }
            assert!(output.status.success(), "{stderr}\n{text}");
        }
    }
}
