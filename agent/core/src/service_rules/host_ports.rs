//! Ports of the node that lead to its own pods (`hostPort`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bramble_shared::link::{Pod, Protocol};

use super::{Plan, Ruleset, protocol_word};

/// A port of the node that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the node.
    pub port: u16,
    /// The only address of the node at which it is open; none for all.
    pub host_ip: Option<Ipv4Addr>,
    /// The pod.
    pub pod_ip: Ipv4Addr,
    /// Port in the pod.
    pub pod_port: u16,
}

/// The ports of the pods that have their addresses. Pods in the node's network open theirs
/// themselves.
#[must_use]
pub fn host_ports<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> BTreeSet<HostPort> {
    let mut found = BTreeSet::new();
    for pod in pods.filter(|pod| !pod.host_network) {
        let Some(pod_ip) = addresses.get(&pod.uid).copied() else { continue };
        let containers = pod.init_containers.iter().chain(&pod.containers);
        for port in containers.flat_map(|container| &container.ports) {
            if port.host_port != 0 {
                found.insert(HostPort {
                    protocol: port.protocol,
                    port: port.host_port,
                    host_ip: port.host_ip,
                    pod_ip,
                    pod_port: port.port,
                });
            }
        }
    }
    found
}

impl Ruleset {
    pub(super) fn host_port(&mut self, plan: &Plan<'_>, port: &HostPort) {
        let protocol = protocol_word(port.protocol);
        let to = format!("{} . {}", port.pod_ip, port.pod_port);
        match port.host_ip {
            None => {
                self.element_if_free("host_ports", format!("{protocol} . {}", port.port), &to);
            }
            Some(ip) => {
                let key = format!("{ip} . {protocol} . {}", port.port);
                self.element_if_free("host_ip_ports", key, &to);
            }
        }
        self.hairpin(plan, port.pod_ip);
        if port.protocol == Protocol::Udp {
            self.datagrams.insert((port.pod_ip, port.pod_port));
        }
    }
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::ContainerPort;

    use super::*;
    use crate::pod_worker::example::pod;

    #[test]
    fn ports_of_pods_with_an_address_are_open() {
        let mut pod = pod();
        pod.containers[0].ports = vec![
            ContainerPort { host_port: 8080, port: 80, ..ContainerPort::default() },
            ContainerPort { port: 81, ..ContainerPort::default() },
        ];
        let ip = Ipv4Addr::new(10, 42, 1, 2);
        let addresses = [(pod.uid.clone(), ip)].into();
        assert!(host_ports([&pod].into_iter(), &BTreeMap::new()).is_empty());
        let open: Vec<_> = host_ports([&pod].into_iter(), &addresses).into_iter().collect();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].port, open[0].pod_port, open[0].pod_ip), (8080, 80, ip));
        pod.host_network = true;
        assert!(host_ports([&pod].into_iter(), &addresses).is_empty());
    }
}
