//! Builds bramble's binaries for boards.
//!
//! Knows the boards and the ways in which a machine may be able to build for them. Does not know
//! what goes on a card; that is `images/`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a build tool speaks to people")]

pub mod board;
pub mod build;
pub mod toolchain;
