//! Identities that travel: node numbers, sessions, boots.

use serde::{Deserialize, Serialize};

/// A node's number in its cluster, dealt by the master at the first join and never reused while
/// the node object exists. Bound: below [`crate::limits::NODES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u16);

/// Index of a keyed heartbeat session on the master, dealt in the node link's welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionIndex(pub u32);

/// The kernel's random boot id: a new one proves that everything of the old boot is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub [u8; 16]);

/// Count of agent starts on one board, so that a restarted agent is told from its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);
