//! Pseudo terminals: both ends of one in a container's own `/dev/pts`, and their size.
//!
//! Terminals are ioctls, and the other end must not be opened by a path: a container could have
//! put something else there. What the container shows as its master device is checked, too.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::libc;
use rustix::fs::{
    CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, major, minor, openat2,
};

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Magic of devpts, from `linux/magic.h`.
const DEVPTS: FsWord = 0x1cd1;
/// Inode of the master device in every devpts, from `fs/devpts/inode.c`.
const PTMX_INODE: u64 = 2;

/// Opens a pseudo terminal of this process's `/dev/pts`: the master, and the slave.
///
/// # Errors
/// When there is none, or something else in its place.
pub(crate) fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat2(CWD, "/dev/pts/ptmx", flags, Mode::empty(), NO_LINKS)?;
    let (found, system) = (fstat(&master)?, fstatfs(&master)?);
    let device = (major(found.st_rdev), minor(found.st_rdev));
    let of_devpts = system.f_type == DEVPTS;
    if !of_devpts || found.st_ino != PTMX_INODE || device != (5, 2) {
        return Err(io::Error::other("`/dev/pts/ptmx` is not the master of a terminal"));
    }
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int from where the pointer points.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes a number and returns a new descriptor.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    let slave = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just returned this open descriptor, and nothing else owns it.
    #[expect(unsafe_code, reason = "the kernel returns a number")]
    let slave = unsafe { OwnedFd::from_raw_fd(slave as RawFd) };
    Ok((master, slave))
}

/// Opens this process's `/dev/null`, if it is that.
///
/// # Errors
/// When it is something else.
pub(crate) fn open_null() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let null = openat2(CWD, "/dev/null", flags, Mode::empty(), NO_LINKS)?;
    let found = fstat(&null)?;
    let device = (major(found.st_rdev), minor(found.st_rdev));
    if FileType::from_raw_mode(found.st_mode) != FileType::CharacterDevice || device != (1, 3) {
        return Err(io::Error::other("`/dev/null` is something else"));
    }
    Ok(null)
}

/// No link may lead anywhere else.
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Makes standard input the controlling terminal of this session.
///
/// # Errors
/// When it is none.
pub(crate) fn control_by_stdin() -> io::Result<()> {
    // SAFETY: the request takes a number.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the size of a terminal; its foreground processes are told.
///
/// # Errors
/// When it is no terminal.
pub fn resize(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let TerminalSize { columns, rows } = size;
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCSWINSZ reads one `winsize` from where the pointer points.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    check(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_one_end_is_read_at_the_other() {
        let (master, slave) = open().unwrap();
        resize(&master, TerminalSize { columns: 80, rows: 24 }).unwrap();
        nix::unistd::write(&slave, b"hello\n").unwrap();
        let mut read = [0; 16];
        let len = nix::unistd::read(&master, &mut read).unwrap();
        // A terminal says how a line ends.
        assert_eq!(&read[..len], b"hello\r\n");
        assert!(resize(open_null().unwrap(), TerminalSize { columns: 1, rows: 1 }).is_err());
    }
}
