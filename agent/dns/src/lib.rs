//! Cluster DNS as a node answers it: names of Services, endpoints and pods from the synced state,
//! everything else from the node's own resolvers.
//!
//! Knows nothing of sockets and clocks: packets and times come in, packets and decisions go out.
//!
//! ```text
//!  packet -> Query -> Zone -> Reply -> packet              names of the cluster
//!                       |
//!                       +-> Question -> Cache -> Race      all other names
//! ```
//!
//! The rules are those of Kubernetes' DNS-based service discovery 1.1.0; where it is silent, this
//! does what CoreDNS does.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod cache;
mod message;
mod name;
mod question;
mod race;
mod resolvers;
mod zone;

pub use answer::{Answer, AnswerKind, truncated};
pub use cache::Cache;
pub use message::{Code, Data, Edns, Malformed, Query, Record, Reply, kind};
pub use name::Name;
pub use question::Question;
pub use race::{Race, Step};
pub use resolvers::{Resolvers, resolvers};
pub use zone::{Found, Zone};

/// Longest answer over UDP, in bytes: what crosses every network in one piece (DNS flag day 2020).
pub const UDP_LEN_MAX: usize = 1232;
