//! Which addresses a node may say that it, or one of its pods, has.
//!
//! Pure. Addresses become endpoints and routes, so a node that was taken over must not draw the
//! traffic of others to itself, nor send it where nobody meant it to go.

use std::net::{IpAddr, Ipv4Addr};

use bramble_shared::link::Ipv4Range;

/// What a cluster's addresses are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Addresses of all pods.
    pub(super) cluster_range: Ipv4Range,
    /// Addresses of Services.
    pub(super) service_range: Ipv4Range,
    /// The master's.
    pub(super) master: Ipv4Addr,
}

/// Another node.
#[derive(Clone, Debug)]
pub(super) struct OtherNode {
    /// Its name.
    pub(super) name: String,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// It is in contact.
    pub(super) in_contact: bool,
}

/// Why a node may not have the address that it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressRefusal {
    /// Nobody could reach it there.
    #[error("`{address}` is not the address of a board in a network")]
    Unusable { address: Ipv4Addr },
    /// The cluster deals these itself.
    #[error("`{address}` is an address of this cluster's pods or Services")]
    OfCluster { address: Ipv4Addr },
    /// It is the master's, and the board is not.
    #[error("`{address}` is the master's address")]
    OfMaster { address: Ipv4Addr },
    /// It is another node's.
    #[error("`{address}` is the address of node `{other}`")]
    OfNode { address: Ipv4Addr, other: String },
}

/// The address of a node that says `said` over a connection from `seen`.
///
/// An address from which the connection came is proved: nobody else can answer there. It may be one
/// that a node had which is silent now, for routers deal addresses anew.
///
/// # Errors
///
/// When it may not have it.
pub(super) fn of_node(
    said: Ipv4Addr,
    seen: IpAddr,
    plan: &Plan,
    others: &[OtherNode],
) -> Result<Ipv4Addr, AddressRefusal> {
    // Whoever comes over loopback is on the master's board.
    let seen = match seen {
        IpAddr::V4(seen) if !seen.is_loopback() => Some(seen),
        IpAddr::V6(seen) if !seen.is_loopback() => None,
        IpAddr::V4(_) | IpAddr::V6(_) => Some(plan.master),
    };
    let nowhere = said.is_unspecified() || said.is_loopback();
    let address = seen.filter(|_| nowhere).unwrap_or(said);
    let proved = seen == Some(address);
    let one_board = !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0);
    // Boards without a router give themselves link-local addresses; on another link they are nobody's.
    if !one_board || (address.is_link_local() && !proved) {
        return Err(AddressRefusal::Unusable { address });
    }
    if contains(plan.cluster_range, address) || contains(plan.service_range, address) {
        return Err(AddressRefusal::OfCluster { address });
    }
    if address == plan.master && !proved {
        return Err(AddressRefusal::OfMaster { address });
    }
    let holds = |other: &&OtherNode| other.address == address && (other.in_contact || !proved);
    match others.iter().find(holds) {
        Some(other) => Err(AddressRefusal::OfNode { address, other: other.name.clone() }),
        None => Ok(address),
    }
}

/// Whether a pod may have this address on a node with this range and address.
pub(super) fn may_be_of_pod(
    ip: Ipv4Addr,
    host_network: bool,
    range: Ipv4Range,
    node: Ipv4Addr,
) -> bool {
    if host_network {
        return ip == node;
    }
    let beside = |offset: i32| {
        contains(range, Ipv4Addr::from_bits(ip.to_bits().wrapping_add_signed(offset)))
    };
    // The first is the range's own, the second its bridge's, the last is for everybody.
    contains(range, ip) && beside(-2) && beside(1)
}

fn contains(range: Ipv4Range, ip: Ipv4Addr) -> bool {
    let host_bits = 32_u32.saturating_sub(u32::from(range.prefix_len));
    let network = |ip: Ipv4Addr| ip.to_bits().checked_shr(host_bits).unwrap_or(0);
    network(ip) == network(range.network)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: [u8; 4] = [192, 0, 2, 200];

    fn range(network: [u8; 4], prefix_len: u8) -> Ipv4Range {
        Ipv4Range { network: network.into(), prefix_len }
    }

    fn of(said: [u8; 4], seen: [u8; 4]) -> Result<Ipv4Addr, AddressRefusal> {
        let plan = Plan {
            cluster_range: range([10, 42, 0, 0], 16),
            service_range: range([10, 43, 0, 0], 16),
            master: MASTER.into(),
        };
        let other = |name: &str, last: u8, in_contact| OtherNode {
            name: name.to_owned(),
            address: [192, 0, 2, last].into(),
            in_contact,
        };
        let others = [other("pi-8", 8, true), other("pi-9", 9, false)];
        of_node(said.into(), IpAddr::from(seen), &plan, &others)
    }

    #[test]
    fn a_node_has_the_address_that_it_says_or_is_seen_at() {
        let here = [192, 0, 2, 7];
        let address = Ok(Ipv4Addr::from(here));
        assert_eq!(of(here, here), address);
        assert_eq!(of([0, 0, 0, 0], here), address);
        assert_eq!(of([127, 0, 0, 1], here), address);
        // Behind a router with translation it is seen elsewhere.
        assert_eq!(of(here, [203, 0, 113, 1]), address);
        assert_eq!(of([169, 254, 3, 4], [169, 254, 3, 4]), Ok([169, 254, 3, 4].into()));
    }

    #[test]
    fn an_address_that_is_nobodys_is_refused() {
        for said in [[224, 0, 0, 1], [255, 255, 255, 255], [0, 1, 2, 3], [169, 254, 169, 254]] {
            let refused = of(said, [192, 0, 2, 7]);
            assert_eq!(refused, Err(AddressRefusal::Unusable { address: said.into() }));
        }
        for said in [[10, 42, 3, 4], [10, 43, 0, 1]] {
            let refused = of(said, [192, 0, 2, 7]);
            assert_eq!(refused, Err(AddressRefusal::OfCluster { address: said.into() }));
        }
    }

    #[test]
    fn the_masters_address_is_for_its_own_board() {
        let refused = of(MASTER, [192, 0, 2, 7]);
        assert_eq!(refused, Err(AddressRefusal::OfMaster { address: MASTER.into() }));
        for seen in [MASTER, [127, 0, 0, 1]] {
            assert_eq!(of(MASTER, seen), Ok(MASTER.into()));
            assert_eq!(of([0, 0, 0, 0], seen), Ok(MASTER.into()));
        }
    }

    #[test]
    fn another_nodes_address_goes_to_who_proves_it_once_that_is_silent() {
        let taken = |last: u8, other: &str| {
            let address = [192, 0, 2, last].into();
            Err(AddressRefusal::OfNode { address, other: other.to_owned() })
        };
        assert_eq!(of([192, 0, 2, 8], [192, 0, 2, 8]), taken(8, "pi-8"));
        assert_eq!(of([192, 0, 2, 9], [192, 0, 2, 7]), taken(9, "pi-9"));
        assert_eq!(of([192, 0, 2, 9], [192, 0, 2, 9]), Ok([192, 0, 2, 9].into()));
    }

    #[test]
    fn pods_are_in_their_nodes_range_or_at_its_address() {
        let node = Ipv4Addr::from([192, 0, 2, 7]);
        let may =
            |ip: [u8; 4], host| may_be_of_pod(ip.into(), host, range([10, 42, 3, 0], 24), node);
        assert!(may([10, 42, 3, 2], false) && may([10, 42, 3, 254], false));
        assert!(may([192, 0, 2, 7], true));
        for ip in [
            [10, 42, 3, 0],
            [10, 42, 3, 1],
            [10, 42, 3, 255],
            [10, 42, 4, 2],
            [10, 42, 2, 255],
            [192, 0, 2, 7],
            [192, 0, 2, 200],
            [127, 0, 0, 1],
            [169, 254, 169, 254],
            [8, 8, 8, 8],
        ] {
            assert!(!may(ip, false), "{ip:?}");
        }
        assert!(!may([10, 42, 3, 2], true) && !may([192, 0, 2, 200], true));
    }
}
