//! Deals addresses of the node's pod range to its pods.
//!
//! Knows nothing of interfaces. The first address of a range is the bridge's, the network and
//! the broadcast address are nobody's; addresses are dealt in turn, so that one that was just
//! given back is not dealt again at once (connections to its last holder would reach the next).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bramble_shared::link::Ipv4Range;

/// The addresses of one node's pods, by pod uid.
#[derive(Clone, Debug)]
pub struct PodAddresses {
    range: Ipv4Range,
    held: BTreeMap<u32, String>,
    next: u32,
}

/// All addresses of the range are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free address is left in the node's pod range {}/{}", .range.network, .range.prefix_len)]
pub struct RangeFullError {
    /// The range.
    pub range: Ipv4Range,
}

impl PodAddresses {
    /// Starts with nothing held.
    #[must_use]
    pub fn new(range: Ipv4Range) -> Self {
        Self { range, held: BTreeMap::new(), next: 0 }
    }

    /// The range that addresses are dealt from.
    #[must_use]
    pub fn range(&self) -> Ipv4Range {
        self.range
    }

    /// Notes that a pod holds an address already (found after an agent restart).
    ///
    /// Returns false, and changes nothing, if another pod holds it or the range lacks it.
    pub fn hold(&mut self, uid: &str, ip: Ipv4Addr) -> bool {
        let address = u32::from(ip);
        if !contains(self.range, ip) || self.held.get(&address).is_some_and(|other| other != uid) {
            return false;
        }
        self.held.insert(address, uid.to_owned());
        true
    }

    /// Deals an address; the same one again if the pod holds one.
    ///
    /// # Errors
    ///
    /// If all addresses are held.
    pub fn allocate(&mut self, uid: &str) -> Result<Ipv4Addr, RangeFullError> {
        if let Some((address, _)) = self.held.iter().find(|(_, holder)| *holder == uid) {
            return Ok(Ipv4Addr::from(*address));
        }
        let first = u32::from(first_address(self.range)).saturating_add(2);
        let last = u32::from(last_address(self.range)).saturating_sub(1);
        if first > last {
            return Err(RangeFullError { range: self.range });
        }
        let start = if (first..=last).contains(&self.next) { self.next } else { first };
        let free = (start..=last).chain(first..start).find(|a| !self.held.contains_key(a));
        let Some(address) = free else {
            return Err(RangeFullError { range: self.range });
        };
        self.next = address.saturating_add(1);
        self.held.insert(address, uid.to_owned());
        Ok(Ipv4Addr::from(address))
    }

    /// Takes a pod's address back.
    pub fn release(&mut self, uid: &str) {
        self.held.retain(|_, holder| holder != uid);
    }
}

/// Says whether a range holds an address.
#[must_use]
pub fn contains(range: Ipv4Range, ip: Ipv4Addr) -> bool {
    u32::from(ip) & mask(range) == u32::from(range.network) & mask(range)
}

/// First address of a range: the network's.
#[must_use]
pub fn first_address(range: Ipv4Range) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network) & mask(range))
}

/// Last address of a range: the broadcast address.
#[must_use]
pub fn last_address(range: Ipv4Range) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network) | !mask(range))
}

/// Address of the node's bridge: the first one after the network's.
#[must_use]
pub fn bridge_address(range: Ipv4Range) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first_address(range)).saturating_add(1))
}

fn mask(range: Ipv4Range) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(range.prefix_len.min(32))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, prefix_len: u8) -> Ipv4Range {
        Ipv4Range { network: text.parse().unwrap(), prefix_len }
    }

    #[test]
    fn small_range_deals_what_it_has_and_no_more() {
        let mut addresses = PodAddresses::new(range("10.42.1.0", 29));
        let dealt: Vec<_> = (0..5).map(|n| addresses.allocate(&n.to_string())).collect();
        let expected: Vec<Result<Ipv4Addr, RangeFullError>> =
            (2..=6).map(|n| Ok(Ipv4Addr::new(10, 42, 1, n))).collect();
        assert_eq!(dealt, expected);
        assert!(addresses.allocate("6").is_err());
        addresses.release("3");
        assert_eq!(addresses.allocate("6"), Ok(Ipv4Addr::new(10, 42, 1, 5)));
    }

    #[test]
    fn same_pod_gets_the_same_address() {
        let mut addresses = PodAddresses::new(range("10.42.1.0", 24));
        assert_eq!(addresses.allocate("a"), addresses.allocate("a"));
    }

    #[test]
    fn address_just_given_back_is_not_dealt_at_once() {
        let mut addresses = PodAddresses::new(range("10.42.1.0", 24));
        let first = addresses.allocate("a").unwrap();
        addresses.release("a");
        assert_ne!(addresses.allocate("b").unwrap(), first);
    }

    #[test]
    fn adopted_address_is_not_dealt() {
        let mut addresses = PodAddresses::new(range("10.42.1.0", 24));
        assert!(addresses.hold("old", Ipv4Addr::new(10, 42, 1, 2)));
        assert!(!addresses.hold("other", Ipv4Addr::new(10, 42, 1, 2)));
        assert!(!addresses.hold("other", Ipv4Addr::new(10, 43, 1, 2)));
        assert_eq!(addresses.allocate("new"), Ok(Ipv4Addr::new(10, 42, 1, 3)));
    }

    #[test]
    fn ranges_have_the_right_ends() {
        let range = range("10.42.3.0", 24);
        assert_eq!(bridge_address(range), Ipv4Addr::new(10, 42, 3, 1));
        assert_eq!(last_address(range), Ipv4Addr::new(10, 42, 3, 255));
        assert!(contains(range, Ipv4Addr::new(10, 42, 3, 200)));
        assert!(!contains(range, Ipv4Addr::new(10, 42, 4, 200)));
    }
}
