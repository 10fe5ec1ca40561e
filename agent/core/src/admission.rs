//! Whether a node can take a pod at all. The scheduler asks the same before it binds; a pod that
//! names its node has not been asked.

use std::net::Ipv4Addr;

use bramble_shared::link::{ContainerPort, Pod};

/// Why a node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Machine-readable, as the kubelet's.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// Refuses a pod that wants what others, which have not ended, hold already.
///
/// # Errors
///
/// `NodePorts`, if a port of the node is taken.
pub fn admit<'a>(pod: &Pod, others: impl IntoIterator<Item = &'a Pod>) -> Result<(), Rejection> {
    let wanted: Vec<HostPort<'_>> = host_ports(pod).collect();
    let taken = |other: &Pod| {
        host_ports(other).any(|held| wanted.iter().any(|port| port.conflicts_with(&held)))
    };
    if !wanted.is_empty() && others.into_iter().any(taken) {
        return Err(Rejection {
            reason: "NodePorts",
            message: "Predicate NodePorts failed: node(s) didn't have free ports for the \
                      requested pod ports"
                .to_owned(),
        });
    }
    Ok(())
}

/// A port of the node that a pod has for itself.
struct HostPort<'a> {
    port: &'a ContainerPort,
    number: u16,
}

impl HostPort<'_> {
    fn conflicts_with(&self, other: &Self) -> bool {
        let all = |ip: Option<Ipv4Addr>| ip.is_none_or(|ip| ip.is_unspecified());
        let (own, others) = (self.port.host_ip, other.port.host_ip);
        self.number == other.number
            && self.port.protocol == other.port.protocol
            && (all(own) || all(others) || own == others)
    }
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort<'_>> {
    let containers = pod.init_containers.iter().filter(|container| container.sidecar);
    let ports = containers.chain(&pod.containers).flat_map(|container| &container.ports);
    ports.filter_map(|port| {
        let number = match port.host_port {
            0 if pod.host_network => port.port,
            number => number,
        };
        (number != 0).then_some(HostPort { port, number })
    })
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::Protocol;

    use super::*;
    use crate::pod_worker::example::{container, pod};

    fn holding(host_port: u16, host_ip: Option<[u8; 4]>, protocol: Protocol) -> Pod {
        let mut main = container("main");
        main.ports = vec![ContainerPort {
            name: String::new(),
            port: 80,
            host_port,
            host_ip: host_ip.map(Ipv4Addr::from),
            protocol,
        }];
        Pod { containers: vec![main], ..pod() }
    }

    #[test]
    fn a_port_of_the_node_is_given_once() {
        let held = holding(8080, None, Protocol::Tcp);
        let check = |pod: &Pod, free: bool| {
            let admitted = admit(pod, [&held]);
            assert_eq!(admitted.is_ok(), free, "{admitted:?}");
        };
        check(&holding(8080, None, Protocol::Tcp), false);
        check(&holding(8080, Some([127, 0, 0, 1]), Protocol::Tcp), false);
        check(&holding(8080, None, Protocol::Udp), true);
        check(&holding(8081, None, Protocol::Tcp), true);
        check(&holding(0, None, Protocol::Tcp), true);
        let mut own = holding(0, None, Protocol::Tcp);
        own.host_network = true;
        own.containers[0].ports[0].port = 8080;
        check(&own, false);
    }

    #[test]
    fn addresses_of_their_own_do_not_meet() {
        let held = holding(8080, Some([10, 0, 0, 1]), Protocol::Tcp);
        let other = holding(8080, Some([10, 0, 0, 2]), Protocol::Tcp);
        assert_eq!(admit(&other, [&held]), Ok(()));
        assert_eq!(admit(&held, [&held]).unwrap_err().reason, "NodePorts");
    }
}
