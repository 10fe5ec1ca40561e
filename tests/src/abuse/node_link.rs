//! The node link as a taken-over board speaks it: its certificate, and any bytes.
//!
//! One TLS session, and yamux in it by hand: header of twelve bytes, credit of 256 KiB for each
//! stream. Only the control stream is followed; what else the master opens is let lie.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{Accepted, Hello, ToMaster, Welcome};

use crate::api::{Api, Secured};
use crate::wait::now;

/// Types and flags of yamux' frames.
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;
/// Length of a frame's header.
const HEADER_LEN: usize = 12;
/// Credit of a new stream, by the protocol.
const CREDIT: u32 = 256 * 1024;
/// The control stream.
const CONTROL: u32 = 1;
/// Longest piece that is sent at once.
const PIECE: usize = 16 * 1024;
/// Longest wait for credit: a master that reads no more is one that defends itself.
const CREDIT_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for a welcome.
const WELCOME: Duration = Duration::from_secs(15);

/// A node link.
#[derive(Debug)]
pub(super) struct NodeLink {
    tls: Secured,
    /// What has come in and is not a whole yamux frame yet.
    received: Vec<u8>,
    frames: FrameDecoder,
    credit: u32,
    opened: bool,
}

impl NodeLink {
    /// Dials over a connected socket; `api` shows the node's certificate and asks for the link.
    pub(super) fn dial(api: &Api, socket: TcpStream) -> Result<Self> {
        let tls = api.secure(socket)?;
        Ok(Self {
            tls,
            received: Vec::new(),
            frames: FrameDecoder::new(),
            credit: CREDIT,
            opened: false,
        })
    }

    /// Says hello and returns what the master accepts.
    ///
    /// # Errors
    /// It refuses; the error carries its words.
    pub(super) fn welcome(&mut self, hello: &Hello) -> Result<Accepted> {
        self.send(&encode(hello)?)?;
        let start = now();
        loop {
            match self.frames.decode::<Welcome>()? {
                Some(Welcome::Accepted(accepted)) => return Ok(*accepted),
                Some(Welcome::Refused { reason }) => bail!("refused: {reason}"),
                None => {}
            }
            ensure!(start.elapsed() < WELCOME, "no welcome");
            self.pump(Duration::from_millis(20))?;
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The link is broken, or the master reads no more.
    pub(super) fn say(&mut self, message: &ToMaster) -> Result<()> {
        self.send(&encode(message)?)
    }

    /// Sends bytes on the control stream, which the first of them open.
    ///
    /// # Errors
    /// As [`NodeLink::say`].
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            let len = u32::try_from(piece.len())?;
            let start = now();
            while self.credit < len {
                ensure!(start.elapsed() < CREDIT_WAIT, "the master reads no more");
                self.pump(Duration::from_millis(20))?;
            }
            self.credit -= len;
            let flags = if std::mem::replace(&mut self.opened, true) { 0 } else { SYN };
            self.write(&header(DATA, flags, CONTROL, len), piece)?;
        }
        Ok(())
    }

    /// Reads for so long, answers pings, gives credit back. What the master says on the control
    /// stream waits for [`NodeLink::welcome`]; later words are dropped.
    ///
    /// # Errors
    /// The link has ended.
    pub(super) fn pump(&mut self, time: Duration) -> Result<()> {
        let start = now();
        self.tls.sock.set_read_timeout(Some(time.max(Duration::from_millis(1))))?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match self.tls.read(&mut chunk) {
                Ok(0) => bail!("the master has closed the link"),
                Ok(len) => self.received.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("the link broke"),
            }
            self.take_frames()?;
            if start.elapsed() >= time {
                return Ok(());
            }
        }
    }

    /// Drops what the master has said: for a node that only talks.
    pub(super) fn forget(&mut self) {
        self.frames = FrameDecoder::new();
    }

    fn take_frames(&mut self) -> Result<()> {
        while let Some(frame) = Frame::parse(&self.received) {
            let Frame { kind, flags, stream, len, .. } = frame;
            let body_len = if kind == DATA { usize::try_from(len)? } else { 0 };
            let Some(body) = self.received.get(HEADER_LEN..HEADER_LEN + body_len) else { break };
            let body = body.to_vec();
            self.received.drain(..HEADER_LEN + body_len);
            match kind {
                DATA if stream == CONTROL && self.opened => {
                    self.frames.push(&body);
                    self.write(&header(WINDOW_UPDATE, 0, CONTROL, len), &[])?;
                }
                WINDOW_UPDATE if stream == CONTROL => self.credit = self.credit.saturating_add(len),
                PING if flags & SYN != 0 => self.write(&header(PING, ACK, 0, len), &[])?,
                GO_AWAY => bail!("the master ends the session"),
                _ => {}
            }
            ensure!(stream != CONTROL || flags & (FIN | RST) == 0, "the master ends the stream");
        }
        Ok(())
    }

    fn write(&mut self, header: &[u8], body: &[u8]) -> Result<()> {
        self.tls.write_all(header)?;
        self.tls.write_all(body)?;
        self.tls.flush().context("the link takes nothing")
    }
}

/// Header of a yamux frame.
#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u16,
    stream: u32,
    len: u32,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] =
            *bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

fn header(kind: u8, flags: u16, stream: u32, len: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{DATA, Frame, SYN, header};

    #[test]
    fn headers_are_read_as_they_are_written() {
        let frame = Frame::parse(&header(DATA, SYN, 7, 300)).unwrap();
        assert_eq!((frame.kind, frame.flags, frame.stream, frame.len), (DATA, SYN, 7, 300));
        assert!(Frame::parse(&header(DATA, 0, 1, 1)[..11]).is_none());
    }
}
