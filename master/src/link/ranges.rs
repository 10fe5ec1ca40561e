//! Deals node numbers and pod ranges.
//!
//! Pure: what is taken comes in. Both are kept in the Node object, so whoever deletes it frees
//! them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::limits::NODES_MAX;
use bramble_shared::link::Ipv4Range;

/// Prefix length of a node's pod range: 254 addresses for at most 110 pods.
pub(super) const POD_RANGE_PREFIX_LEN: u8 = 24;

/// The lowest free number; none if the cluster is full.
pub(super) fn free_id(taken: &BTreeSet<NodeId>) -> Option<NodeId> {
    let max = u16::try_from(NODES_MAX).unwrap_or(u16::MAX);
    (0..max).map(NodeId).find(|id| !taken.contains(id))
}

/// The lowest free pod range of the cluster; none if all are taken.
pub(super) fn free_range(cluster: Ipv4Range, taken: &BTreeSet<Ipv4Range>) -> Option<Ipv4Range> {
    let bits = u32::from(POD_RANGE_PREFIX_LEN.checked_sub(cluster.prefix_len)?);
    let size = 1_u32 << (32 - u32::from(POD_RANGE_PREFIX_LEN));
    let count = 1_u32.checked_shl(bits)?;
    (0..count)
        .map(|index| Ipv4Range {
            network: Ipv4Addr::from_bits(cluster.network.to_bits() + index * size),
            prefix_len: POD_RANGE_PREFIX_LEN,
        })
        .find(|range| !taken.contains(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, prefix_len: u8) -> Ipv4Range {
        Ipv4Range { network: text.parse().unwrap(), prefix_len }
    }

    #[test]
    fn the_lowest_free_is_dealt() {
        let taken = [0, 1, 3].map(NodeId).into();
        assert_eq!(free_id(&taken), Some(NodeId(2)));
        let taken = [range("10.42.0.0", 24), range("10.42.2.0", 24)].into();
        let free = free_range(range("10.42.0.0", 16), &taken);
        assert_eq!(free, Some(range("10.42.1.0", 24)));
    }

    #[test]
    fn what_is_full_deals_nothing() {
        assert_eq!(free_id(&(0..128).map(NodeId).collect()), None);
        let taken = [range("10.42.0.0", 24), range("10.42.1.0", 24)].into();
        assert_eq!(free_range(range("10.42.0.0", 23), &taken), None);
        assert_eq!(free_range(range("10.42.0.0", 25), &taken), None);
    }
}
