//! What is written to: a device that nobody else has open, or a file that appears when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use crate::machine::DeviceNumber;
use crate::probe::block_number;
use crate::write::Medium;

/// An opened device or file.
#[derive(Debug)]
pub struct Target {
    file: File,
    /// Known to be zero where nothing was written.
    blank: bool,
    unfinished: Option<Unfinished>,
}

/// A file that is removed unless it is finished.
#[derive(Debug)]
struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
}

/// Why a target could not be opened or finished.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The kernel says that somebody uses it.
    #[error("`{}` is in use by something that does not show; close it or take the card out and in", path.display())]
    Busy {
        /// The device.
        path: PathBuf,
    },
    /// Only root may.
    #[error("may not write `{}`; run it with sudo", path.display())]
    NotAllowed {
        /// The device.
        path: PathBuf,
    },
    /// There is no such thing, or it fails.
    #[error("could not open `{}`", path.display())]
    Open {
        /// The device or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The device was replaced by another one since it was chosen.
    #[error("`{}` is no longer the device that was chosen; nothing was written", path.display())]
    Changed {
        /// The device.
        path: PathBuf,
    },
    /// The file could not be given its size or its name.
    #[error("could not make `{}`", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Target {
    /// Opens a device for itself alone. The kernel refuses while anything of it is mounted, here
    /// or in another mount namespace.
    ///
    /// # Errors
    /// It is in use, forbidden, or not the device `number` any more.
    pub fn device(path: &Path, number: DeviceNumber) -> Result<Self, TargetError> {
        let named = || path.to_path_buf();
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_EXCL.bits()).open(path);
        let file = opened.map_err(|source| {
            if source.kind() == io::ErrorKind::ResourceBusy {
                TargetError::Busy { path: named() }
            } else if source.kind() == io::ErrorKind::PermissionDenied {
                TargetError::NotAllowed { path: named() }
            } else {
                TargetError::Open { path: named(), source }
            }
        })?;
        // By the open file, not by the path: that may have changed in between.
        let opened =
            PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        if block_number(&opened) != Some(number) {
            return Err(TargetError::Changed { path: named() });
        }
        Ok(Self { file, blank: false, unfinished: None })
    }

    /// Begins a file of `len` bytes, sparse and readable by its owner only: it holds the
    /// card's token. It appears at `path` when it is [`Target::finish`]ed.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn file(path: &Path, len: u64) -> Result<Self, TargetError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".part");
        let temporary = PathBuf::from(temporary);
        let make = |source| TargetError::Make { path: path.to_path_buf(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(make)?;
        let unfinished = Unfinished { temporary, path: path.to_path_buf() };
        // Owned already, so that it is removed when the disk is too small for it.
        let target = Self { file, blank: true, unfinished: Some(unfinished) };
        target.file.set_len(len).map_err(make)?;
        Ok(target)
    }

    /// Bytes of the device or file.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn size(&mut self) -> io::Result<u64> {
        self.file.seek(SeekFrom::End(0))
    }

    /// Makes everything durable, and the file appear.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(mut self) -> Result<(), TargetError> {
        let Some(Unfinished { temporary, path }) = &self.unfinished else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        self.file
            .sync_all()
            .and_then(|()| fs::rename(temporary, path))
            .and_then(|()| File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all())
            .map_err(|source| TargetError::Make { path: path.clone(), source })?;
        self.unfinished = None;
        Ok(())
    }

    /// Gives the file to somebody, who is not the one that runs this.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        if self.unfinished.is_none() || metadata.uid() == uid {
            return Ok(());
        }
        std::os::unix::fs::fchown(&self.file, Some(uid), Some(gid))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // It may be gone already; there is nobody to tell.
            let _ = fs::remove_file(&unfinished.temporary);
        }
    }
}

impl Read for Target {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for Target {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Target {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Medium for Target {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget(&mut self) -> io::Result<()> {
        // 0 means "to the end". Only clean pages are dropped, so this comes after a sync.
        Ok(posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }

    fn blank(&self) -> bool {
        self.blank
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_appears_when_it_is_finished_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pi-1.img");
        drop(Target::file(&path, 1 << 20).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut target = Target::file(&path, 1 << 20).unwrap();
        assert!(!path.exists());
        assert_eq!(target.size().unwrap(), 1 << 20);
        target.finish().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (1 << 20, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_device_is_not_opened_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"precious").unwrap();
        let error = Target::device(&path, DeviceNumber { major: 8, minor: 0 }).unwrap_err();
        assert!(matches!(error, TargetError::Changed { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
