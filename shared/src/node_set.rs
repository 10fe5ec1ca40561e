//! A set of nodes in sixteen bytes, so that every acknowledgement can carry all of it.
//!
//! Node numbers are below [`NODES_MAX`], so the set is a bitmap: it is never partial, and its
//! length does not tell how many are in it.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::limits::NODES_MAX;

const LEN: usize = NODES_MAX / 8;
const _: () = assert!(NODES_MAX.is_multiple_of(8) && LEN == 16, "the wire format has 16 bytes");

/// A set of nodes; node n is bit n % 8 of byte n / 8.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSet([u8; LEN]);

impl NodeSet {
    /// The set without a node.
    pub const EMPTY: Self = Self([0; LEN]);

    /// Adds a node; false if its number is out of bounds, so that it cannot be named.
    pub fn insert(&mut self, node: NodeId) -> bool {
        let Some(byte) = self.0.get_mut(usize::from(node.0 / 8)) else { return false };
        *byte |= 1 << (node.0 % 8);
        true
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(byte) = self.0.get_mut(usize::from(node.0 / 8)) {
            *byte &= !(1 << (node.0 % 8));
        }
    }

    /// True if the node is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.get(usize::from(node.0 / 8)).is_some_and(|byte| byte & 1 << (node.0 % 8) != 0)
    }

    /// True if no node is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// The nodes in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0_u16..).zip(self.0).flat_map(|(index, byte)| {
            (0_u16..8)
                .filter(move |bit| byte & 1 << bit != 0)
                .map(move |bit| NodeId(index * 8 + bit))
        })
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|node| node.0)).finish()
    }
}

impl FromIterator<NodeId> for NodeSet {
    /// Numbers out of bounds are left out.
    fn from_iter<T: IntoIterator<Item = NodeId>>(nodes: T) -> Self {
        let mut set = Self::EMPTY;
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn nodes_are_found_again_in_order() {
        let set: NodeSet = [127, 0, 8, 7].into_iter().map(NodeId).collect();
        assert_eq!(set.iter().map(|node| node.0).collect::<Vec<_>>(), [0, 7, 8, 127]);
        assert!(set.contains(NodeId(8)) && !set.contains(NodeId(9)));
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        let mut set = NodeSet::EMPTY;
        assert!(!set.insert(NodeId(128)));
        assert!(set.is_empty() && !set.contains(NodeId(128)));
    }

    #[test]
    fn a_removed_node_is_gone() {
        let mut set: NodeSet = [NodeId(3)].into_iter().collect();
        set.remove(NodeId(3));
        assert!(set.is_empty());
    }
}
