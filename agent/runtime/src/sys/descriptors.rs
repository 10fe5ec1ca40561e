//! Closes descriptors in a forked child, whose owners there will never run.
//!
//! Safe code cannot close what another value owns; in a child that ends by `_exit` nobody else
//! uses these values again.

use std::os::fd::RawFd;

/// Closes all descriptors from 3 on but those in `keep`; only for a child of
/// [`super::fork::fork_child`], which must not touch any other descriptor afterwards.
///
/// A container's init is a copy of this process until its program runs, so whatever stays open
/// here would be held open by it: other containers' pipes and the clients' sockets.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|&fd| fd >= 3).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last)) else { return };
    // SAFETY: close_range takes plain numbers and touches no memory. The descriptors' owners
    // are never used again: the caller is a forked child that ends by `_exit`. An error (an old
    // kernel) leaves them open, which costs only lateness.
    #[expect(unsafe_code, reason = "closing what other values own")]
    unsafe {
        nix::libc::syscall(nix::libc::SYS_close_range, first, last, 0);
    }
}
