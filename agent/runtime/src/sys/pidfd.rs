//! Opens a descriptor for a process that becomes readable when it ends.
//!
//! No crate of the tree wraps pidfd_open.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Opens a close-on-exec descriptor of the process.
///
/// # Errors
/// When there is no such process, or an old kernel.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory of this process.
    #[expect(unsafe_code, reason = "no wrapper exists")]
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this open descriptor, and nothing else owns it.
    #[expect(unsafe_code, reason = "the kernel returns a number")]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(owned)
}
