//! Opens a program in a container, or the container's own, with its standard streams in the
//! caller's hands.
//!
//! One connection of its own for each: the runtime process passes the streams' descriptors over
//! it, tells the program's end on it, and kills the program when it is closed. Opening blocks;
//! afterwards nobody stands between the program and whoever reads.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::CallError;
use crate::protocol::{
    Attach, ExecOutcome, FrameDecoder, OpenExec, Request, RequestFrame, Response, ServerFrame,
    encode,
};
use crate::sys::pass;

/// A program that runs, or a container that somebody is attached to.
#[derive(Debug)]
pub struct Session {
    /// The streams that were asked for, in the order of [`crate::protocol::ExecStreams`].
    pub descriptors: Vec<OwnedFd>,
    /// Closing it ends the program.
    pub connection: UnixStream,
    /// What has arrived on the connection after the streams.
    pub decoder: FrameDecoder,
}

/// Opens a program's streams; waits at most `patience` for each word of the runtime process.
///
/// # Errors
/// When the program cannot be begun, or the runtime process does not answer in time.
pub fn open(socket: &Path, exec: OpenExec, patience: Duration) -> Result<Session, CallError> {
    request(socket, Request::OpenExec(exec), patience)
}

/// Opens streams of a container's own program; waits as [`open`].
///
/// # Errors
/// When the container does not run, or the runtime process does not answer in time.
pub fn attach(socket: &Path, attach: Attach, patience: Duration) -> Result<Session, CallError> {
    request(socket, Request::Attach(attach), patience)
}

fn request(socket: &Path, request: Request, patience: Duration) -> Result<Session, CallError> {
    let mut connection = UnixStream::connect(socket)?;
    connection.write_all(&encode(&RequestFrame { number: 1, request })?)?;
    let mut decoder = FrameDecoder::default();
    let mut descriptors = Vec::new();
    loop {
        match decoder.next()? {
            Some(ServerFrame::Response { result, .. }) => match result? {
                Response::Opened => return Ok(Session { descriptors, connection, decoder }),
                Response::Created { .. }
                | Response::Started
                | Response::Killed
                | Response::Deleted
                | Response::Containers(_)
                | Response::Updated
                | Response::ExecDone(_) => return Err(CallError::WrongResponse),
            },
            Some(ServerFrame::Event(_)) => continue,
            None => {}
        }
        wait(&connection, patience)?;
        let Some((bytes, passed)) = pass::receive(connection.as_fd())? else { continue };
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        descriptors.extend(passed);
        decoder.push(&bytes);
    }
}

fn wait(connection: &UnixStream, patience: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Session {
    /// Waits for the program's end; for callers without anything else to do.
    ///
    /// # Errors
    /// When the connection breaks, or nothing is told in time.
    pub fn wait_end(&mut self, patience: Duration) -> Result<ExecOutcome, CallError> {
        loop {
            match self.decoder.next()? {
                Some(ServerFrame::Response { result, .. }) => {
                    let Response::ExecDone(outcome) = result? else {
                        return Err(CallError::WrongResponse);
                    };
                    return Ok(outcome);
                }
                Some(ServerFrame::Event(_)) => continue,
                None => {}
            }
            wait(&self.connection, patience)?;
            let Some((bytes, _)) = pass::receive(self.connection.as_fd())? else { continue };
            if bytes.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(&bytes);
        }
    }
}
