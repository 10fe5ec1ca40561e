//! Ends the kernel's run, with a word for the firmware if there is one.
//!
//! The word is passed by the raw system call only.

use std::ffi::CStr;
use std::io;

use nix::libc;

/// How the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardRestart {
    /// The board starts again.
    Reboot,
    /// The board starts again, and its firmware is told this.
    RebootWith(&'static CStr),
    /// The board is switched off.
    PowerOff,
}

/// Does it at once: nothing is synced, nothing is stopped.
///
/// # Errors
/// Always, if it returns: why the kernel refused.
pub fn restart(how: BoardRestart) -> io::Error {
    let (command, word) = match how {
        BoardRestart::Reboot => (libc::LINUX_REBOOT_CMD_RESTART, c""),
        BoardRestart::RebootWith(word) => (libc::LINUX_REBOOT_CMD_RESTART2, word),
        BoardRestart::PowerOff => (libc::LINUX_REBOOT_CMD_POWER_OFF, c""),
    };
    // SAFETY: reboot takes two magic numbers, a command and, for RESTART2, a pointer to a text
    // that ends with a zero; `word` is such a text and outlives the call.
    #[expect(unsafe_code, reason = "no wrapper takes the word")]
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            command,
            word.as_ptr(),
        );
    }
    io::Error::last_os_error()
}

/// Sends Ctrl-Alt-Del to the first process as SIGINT instead of rebooting at once.
///
/// # Errors
/// When the kernel refuses.
pub fn catch_control_alt_delete() -> io::Result<()> {
    Ok(nix::sys::reboot::set_cad_enabled(false)?)
}
