//! Tells the kernel of a partition that the disk's table does not have yet.
//!
//! The kernel is told by an ioctl, for which no safe wrapper exists.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::libc::{c_char, c_int, c_longlong, c_void};

nix::ioctl_write_ptr_bad!(
    /// Changes the kernel's view of partitions.
    blkpg,
    0x1269,
    Request
);

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
#[derive(Debug)]
pub struct Request {
    operation: c_int,
    flags: c_int,
    data_len: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition` of `linux/blkpg.h`.
#[repr(C)]
struct Partition {
    start: c_longlong,
    len: c_longlong,
    number: c_int,
    device_name: [c_char; 64],
    volume_name: [c_char; 64],
}

const ADD: c_int = 1;

/// Adds partition `number` with `len` bytes from byte `start` on.
///
/// The disk itself is not written. A partition of that number that is there already is left.
///
/// # Errors
/// When the disk cannot be opened, or the partition overlaps with another.
pub fn add(disk: &Path, number: u8, start: u64, len: u64) -> io::Result<()> {
    let disk = File::open(disk)?;
    let mut partition = Partition {
        start: c_longlong::try_from(start).map_err(io::Error::other)?,
        len: c_longlong::try_from(len).map_err(io::Error::other)?,
        number: c_int::from(number),
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let request = Request {
        operation: ADD,
        flags: 0,
        data_len: c_int::try_from(size_of::<Partition>()).map_err(io::Error::other)?,
        data: (&raw mut partition).cast(),
    };
    // SAFETY: the request reads a `struct blkpg_ioctl_arg` that points to a `struct
    // blkpg_partition`; the two types have these layouts, and both values outlive the call.
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    let added = unsafe { blkpg(disk.as_raw_fd(), &raw const request) };
    match added {
        Ok(_) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        // The kernel says so for the same number, and for an overlap; the caller sees which
        // when it looks for the device.
        Err(nix::errno::Errno::EBUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Partition>(), 152);
        assert_eq!(size_of::<Request>(), 16 + size_of::<usize>());
    }
}
