//! What master and agent must agree on: identities, bounds, and everything that crosses the wire.
//!
//! Knows nothing of sockets, clocks, files or Kubernetes objects. The UDP side is bounded and
//! allocates nothing; the node-link messages need the feature `alloc`.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod ids;
pub mod limits;
#[cfg(feature = "alloc")]
pub mod link;
