//! Takes ownership of a descriptor that the parent process passed by number.
//!
//! Safe code cannot make an owner out of a number.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes the inherited descriptor and marks it close-on-exec.
///
/// To be called once per number, at the start of a process, before anything else is opened.
///
/// # Errors
/// When no such descriptor is open.
pub(crate) fn take(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 3 {
        return Err(io::Error::other(format!("descriptor {fd} is a standard stream")));
    }
    // SAFETY: the number is not -1 and is only asked about; if it is not open, fcntl says so
    // and nothing else happens.
    #[expect(unsafe_code, reason = "the number comes from the parent")]
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open, and nothing else in this process owns it: it was inherited
    // for this purpose and is taken once.
    #[expect(unsafe_code, reason = "the number comes from the parent")]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(owned)
}
