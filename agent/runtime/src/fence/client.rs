//! Blocking client of the fence.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::{FenceRequest, FenceResponse, FenceStatus};
use crate::protocol::{FrameDecoder, encode};

/// A connection to the fence.
#[derive(Debug)]
pub struct FenceClient {
    stream: UnixStream,
    decoder: FrameDecoder,
}

impl FenceClient {
    /// Connects; every call waits at most `timeout` for its answer.
    ///
    /// # Errors
    /// When no fence listens at `socket`.
    pub fn connect(socket: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, decoder: FrameDecoder::default() })
    }

    /// Extends the lease; returns whether it was accepted.
    ///
    /// # Errors
    /// When the connection broke or no answer came in time.
    pub fn renew(&mut self, valid_until_us: u64) -> io::Result<bool> {
        let FenceResponse::Renewed { accepted } =
            self.call(&FenceRequest::Renew { valid_until_us })?
        else {
            return Err(unexpected());
        };
        Ok(accepted)
    }

    /// Asks to start a singleton; returns whether it may.
    ///
    /// # Errors
    /// When the connection broke or no answer came in time.
    pub fn grant(&mut self, cgroup_path: &str) -> io::Result<bool> {
        let FenceResponse::Grant { granted } =
            self.call(&FenceRequest::Grant { cgroup_path: cgroup_path.to_owned() })?
        else {
            return Err(unexpected());
        };
        Ok(granted)
    }

    /// Tells that a singleton has ended.
    ///
    /// # Errors
    /// When the connection broke or no answer came in time.
    pub fn release(&mut self, cgroup_path: &str) -> io::Result<()> {
        self.call(&FenceRequest::Release { cgroup_path: cgroup_path.to_owned() }).map(drop)
    }

    /// Asks for the state.
    ///
    /// # Errors
    /// When the connection broke or no answer came in time.
    pub fn status(&mut self) -> io::Result<FenceStatus> {
        let FenceResponse::Status(status) = self.call(&FenceRequest::Status)? else {
            return Err(unexpected());
        };
        Ok(status)
    }

    fn call(&mut self, request: &FenceRequest) -> io::Result<FenceResponse> {
        self.stream.write_all(&encode(request).map_err(io::Error::other)?)?;
        loop {
            if let Some(response) = self.decoder.next().map_err(io::Error::other)? {
                return Ok(response);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.decoder.push(chunk.get(..len).unwrap_or_default()),
            }
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the fence sent a response of another kind")
}
