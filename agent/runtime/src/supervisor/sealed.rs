//! A copy of this program in memory that nobody can change.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The sealed copy; children are started from it.
#[derive(Debug)]
pub(super) struct SealedProgram {
    file: OwnedFd,
}

impl SealedProgram {
    /// Copies the program of this process, once per node.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut source = File::open("/proc/self/exe")?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut copy = File::from(memfd_create(c"bramble-agent", flags)?);
        io::copy(&mut source, &mut copy)?;
        let seals = SealFlag::F_SEAL_SEAL
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { file: copy.into() })
    }

    /// Returns the path to execute; valid in this process and in its children before exec.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_cannot_be_written_any_more() {
        let sealed = SealedProgram::of_this_process().unwrap();
        let bytes = std::fs::metadata(sealed.path()).unwrap().len();
        assert_eq!(bytes, std::fs::metadata("/proc/self/exe").unwrap().len());
        assert!(std::fs::write(sealed.path(), b"evil").is_err());
    }
}
