//! The cluster's own names: what is answered from the synced Services.
//!
//! ```text
//!  SERVICE.NAMESPACE.svc.DOMAIN                      cluster address, or all hosts if headless
//!  _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.DOMAIN      SRV
//!  HOST.SERVICE.NAMESPACE.svc.DOMAIN                 one host; HOST is its name or 10-42-0-7
//!  10-42-0-7.NAMESPACE.pod.DOMAIN                    that address
//!  7.0.42.10.in-addr.arpa                            PTR, back again
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Ipv4Range, Protocol, Service, ServicePort};

use crate::message::{Code, Data, Query, Record, Reply, kind};
use crate::name::Name;

/// How long an answer may be believed, in seconds: CoreDNS' default for names of a cluster.
const TTL_S: u32 = 5;
/// Version of the rules that are followed, for those who ask `dns-version`.
const VERSION: &str = "1.1.0";
/// Most Services that lead to each other by external names.
const ALIASES_MAX: usize = 8;

/// What a name is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This is the answer.
    Reply(Reply),
    /// The name is not the cluster's.
    Elsewhere,
    /// The answer so far ends in a name that is not the cluster's.
    Alias(Reply, Name),
}

/// The cluster's names at one moment.
#[derive(Clone, Copy)]
pub struct Zone<'a, Lost> {
    /// The cluster's domain.
    pub domain: &'a Name,
    /// Address of cluster DNS.
    pub dns: Ipv4Addr,
    /// Ranges of pods and Services: who has which of their addresses is nobody else's to say.
    pub ranges: [Ipv4Range; 2],
    /// Services by namespace and name.
    pub services: &'a BTreeMap<(String, String), Service>,
    /// Whether nothing is heard of a node.
    pub lost: Lost,
    /// What addresses are turned by, so that clients that take the first one spread.
    pub turn: usize,
}

impl<Lost> std::fmt::Debug for Zone<'_, Lost> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// What stands at one name.
#[derive(Default)]
struct Node {
    addresses: Vec<Ipv4Addr>,
    /// Name and port, and the address of the name.
    targets: Vec<(String, u16, Ipv4Addr)>,
    alias: Option<String>,
}

impl<Lost: Fn(NodeId) -> bool> Zone<'_, Lost> {
    /// Looks a name up.
    pub fn look_up(&self, query: &Query) -> Found {
        let mut reply = Reply { authoritative: true, ..Reply::of(Code::NoError) };
        let mut name = query.name.clone();
        for _ in 0..ALIASES_MAX {
            let Some(labels) = name.within(self.domain) else {
                if !reply.answers.is_empty() {
                    return Found::Alias(reply, name);
                }
                return self.reverse(query, reply);
            };
            let node = match labels.as_slice() {
                [] => return Found::Reply(self.apex(query, reply)),
                ["dns-version"] if matches!(query.kind, kind::TXT | kind::ANY) => {
                    reply.answers.push(record(&name, Data::Txt(VERSION)));
                    return Found::Reply(reply);
                }
                _ => self.node(&labels),
            };
            let Some(node) = node else {
                return Found::Reply(self.no(Code::NxDomain, reply));
            };
            let Some(target) = &node.alias else {
                self.fill(&mut reply, query.kind, &name, node);
                let empty = reply.answers.is_empty();
                return Found::Reply(if empty { self.no(Code::NoError, reply) } else { reply });
            };
            let Some(target) = Name::parse(target) else {
                return Found::Reply(self.no(Code::ServFail, reply));
            };
            reply.answers.push(record(&name, Data::Cname(target.clone())));
            if query.kind == kind::CNAME {
                return Found::Reply(reply);
            }
            name = target;
        }
        Found::Reply(Reply::of(Code::ServFail))
    }

    fn apex(&self, query: &Query, mut reply: Reply) -> Reply {
        match query.kind {
            kind::SOA => reply.answers.push(self.authority()),
            kind::NS => {
                let Some(server) = self.full("ns.dns") else { return reply };
                reply.answers.push(record(self.domain, Data::Ns(server.clone())));
                reply.additional.push(record(&server, Data::A(self.dns)));
            }
            _ => return self.no(Code::NoError, reply),
        }
        reply
    }

    /// What stands at a name, by its labels before the domain; none if there is no such name.
    fn node(&self, labels: &[&str]) -> Option<Node> {
        let only = |ip| Node { addresses: vec![ip], ..Node::default() };
        match *labels {
            ["svc" | "pod" | "dns" | "dns-version"] | [_, "pod"] => Some(Node::default()),
            ["ns", "dns"] => Some(only(self.dns)),
            [namespace, "svc"] => {
                let first = (namespace.to_owned(), String::new());
                let next = self.services.range(first..).next();
                next.is_some_and(|((found, _), _)| found == namespace).then(Node::default)
            }
            [address, _, "pod"] => undashed(address).map(only),
            [service, namespace, "svc"] => self.service(namespace, service, None),
            [protocol, service, namespace, "svc"] if protocol.starts_with('_') => {
                let service = self.find(namespace, service)?;
                let known = service.ports.iter().any(|port| word(port.protocol) == protocol);
                known.then(Node::default)
            }
            [host, service, namespace, "svc"] => self.host(namespace, service, host),
            [port, protocol, service, namespace, "svc"] => {
                self.service(namespace, service, Some((port, protocol)))
            }
            _ => None,
        }
    }

    fn find(&self, namespace: &str, service: &str) -> Option<&Service> {
        self.services.get(&(namespace.to_owned(), service.to_owned()))
    }

    fn service(&self, namespace: &str, name: &str, port: Option<(&str, &str)>) -> Option<Node> {
        let service = self.find(namespace, name)?;
        let mut node = Node::default();
        if !service.external_name.is_empty() {
            if port.is_some() {
                return None;
            }
            match service.external_name.parse() {
                Ok(ip) => node.addresses.push(ip),
                Err(_) => node.alias = Some(service.external_name.clone()),
            }
            return Some(node);
        }
        let asked = |each: &&ServicePort| {
            port.is_none_or(|(name, protocol)| {
                word(each.protocol) == protocol
                    && !each.name.is_empty()
                    && name.strip_prefix('_') == Some(each.name.as_str())
            })
        };
        let ports = || service.ports.iter().filter(asked);
        if port.is_some() && ports().next().is_none() {
            return None;
        }
        if let Some(ip) = service.cluster_ip {
            node.addresses.push(ip);
            let target = format!("{name}.{namespace}.svc");
            node.targets.extend(ports().map(|port| (target.clone(), port.port, ip)));
            return Some(node);
        }
        let hosts: Vec<_> = self.hosts(service).collect();
        for port in ports() {
            for endpoint in port.endpoints.iter().filter(|endpoint| !endpoint.terminating) {
                let named = hosts.iter().filter(|(ip, _)| *ip == endpoint.ip);
                node.targets.extend(named.map(|(ip, host)| {
                    (format!("{host}.{name}.{namespace}.svc"), endpoint.port, *ip)
                }));
            }
        }
        match port {
            None => node.addresses.extend(hosts.iter().map(|(ip, _)| *ip)),
            Some(_) => node.addresses.extend(node.targets.iter().map(|(.., ip)| *ip)),
        }
        node.addresses.sort_unstable();
        node.addresses.dedup();
        // A headless Service without a ready host is no name: so say the rules.
        (!node.addresses.is_empty()).then_some(node)
    }

    fn host(&self, namespace: &str, name: &str, host: &str) -> Option<Node> {
        let service = self.find(namespace, name)?;
        let mut node = Node::default();
        let named = self.hosts(service).filter(|(_, found)| found == host);
        node.addresses.extend(named.map(|(ip, _)| ip));
        if let Some(ip) = undashed(host).filter(|ip| self.endpoint(service, *ip)) {
            node.addresses.push(ip);
        }
        node.addresses.sort_unstable();
        node.addresses.dedup();
        for port in &service.ports {
            let own = port.endpoints.iter().filter(|found| node.addresses.contains(&found.ip));
            let target = || format!("{host}.{name}.{namespace}.svc");
            node.targets.extend(own.map(|found| (target(), found.port, found.ip)));
        }
        (!node.addresses.is_empty()).then_some(node)
    }

    /// Hosts with their addresses, but for those of lost nodes.
    fn hosts<'b>(
        &'b self,
        service: &'b Service,
    ) -> impl Iterator<Item = (Ipv4Addr, String)> + use<'b, Lost> {
        let here = |node: Option<NodeId>| {
            service.publish_not_ready || node.is_none_or(|node| !(self.lost)(node))
        };
        service.hosts.iter().filter(move |host| here(host.node)).map(|host| {
            let named = !host.hostname.is_empty();
            (host.ip, if named { host.hostname.clone() } else { dashed(host.ip) })
        })
    }

    /// Whether a Service with a cluster address has this ready endpoint.
    fn endpoint(&self, service: &Service, ip: Ipv4Addr) -> bool {
        service.cluster_ip.is_some()
            && service.ports.iter().flat_map(|port| &port.endpoints).any(|endpoint| {
                endpoint.ip == ip
                    && !endpoint.terminating
                    && endpoint.node.is_none_or(|node| !(self.lost)(node))
            })
    }

    fn fill(&self, reply: &mut Reply, kind: u16, name: &Name, node: Node) {
        let Node { mut addresses, targets, .. } = node;
        match kind {
            kind::A | kind::ANY => {
                if !addresses.is_empty() {
                    let first = self.turn % addresses.len();
                    addresses.rotate_left(first);
                }
                reply.answers.extend(addresses.into_iter().map(|ip| record(name, Data::A(ip))));
            }
            kind::SRV => {
                // As CoreDNS: all are equal, and their weights make a hundred.
                let count = u16::try_from(targets.len()).unwrap_or(u16::MAX).max(1);
                let weight = (100 / count).max(1);
                for (target, port, ip) in targets {
                    let Some(target) = self.full(&target) else { continue };
                    let address = record(&target, Data::A(ip));
                    if !reply.additional.contains(&address) {
                        reply.additional.push(address);
                    }
                    let data = Data::Srv { priority: 0, weight, port, target };
                    reply.answers.push(record(name, data));
                }
            }
            _ => {}
        }
    }

    /// The names of an address.
    fn reverse(&self, query: &Query, mut reply: Reply) -> Found {
        let arpa = Name::parse("in-addr.arpa").and_then(|arpa| {
            let labels: Vec<String> =
                query.name.within(&arpa)?.iter().rev().map(|label| (*label).to_owned()).collect();
            Some((arpa, labels.join(".").parse::<Ipv4Addr>().ok()?))
        });
        let Some((arpa, ip)) = arpa else { return Found::Elsewhere };
        let mut names = Vec::new();
        for service in self.services.values() {
            let Service { namespace, name, .. } = service;
            if service.cluster_ip == Some(ip) {
                names.push(format!("{name}.{namespace}.svc"));
            }
            let host = self.hosts(service).find(|(found, _)| *found == ip).map(|(_, host)| host);
            let host = host.or_else(|| self.endpoint(service, ip).then(|| dashed(ip)));
            names.extend(host.map(|host| format!("{host}.{name}.{namespace}.svc")));
        }
        let inside = self.ranges.iter().any(|range| contains(*range, ip));
        if names.is_empty() && !inside {
            return Found::Elsewhere;
        }
        if names.is_empty() {
            reply.code = Code::NxDomain;
            reply.authority.extend(self.start(&arpa));
        } else if matches!(query.kind, kind::PTR | kind::ANY) {
            let names = names.iter().filter_map(|name| self.full(name));
            reply.answers.extend(names.map(|name| record(&query.name, Data::Ptr(name))));
        } else {
            reply.authority.extend(self.start(&arpa));
        }
        Found::Reply(reply)
    }

    fn no(&self, code: Code, reply: Reply) -> Reply {
        Reply { code, authority: vec![self.authority()], ..reply }
    }

    fn authority(&self) -> Record {
        self.start(self.domain).unwrap_or_else(|| record(self.domain, Data::A(self.dns)))
    }

    fn start(&self, zone: &Name) -> Option<Record> {
        let data = Data::Soa {
            server: self.full("ns.dns")?,
            mailbox: self.full("hostmaster")?,
            // Nobody copies this zone, so nobody compares numbers.
            serial: 1,
            minimum_s: TTL_S,
        };
        Some(record(zone, data))
    }

    /// A name of the cluster's domain; none if it is too long for one.
    fn full(&self, front: &str) -> Option<Name> {
        Name::parse(&format!("{front}.{}", self.domain))
    }
}

fn record(name: &Name, data: Data) -> Record {
    Record { name: name.clone(), ttl_s: TTL_S, data }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "_tcp",
        Protocol::Udp => "_udp",
        Protocol::Sctp => "_sctp",
    }
}

fn dashed(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}

fn undashed(label: &str) -> Option<Ipv4Addr> {
    if label.contains('.') { None } else { label.replace('-', ".").parse().ok() }
}

fn contains(range: Ipv4Range, ip: Ipv4Addr) -> bool {
    let host_bits = 32 - u32::from(range.prefix_len.min(32));
    let part = |ip: Ipv4Addr| u64::from(u32::from(ip)) >> host_bits;
    part(range.network) == part(ip)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
