//! Reads files that a container may have written, and so made into anything.
//!
//! Nothing waits here for a pipe that nobody writes to, nothing leads to another file, and nothing
//! is longer than its reader says.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The first `len_max` bytes of a regular file.
///
/// # Errors
///
/// There is no such file, it is not a regular one, or cannot be read.
pub(crate) fn read_start(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut start = Vec::new();
    file.take(len_max).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn long_files_are_cut_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // As long as a disk, without taking room on one.
        File::create(path("long")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_start(&path("long"), 4096).unwrap().len(), 4096);
        fs::write(path("short"), "done").unwrap();
        assert_eq!(read_start(&path("short"), 4096).unwrap(), b"done");
        symlink("short", path("link")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for name in ["link", "pipe", "folder", "missing"] {
            assert!(read_start(&path(name), 4096).is_err(), "{name}");
        }
    }
}
