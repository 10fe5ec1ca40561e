//! What master and agent must agree on: identities, bounds, and everything that crosses the wire.
//!
//! Knows nothing of sockets, clocks, files or Kubernetes objects. The UDP side is bounded and
//! allocates nothing; the node-link messages need the feature `alloc`. Times are
//! `embassy_time`'s `Instant` and `Duration` and always come in as arguments, so that no time
//! driver is needed.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod ack;
pub mod detector;
#[cfg(feature = "alloc")]
pub mod frame;
pub mod gap_statistics;
pub mod heartbeat;
pub mod heartbeat_receiver;
pub mod heartbeat_sender;
pub mod ids;
pub mod jitter;
pub mod lease;
pub mod limits;
#[cfg(feature = "alloc")]
pub mod link;
pub mod local_health;
pub mod node_name;
pub mod node_set;
pub mod replay;
pub mod round_trip;
pub mod seal;
pub mod wire;
