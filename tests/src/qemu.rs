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
pub mod requirements;
pub mod socket_server;
pub mod upgrade;
pub mod write_log;

use std::time::Duration;

/// Program of Debian's package qemu-system-arm.
pub const PROGRAM: &str = "qemu-system-aarch64";
/// Bound of waiting for a board: emulated boards on a busy machine take their time.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// `BRAMBLE_QEMU=all`: what takes many minutes is wanted, too.
#[must_use]
pub fn all_wanted() -> bool {
    std::env::var("BRAMBLE_QEMU").is_ok_and(|which| which == "all")
}
