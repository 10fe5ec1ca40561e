//! A node's pod network: namespaces, bridge, veth pairs, routes, service rules.
//!
//! Does what `bramble-agent-core` has planned (rules and routes are its text and data) and knows
//! nothing of Services, peers or the master. Every call is idempotent, so that a restarted agent
//! can make the same calls again over what its predecessor left.
//!
//! ```text
//!  pod namespace            node namespace
//!  eth0  ip/32  <--veth-->  vb............ --+-- bridge, first address of the node's pod range
//!  default via bridge                        +-- routes: peer's pod range via peer's address
//! ```
//!
//! A pod's address has a prefix of 32 bits, so even neighbours on one bridge talk through the
//! node's router. Only so does connection tracking see replies between them, and no bridge
//! netfilter module is needed.
#![forbid(unsafe_code)]

mod connections;
mod error;
pub mod namespace;
mod node_network;
mod pod_link;
mod routes;
mod rules;

pub use connections::Lost;
pub use error::NetworkError;
pub use node_network::{NodeNetwork, NodeNetworkConfig};
pub use routes::Route;
