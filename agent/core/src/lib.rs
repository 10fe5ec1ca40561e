//! What the agent decides: pods, restarts, environments, volumes and the network plan of a node.
//!
//! Knows nothing of sockets, files, clocks, processes or tokio: time and the world are
//! arguments, and what should happen is the result. The shell (`bramble-agent`) does it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod admission;
pub mod desired;
pub mod environment;
pub mod facts;
pub mod forward_policy;
pub mod hosts;
pub mod image_care;
pub mod message;
pub mod moment;
pub mod overlap;
pub mod pod_worker;
pub mod probe;
pub mod restart;
pub mod routes;
pub mod service_rules;
pub mod status;
pub mod stop_signal;
pub mod token;
pub mod volume;
