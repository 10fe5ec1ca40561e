//! Clusters for tests and for the demo: real binaries, one network namespace per node.
//!
//! What stands here is vocabulary: a LAN, boards on it that can lose power or their cable, an
//! image registry, real kubectl. The stories are in `tests/` and in the programs of `src/bin/`.
//! Knows nothing of bramble's inside; it sees command lines, files, processes, the API and what
//! crosses the wire.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "test programs speak to people")]

pub mod abuse;
pub mod api;
pub mod bench;
pub mod board;
pub mod cgroup;
pub mod client_identity;
pub mod cluster;
pub mod conformance;
pub mod image;
pub mod isolation;
pub mod kubectl;
pub mod lan;
pub mod memory;
pub mod place;
pub mod probe;
pub mod programs;
pub mod qemu;
pub mod registry;
pub mod seed;
pub mod state;
pub mod time_server;
pub mod wait;
