//! One end of a pipe or a terminal, read and written without blocking a thread.
//!
//! tokio knows pipes but no terminals, whose end is an error; here both are the same.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;

/// A descriptor that is the other end of a program's stream.
#[derive(Debug)]
pub(super) struct End {
    descriptor: AsyncFd<OwnedFd>,
}

impl End {
    /// Takes a descriptor over, which nobody else may use with blocking calls.
    #[expect(
        deprecated,
        reason = "an `OwnedFd` keeps its number as long as it lives, which is all that the unsafe form demands"
    )]
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_truncate(fcntl(&descriptor, FcntlArg::F_GETFL)?);
        fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { descriptor: AsyncFd::new(descriptor)? })
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        self.descriptor.get_ref()
    }

    /// Reads what is there; 0 at the end.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            if let Some(len) = self.read_now(buffer)? {
                return Ok(len);
            }
            ready.clear_ready();
        }
    }

    /// Reads without waiting; none when nothing is there.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match nix::unistd::read(self.descriptor(), buffer) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            // A terminal that no process has open any more.
            Err(Errno::EIO) => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all of it, as fast as the program reads.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.descriptor.writable().await?;
            match nix::unistd::write(self.descriptor(), bytes) {
                Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
