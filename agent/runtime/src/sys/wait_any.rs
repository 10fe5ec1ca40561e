//! Waits for any child, and tells every way in which it can end.
//!
//! The safe crates fail on a process that a real-time signal ended, after the kernel has given
//! its end away: nobody would ever hear of it.

use std::io;

use nix::libc;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildEnd {
    /// Its pid.
    pub(crate) pid: i32,
    /// Exit code, or 128 + the signal.
    pub(crate) code: i32,
    /// Signal that ended it.
    pub(crate) signal: Option<i32>,
}

/// Returns a child that has ended, without waiting for one; `None` if none has, or there is none.
/// With `reap` it is gone afterwards, otherwise it is found again.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn ended_child(reap: bool) -> io::Result<Option<ChildEnd>> {
    let keep = if reap { 0 } else { libc::WNOWAIT };
    // SAFETY: a `siginfo_t` is plain numbers, of which all bits zero is a value.
    #[expect(unsafe_code, reason = "the kernel fills it in")]
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | keep;
    // SAFETY: the kernel writes one `siginfo_t` to where the pointer points.
    #[expect(unsafe_code, reason = "waitid has no safe form that knows all signals")]
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ECHILD) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: waitid has filled in a child's end, or left the zeros, which read as zeros.
    #[expect(unsafe_code, reason = "members of a union")]
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => ChildEnd { pid, code: status, signal: None },
        _ => ChildEnd { pid, code: 128 + status, signal: Some(status) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::fork_child;
    use crate::sys::signals;

    /// Runs in a process of its own with one thread, since children are waited for by process.
    #[test]
    fn ends_by_real_time_signals_are_told() {
        let told = |signal: i32| -> io::Result<bool> {
            let child = fork_child(|| {
                let _sent = signals::send(nix::unistd::getpid().as_raw(), signal);
                7
            })?
            .as_raw();
            let expected = ChildEnd { pid: child, code: 128 + signal, signal: Some(signal) };
            loop {
                if let Some(seen) = ended_child(false)? {
                    return Ok(seen == expected && ended_child(true)? == Some(expected));
                }
                std::thread::yield_now();
            }
        };
        // The test's own process has threads, so a forked one of ours has to do it.
        #[expect(unsafe_code, reason = "fork has no safe form")]
        // SAFETY: the child calls nothing that another thread of the parent could hold a lock of
        // for long: it forks, waits and ends.
        let forked = unsafe { nix::unistd::fork() }.unwrap();
        match forked {
            nix::unistd::ForkResult::Child => {
                let good = [9, 15, 34, 37, 64].into_iter().all(|one| told(one).unwrap_or(false));
                let none = ended_child(true).is_ok_and(|end| end.is_none());
                // SAFETY: _exit only ends the process.
                #[expect(unsafe_code, reason = "nothing of the parent may run in the child")]
                unsafe {
                    libc::_exit(if good && none { 0 } else { 1 })
                }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let end = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(end, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
    }
}
