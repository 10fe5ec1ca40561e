//! A file as the log writes it: whole sectors, past the page cache where the file system can.
//!
//! A page of the cache is eight sectors, and all of them are written whenever one changed: on a
//! small commit that is most of what the card takes. Knows nothing of what is written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

/// What memory must be aligned to, to be written past the cache; enough for every disk.
const ALIGN: usize = 4_096;

/// What holds the bytes of a log.
pub(super) trait Medium: Send + fmt::Debug {
    /// Writes whole sectors.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything that was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Sets the length; what is new reads as zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Fills `bytes` from `offset` on.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A file.
#[derive(Debug)]
pub(super) struct DiskFile {
    plain: File,
    /// The same file past the page cache; none where that cannot be had.
    direct: Option<File>,
}

impl DiskFile {
    /// Opens an existing file; `plain` is open for reading and writing.
    pub(super) fn new(plain: File, path: &Path) -> Self {
        let flags = OFlag::O_DIRECT.bits();
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path).ok();
        Self { plain, direct }
    }
}

impl Medium for DiskFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct {
            let mut space = vec![0; bytes.len() + ALIGN];
            let start = space.as_ptr().align_offset(ALIGN);
            if let Some(aligned) = space.get_mut(start..start + bytes.len()) {
                aligned.copy_from_slice(bytes);
                match direct.write_all_at(aligned, offset) {
                    // Larger sectors, or a file system that opens so and does not write so.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    result => return result,
                }
            }
            self.direct = None;
        }
        self.plain.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.plain.sync_data()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.plain.set_len(len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.plain.read_exact_at(bytes, offset)
    }
}
