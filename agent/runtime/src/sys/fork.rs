//! Forks a child that runs a function and ends.
//!
//! No safe crate offers fork, since it is unsound beside threads; processes of this crate have
//! one thread, and this wrapper refuses to run in any other.

use std::io;

use nix::unistd::{ForkResult, Pid, fork};

/// Forks a child that runs `child` and exits with the code that it returns.
///
/// The child never returns into the caller's code and runs none of its destructors.
///
/// # Errors
/// When the process has more than one thread, or the kernel refuses.
pub(crate) fn fork_child(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("fork in a process with {threads} threads")));
    }
    // SAFETY: fork demands that the child of a process with several threads calls only
    // async-signal-safe functions; this process has one thread, as was just checked, and only
    // this thread could start another.
    #[expect(unsafe_code, reason = "fork has no safe form")]
    let forked = unsafe { fork() }?;
    match forked {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: _exit only ends the process; skipping the destructors is wanted, since
            // they belong to the parent.
            #[expect(unsafe_code, reason = "nothing of the parent may run in the child")]
            unsafe {
                nix::libc::_exit(code)
            }
        }
    }
}
