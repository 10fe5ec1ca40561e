//! Refuses a pod network that would take the place of a network that the board is in.
//!
//! NetworkManager, for one, gives 10.42.0.0/24 to a shared hotspot.

use std::fmt;
use std::net::Ipv4Addr;

use bramble_shared::link::Ipv4Range;

use crate::address::contains;

/// A network of the board, and the cluster's range that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    interface: String,
    network: Ipv4Range,
    range: Ipv4Range,
    setting: &'static str,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, network, range, setting } = self;
        let of = if *setting == "cluster-range" { "pods" } else { "Services" };
        write!(
            f,
            "the network {}/{} of `{interface}` overlaps with the range {}/{} of {of}; give the \
             master another `{setting}`, or that network other addresses",
            network.network, network.prefix_len, range.network, range.prefix_len
        )
    }
}

impl std::error::Error for Overlap {}

/// Finds the first network that overlaps with a range of the cluster.
#[must_use]
pub fn overlap(
    networks: &[(String, Ipv4Range)],
    cluster: Ipv4Range,
    services: Ipv4Range,
) -> Option<Overlap> {
    let ranges = [(cluster, "cluster-range"), (services, "service-range")];
    networks.iter().find_map(|(interface, network)| {
        let (range, setting) = ranges.into_iter().find(|(range, _)| {
            contains(*range, network.network) || contains(*network, range.network)
        })?;
        Some(Overlap { interface: interface.clone(), network: *network, range, setting })
    })
}

/// The network of an address with this mask.
#[must_use]
pub fn network_of(address: Ipv4Addr, mask: Ipv4Addr) -> Ipv4Range {
    let network = Ipv4Addr::from(u32::from(address) & u32::from(mask));
    let prefix_len = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
    Ipv4Range { network, prefix_len }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, prefix_len: u8) -> Ipv4Range {
        Ipv4Range { network: text.parse().unwrap(), prefix_len }
    }

    fn check(network: &str, prefix_len: u8) -> Option<String> {
        let networks = [
            ("eth0".to_owned(), range("192.168.1.0", 24)),
            ("wlan0".to_owned(), range(network, prefix_len)),
        ];
        let found = overlap(&networks, range("10.42.0.0", 16), range("10.43.0.0", 16));
        found.map(|overlap| overlap.to_string())
    }

    #[test]
    fn a_network_within_or_around_a_range_is_found() {
        assert_eq!(check("10.44.0.0", 16), None);
        assert_eq!(
            check("10.42.0.0", 24).unwrap(),
            "the network 10.42.0.0/24 of `wlan0` overlaps with the range 10.42.0.0/16 of pods; give \
             the master another `cluster-range`, or that network other addresses"
        );
        assert!(check("10.43.5.0", 24).unwrap().contains("`service-range`"));
        assert!(check("10.0.0.0", 8).unwrap().contains("`cluster-range`"));
    }

    #[test]
    fn networks_follow_from_masks() {
        let address = Ipv4Addr::new(10, 42, 0, 7);
        assert_eq!(network_of(address, Ipv4Addr::new(255, 255, 255, 0)), range("10.42.0.0", 24));
        assert_eq!(network_of(address, Ipv4Addr::BROADCAST), range("10.42.0.7", 32));
    }
}
