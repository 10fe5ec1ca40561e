//! Forks a child that belongs to this process's parent.
//!
//! No wrapper offers clone with CLONE_PARENT without a stack of one's own. Who enters a PID
//! namespace needs one more child to be in it, and whoever asked for it must be able to reap that.

use std::io;

use nix::libc;

/// Forks a sibling that runs `child` and exits with the code that it returns; returns its pid.
///
/// Only for a child of [`super::fork::fork_child`], which has one thread for sure: after entering
/// a container its own `/proc` cannot be asked any more.
///
/// # Errors
/// When the kernel refuses: the container's limit of processes, or its PID namespace is gone.
pub(crate) fn fork_sibling(child: impl FnOnce() -> i32) -> io::Result<i32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given, clone is a fork: the child goes on with a
    // copy of this process. It has one thread, so no lock is held by another.
    #[expect(unsafe_code, reason = "clone has no safe form")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid > 0 {
        return i32::try_from(pid).map_err(io::Error::other);
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
    // SAFETY: _exit only ends the process; skipping the destructors is wanted, since they belong
    // to the parent.
    #[expect(unsafe_code, reason = "nothing of the parent may run in the child")]
    unsafe {
        libc::_exit(code)
    }
}
