//! Lets a program start with fresh signals, and with a terminal of its own if it has one.
//!
//! What runs between fork and exec is unsafe code's business.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::signals;

nix::ioctl_write_int_bad!(
    /// Makes the terminal the controlling one of this session.
    set_controlling_terminal,
    nix::libc::TIOCSCTTY
);

/// Has the program unblock all signals, which a supervisor blocks and a child inherits; with
/// `terminal`, its standard input becomes the controlling terminal of a session of its own.
pub(crate) fn prepare(program: &mut Command, terminal: bool) {
    let between = move || -> io::Result<()> {
        signals::reset();
        if terminal {
            nix::unistd::setsid()?;
            // SAFETY: the request takes a number; descriptor 0 is the terminal that the caller
            // opened for this child.
            #[expect(unsafe_code, reason = "ioctl has no safe form")]
            unsafe { set_controlling_terminal(0, 1) }?;
        }
        Ok(())
    };
    // SAFETY: the function makes only system calls that are safe between fork and exec:
    // sigaction, sigprocmask, setsid and ioctl. It allocates nothing and takes no lock.
    #[expect(unsafe_code, reason = "code between fork and exec")]
    unsafe {
        program.pre_exec(between);
    }
}
