//! Signals: those that a forked child begins with, and those that have no name.
//!
//! Setting a signal's action is unsafe in general, since handlers are; the default action is not
//! a handler. Sending is safe, but the safe wrapper knows named signals only, and images may want
//! to be stopped by a real-time one.

use std::io;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Sends a signal by its number to one process.
pub(crate) fn send(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: `kill` takes two numbers and touches no memory of ours.
    #[expect(unsafe_code, reason = "no wrapper takes real-time signals")]
    let sent = unsafe { libc::kill(pid, number) };
    if sent == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The highest number that a signal can have.
pub(crate) const NUMBER_MAX: i32 = 64;

/// Unblocks all signals and resets SIGPIPE, which Rust's start-up code ignores; containers would
/// inherit both.
pub(crate) fn reset() {
    // SAFETY: SIG_DFL installs no handler, so no code can run at a bad moment.
    #[expect(unsafe_code, reason = "setting a signal's action has no safe form")]
    let _previous = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _unblocked = SigSet::empty().thread_set_mask();
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn signals_without_a_name_arrive() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        send(pid, 37).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(37));
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(send(own, NUMBER_MAX + 1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
