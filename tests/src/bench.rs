//! The benchmarks of `bramble-bench`: each takes the figures of some rows of `BENCHMARKS.md`.
//!
//! They use the clusters of this crate and the API alone; nothing here knows bramble's inside.
//! `make bench` has namespaces for boards, `make bench-boards` ([`boards`]) emulated ones.

pub mod api_load;
pub mod boards;
pub mod idle;
pub mod load;
pub mod one_node;
pub mod other_programs;
pub mod processes;
pub mod report;
pub mod restart;
pub mod rows;
pub mod statistics;
