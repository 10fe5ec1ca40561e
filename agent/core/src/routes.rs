//! Routes to the pods of other nodes.
//!
//! Plain routes: nodes share a LAN segment. A peer that is unreachable keeps its route, since
//! it costs nothing and the peer may be back with the next heartbeat.

use std::net::Ipv4Addr;

use bramble_shared::link::{Ipv4Range, Peer};

/// A route to another node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The other node's pod range.
    pub range: Ipv4Range,
    /// The other node.
    pub via: Ipv4Addr,
}

/// The routes that this node needs, in order and without duplicates.
pub fn plan<'a>(own_range: Ipv4Range, peers: impl Iterator<Item = &'a Peer>) -> Vec<Route> {
    let mut routes: Vec<Route> = peers
        .filter(|peer| peer.pod_range != own_range)
        .map(|peer| Route { range: peer.pod_range, via: peer.address })
        .collect();
    routes.sort();
    // Two peers with one range are a mistake of the master's; the kernel would refuse the
    // second, so the lower address is kept and everything else goes on working.
    routes.dedup_by_key(|route| route.range);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_shared::ids::NodeId;

    #[test]
    fn every_peer_but_this_node_gets_a_route() {
        let range = |third| Ipv4Range { network: Ipv4Addr::new(10, 42, third, 0), prefix_len: 24 };
        let peers: Vec<Peer> = [(2, 2), (1, 1), (0, 0)]
            .into_iter()
            .map(|(id, third)| Peer {
                id: NodeId(id),
                name: format!("n{id}"),
                address: Ipv4Addr::new(10, 77, 0, third),
                pod_range: range(third),
            })
            .collect();
        assert_eq!(
            plan(range(0), peers.iter()),
            [
                Route { range: range(1), via: Ipv4Addr::new(10, 77, 0, 1) },
                Route { range: range(2), via: Ipv4Addr::new(10, 77, 0, 2) },
            ]
        );
    }
}
