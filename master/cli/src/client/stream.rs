//! An answer that comes bit by bit.

use std::any::Any;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::chain;
use crate::error::CliError;

/// Most bytes of one line: an object may have 1.5 MB, and a row of a table is one object at most.
const LINE_BYTES_MAX: usize = 8 << 20;

/// The rest of an answer.
#[derive(Debug)]
pub(crate) struct Chunks {
    body: Incoming,
    server: String,
    rest: BytesMut,
    /// The connection ends when this is dropped.
    _connection: Box<dyn Any + Send>,
}

impl Chunks {
    pub(super) fn new(body: Incoming, server: String, connection: impl Any + Send) -> Self {
        let connection = Box::new(connection);
        Self { body, server, rest: BytesMut::new(), _connection: connection }
    }

    /// What came next, in pieces of any size; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(CliError::BrokenAnswer {
                        server: self.server.clone(),
                        reason: chain(&error),
                    });
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Next object of a watch; none at the end.
    pub(crate) async fn next_json(&mut self) -> Result<Option<Value>, CliError> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return match serde_json::from_slice(&line) {
                    Ok(value) => Ok(Some(value)),
                    Err(error) => Err(self.nonsense(&format!("an event is not JSON ({error})"))),
                };
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(self.nonsense("an event has no end"));
            }
            match self.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None if self.rest.trim_ascii().is_empty() => return Ok(None),
                // The last line may lack its end.
                None => self.rest.extend_from_slice(b"\n"),
            }
        }
    }

    fn nonsense(&self, reason: &str) -> CliError {
        CliError::BrokenAnswer { server: self.server.clone(), reason: reason.to_owned() }
    }
}
