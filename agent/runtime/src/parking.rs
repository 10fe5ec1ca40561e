//! What the runtime process and its supervisor say to each other.
//!
//! The runtime parks the read ends of its containers' output pipes with its parent, so that its
//! own death neither breaks a pipe nor loses what is in it. Containers whose runtime died are
//! the supervisor's children; it reaps them and leaves their exit in the run directory.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::wall_us;
use crate::sys::pass;
use crate::sys::wait_any::ChildEnd;
use crate::whole_file;

/// From the runtime process to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSupervisor {
    /// Keep the attached descriptor under this key.
    Park { key: String },
    /// Close the descriptor with this key.
    Unpark { key: String },
}

/// From the supervisor to the runtime process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToRuntime {
    /// A descriptor that an earlier runtime process parked is attached.
    Parked { key: String },
    /// All parked descriptors were sent.
    AllParked,
    /// A process that an earlier runtime process started has ended; see [`ReapedExit`].
    Reaped,
}

/// How a process ended that the supervisor reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReapedExit {
    /// Exit code, if it ended by itself.
    pub(crate) code: i32,
    /// Signal that ended it.
    pub(crate) signal: Option<i32>,
    /// Wall-clock time in microseconds since 1970.
    pub(crate) at_us: u64,
}

impl ReapedExit {
    /// The exit of a child that has just been found to have ended.
    pub(crate) fn now(end: ChildEnd) -> Self {
        Self { code: end.code, signal: end.signal, at_us: wall_us() }
    }

    /// Leaves the exit where the next runtime process finds it.
    pub(crate) fn write(&self, directory: &Path, pid: i32, ticks: u64) -> io::Result<()> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        whole_file::replace(&directory.join(file_name(pid, ticks)), &bytes, 0o644)
    }

    /// Reads the exit of a process, if it was left.
    pub(crate) fn read(directory: &Path, pid: i32, ticks: u64) -> Option<Self> {
        let bytes = fs::read(directory.join(file_name(pid, ticks))).ok()?;
        postcard::from_bytes(&bytes).ok()
    }

    /// Removes the exits of all processes but these; to be called once they are recorded.
    pub(crate) fn forget_all_but(directory: &Path, awaited: &[(i32, u64)]) {
        let kept: Vec<String> = awaited.iter().map(|&(pid, ticks)| file_name(pid, ticks)).collect();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let fresh = name.to_string_lossy().ends_with(".new");
            if !fresh && !kept.iter().any(|own| name.to_str() == Some(own)) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

fn file_name(pid: i32, ticks: u64) -> String {
    format!("{pid}.{ticks}")
}

/// One end of the socket between the two.
#[derive(Debug)]
pub(crate) struct ParkingSocket {
    socket: OwnedFd,
}

impl ParkingSocket {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one message, with a descriptor if given.
    pub(crate) fn send<T: Serialize>(
        &self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        pass::send(self.socket.as_fd(), &bytes, descriptor.as_slice())
    }

    /// Receives one message without waiting.
    pub(crate) fn receive<T: for<'a> Deserialize<'a>>(&self) -> io::Result<Received<T>> {
        let Some((bytes, descriptors)) = pass::receive(self.socket.as_fd())? else {
            return Ok(Received::Nothing);
        };
        if bytes.is_empty() {
            return Ok(Received::End);
        }
        let message = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        Ok(Received::Message(message, descriptors.into_iter().next()))
    }
}

/// What a [`ParkingSocket`] had to offer.
#[derive(Debug)]
pub(crate) enum Received<T> {
    /// A message and its descriptor.
    Message(T, Option<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The other side is gone.
    End,
}
