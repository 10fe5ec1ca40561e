//! Rules as named parts, and what nft must be told so that the kernel has them.
//!
//! The difference between two sets of rules costs what has changed, whatever else there is: chains
//! are flushed and filled, elements of maps are exchanged. Clients that stick to an endpoint go on
//! sticking to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bramble_shared::link::Ipv4Range;

use super::{MASQUERADE_MARK, NodeDns, Plan};

/// Maps and sets with their types: an address' are `_ips`, the node's own `_ports`.
const TABLES: [(&str, &str, &str); 9] = [
    ("map", "service_ips", "ipv4_addr . inet_proto . inet_service : verdict"),
    ("map", "node_ports", "inet_proto . inet_service : verdict"),
    ("map", "host_ports", "inet_proto . inet_service : ipv4_addr . inet_service"),
    ("map", "host_ip_ports", "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"),
    ("set", "refused_ips", "ipv4_addr . inet_proto . inet_service"),
    ("set", "refused_node_ports", "inet_proto . inet_service"),
    ("set", "dropped_ips", "ipv4_addr . inet_proto . inet_service"),
    ("set", "dropped_node_ports", "inet_proto . inet_service"),
    ("set", "hairpins", "ipv4_addr . ipv4_addr"),
];

/// Most clients of one endpoint that are remembered.
const CLIENTS_MAX: u32 = 65_536;

/// The rules of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Where the kernel looks first; the same as long as the node's ranges are.
    hooks: String,
    chains: BTreeMap<String, Vec<String>>,
    /// Elements of maps and sets by their name; a set's have no value.
    elements: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// Sets of clients, with the seconds for which each is remembered.
    clients: BTreeMap<String, u32>,
    /// Endpoints that datagrams are sent to: connection tracking remembers them beyond the rules.
    pub(super) datagrams: BTreeSet<(Ipv4Addr, u16)>,
}

impl Ruleset {
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self { hooks: hooks(plan), ..Self::default() }
    }

    pub(super) fn chain(&mut self, name: String, rules: Vec<String>) {
        self.chains.insert(name, rules);
    }

    pub(super) fn has_chain(&self, name: &str) -> bool {
        self.chains.contains_key(name)
    }

    pub(super) fn clients(&mut self, name: String, timeout_s: u32) {
        self.clients.insert(name, timeout_s);
    }

    pub(super) fn element(&mut self, table: &'static str, key: String, value: String) {
        self.elements.entry(table).or_default().insert(key, value);
    }

    pub(super) fn element_if_free(&mut self, table: &'static str, key: String, value: &str) {
        let elements = self.elements.entry(table).or_default();
        elements.entry(key).or_insert_with(|| value.to_owned());
    }

    /// Endpoints that datagrams were sent to by `before` and are not any more.
    #[must_use]
    pub fn lost_datagrams(&self, before: &Self) -> BTreeSet<(Ipv4Addr, u16)> {
        before.datagrams.difference(&self.datagrams).copied().collect()
    }

    /// All rules, whatever the kernel has now, for `nft -f`.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut out = String::new();
        // Made before it is deleted, so that the first time is no error.
        out.push_str("table ip bramble\ndelete table ip bramble\ntable ip bramble {\n");
        for (name, timeout_s) in &self.clients {
            let _ = writeln!(out, "  set {name} {{ {} }}", of_clients(*timeout_s));
        }
        for (name, rules) in &self.chains {
            let _ = writeln!(out, "  chain {name} {{\n    {}\n  }}", rules.join("\n    "));
        }
        for (what, name, kind) in TABLES {
            let _ = writeln!(out, "  {what} {name} {{\n    type {kind}");
            let elements = self.elements.get(name).into_iter().flatten();
            let elements: Vec<String> = elements.map(|(key, value)| pair(key, value)).collect();
            if !elements.is_empty() {
                let _ = writeln!(out, "    elements = {{ {} }}", elements.join(", "));
            }
            out.push_str("  }\n");
        }
        out.push_str(&self.hooks);
        out.push_str("}\n");
        out
    }

    /// What changes `before`, which the kernel has, into these; empty if nothing does.
    #[must_use]
    pub fn difference(&self, before: &Self) -> String {
        if self.hooks != before.hooks {
            return self.whole();
        }
        let mut out = String::new();
        let changed_timeout =
            |(name, timeout_s): &(&String, &u32)| self.clients.get(*name) != Some(*timeout_s);
        let gone_clients: Vec<&String> =
            before.clients.iter().filter(changed_timeout).map(|(name, _)| name).collect();
        if gone_clients.iter().any(|name| self.clients.contains_key(*name)) {
            // The kernel cannot change how long a set remembers.
            return self.whole();
        }
        for (name, timeout_s) in &self.clients {
            if !before.clients.contains_key(name) {
                let _ = writeln!(out, "add set ip bramble {name} {{ {} }}", of_clients(*timeout_s));
            }
        }
        let changed: Vec<_> = self
            .chains
            .iter()
            .filter(|(name, rules)| before.chains.get(*name) != Some(*rules))
            .collect();
        for (name, _) in &changed {
            let _ = writeln!(out, "add chain ip bramble {name}\nflush chain ip bramble {name}");
        }
        for (name, rules) in &changed {
            for rule in *rules {
                let _ = writeln!(out, "add rule ip bramble {name} {rule}");
            }
        }
        for (_, table, _) in TABLES {
            self.exchange(before, table, &mut out);
        }
        let gone = || before.chains.keys().filter(|name| !self.chains.contains_key(*name));
        for name in gone() {
            let _ = writeln!(out, "flush chain ip bramble {name}");
        }
        for name in gone() {
            let _ = writeln!(out, "delete chain ip bramble {name}");
        }
        for name in gone_clients {
            let _ = writeln!(out, "delete set ip bramble {name}");
        }
        out
    }

    fn exchange(&self, before: &Self, table: &str, out: &mut String) {
        let none = BTreeMap::new();
        let new = self.elements.get(table).unwrap_or(&none);
        let old = before.elements.get(table).unwrap_or(&none);
        let differ = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            one.iter()
                .filter(|(key, value)| other.get(*key) != Some(*value))
                .map(|(key, value)| pair(key, value))
                .collect::<Vec<String>>()
        };
        for (word, elements) in [("delete", differ(old, new)), ("add", differ(new, old))] {
            if !elements.is_empty() {
                let elements = elements.join(", ");
                let _ = writeln!(out, "{word} element ip bramble {table} {{ {elements} }}");
            }
        }
    }
}

fn pair(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key} : {value}") }
}

fn of_clients(timeout_s: u32) -> String {
    format!("type ipv4_addr; size {CLIENTS_MAX}; flags dynamic,timeout; timeout {timeout_s}s;")
}

fn hooks(plan: &Plan<'_>) -> String {
    let Ipv4Range { network: pods, prefix_len: pods_len } = plan.pod_range;
    let Ipv4Range { network: cluster, prefix_len: cluster_len } = plan.cluster_range;
    let NodeDns { address: dns, bridge, .. } = plan.dns;
    let host_ports: Vec<String> = ["tcp", "udp", "sctp"]
        .iter()
        .flat_map(|protocol| {
            let to = |key| format!("    meta l4proto {protocol} dnat ip to {key}");
            [
                to("ip daddr . meta l4proto . th dport map @host_ip_ports"),
                to("meta l4proto . th dport map @host_ports"),
            ]
        })
        .collect();
    let host_ports = host_ports.join("\n");
    format!(
        "  chain services {{
    ip daddr . meta l4proto . th dport vmap @service_ips
    ip saddr 127.0.0.0/8 ip daddr 127.0.0.0/8 return
    fib daddr type local meta l4proto . th dport vmap @node_ports
    fib daddr type local jump host_ports
  }}
  chain host_ports {{
{host_ports}
  }}
  chain refuse {{
    ct state new ip daddr . meta l4proto . th dport @dropped_ips drop
    ct state new ip daddr . meta l4proto . th dport @refused_ips reject
    ct state new fib daddr type local meta l4proto . th dport @dropped_node_ports drop
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
  chain guard_dns {{
    type filter hook input priority filter; policy accept;
    ip daddr {dns} iifname != {{ \"lo\", \"{bridge}\" }} drop
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
"
    )
}
