//! Opens a watchdog device and sets its time.
//!
//! The time is set by an ioctl, for which no safe wrapper exists.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

nix::ioctl_readwrite!(
    /// Sets the time in seconds and reads back what was granted.
    set_timeout,
    b'W',
    6,
    nix::libc::c_int
);

/// Opens the device, which arms it, and sets its time in seconds.
///
/// # Errors
/// When the device cannot be opened, or grants a longer time than asked for.
pub(crate) fn open(path: &Path, seconds: u8) -> io::Result<File> {
    let device = OpenOptions::new().write(true).open(path)?;
    let outcome = set_time(&device, seconds);
    if outcome.is_err() {
        // Opening it has armed it, and nobody will pet it.
        disarm(&device);
    }
    outcome.map(|()| device)
}

/// Stops the watchdog when its device is closed next, if the device can be stopped at all.
pub(crate) fn disarm(mut device: &File) {
    let _armed = device.write_all(b"V");
}

fn set_time(device: &File, seconds: u8) -> io::Result<()> {
    let mut granted = nix::libc::c_int::from(seconds);
    // SAFETY: the request takes a pointer to an int, which `granted` is; it outlives the call,
    // and the descriptor is open. A device that does not know the request returns an error.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    unsafe { set_timeout(device.as_raw_fd(), &raw mut granted) }?;
    if granted > nix::libc::c_int::from(seconds) {
        return Err(io::Error::other(format!(
            "watchdog grants {granted} s, {seconds} s are needed"
        )));
    }
    Ok(())
}
