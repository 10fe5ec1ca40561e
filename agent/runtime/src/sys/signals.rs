//! Gives a forked child the signal state that a fresh program expects.
//!
//! Setting a signal's action is unsafe in general, since handlers are; the default action is not
//! a handler.

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Unblocks all signals and resets SIGPIPE, which Rust's start-up code ignores; containers would
/// inherit both.
pub(crate) fn reset() {
    // SAFETY: SIG_DFL installs no handler, so no code can run at a bad moment.
    #[expect(unsafe_code, reason = "setting a signal's action has no safe form")]
    let _previous = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _unblocked = SigSet::empty().thread_set_mask();
}
