//! Tests of a node's real processes: each starts its own and leaves nothing. Needs root.

mod attach;
mod containers;
mod exec;
mod fence;
mod harness;
mod isolation;
