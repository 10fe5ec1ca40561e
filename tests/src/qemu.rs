//! Emulated boards that boot from flashed cards: QEMU, and everything around a real board that it
//! lacks (firmware, a card that loses what was not flushed, a router, somebody at the console).
//!
//! The words of the stories in `tests/qemu_*.rs` are in [`cluster`]; a board is in [`machine`].

pub mod cluster;
pub mod console;
pub mod control;
pub mod disk;
pub mod faults;
pub mod firmware;
pub mod image;
pub mod lag;
pub mod machine;
pub mod model;
pub mod nbd;
pub mod network;
pub mod pod_log;
pub mod seed;
pub mod write_log;

/// Program of Debian's package qemu-system-arm.
pub const PROGRAM: &str = "qemu-system-aarch64";
