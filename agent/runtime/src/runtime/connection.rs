//! One client of the runtime process.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::protocol::{FRAME_LEN_MAX, FrameDecoder, RequestFrame, ServerFrame, encode};
use crate::sys::pass;

/// A connected client with what was read from it and what waits to be written.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    decoder: FrameDecoder,
    unsent: VecDeque<u8>,
    /// It wants events.
    pub(super) subscribed: bool,
    /// It is gone, or of no use any more.
    pub(super) broken: bool,
}

/// Most bytes that wait for a client that does not read; then it is cut off.
const UNSENT_MAX: usize = 2 * FRAME_LEN_MAX;

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            decoder: FrameDecoder::default(),
            unsent: VecDeque::new(),
            subscribed: false,
            broken: false,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what is there and returns the requests in it.
    pub(super) fn read(&mut self) -> Vec<RequestFrame> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.broken = true,
            Ok(len) => self.decoder.push(chunk.get(..len).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => self.broken = true,
        }
        let mut requests = Vec::new();
        loop {
            match self.decoder.next() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => return requests,
                Err(error) => {
                    tracing::warn!(%error, "client of the runtime cut off");
                    self.broken = true;
                    return requests;
                }
            }
        }
    }

    /// Sends a frame, or as much of it as the client takes now.
    pub(super) fn send(&mut self, frame: &ServerFrame) {
        match encode(frame) {
            Ok(bytes) => self.unsent.extend(bytes),
            Err(error) => {
                tracing::warn!(%error, "client of the runtime cut off");
                self.broken = true;
            }
        }
        self.flush();
    }

    /// Sends a frame together with descriptors; a client that has not taken what was sent before
    /// is of no use for it.
    pub(super) fn send_with(&mut self, frame: &ServerFrame, descriptors: &[BorrowedFd<'_>]) {
        let sent = encode(frame).map_err(io::Error::other).and_then(|bytes| {
            if self.has_unsent() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            pass::send(self.stream.as_fd(), &bytes, descriptors)
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "streams of an exec not handed over");
            self.broken = true;
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match self.stream.write(front) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
        if self.unsent.len() > UNSENT_MAX {
            tracing::warn!("client of the runtime does not read, cut off");
            self.broken = true;
        }
    }
}
