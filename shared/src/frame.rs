//! Frames of the node link: one postcard message after its length.
//!
//! Has no socket: bytes come in as they arrive, messages come out when they are whole.
//!
//! ```text
//! frame = length of the body, u32 little endian | body, postcard     (<= LINK_FRAME_LEN_MAX)
//! ```

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::LINK_FRAME_LEN_MAX;

/// Length of the length, in bytes.
const PREFIX_LEN: usize = 4;
const _: () = assert!(LINK_FRAME_LEN_MAX <= 1 << 30, "a length must fit in its prefix");

/// Why a message could not be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeFrameError {
    /// It is longer than a frame may be.
    #[error("a message of {len} bytes is longer than a frame")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// It holds something that postcard cannot write.
    #[error("the message cannot be encoded")]
    Unsupported,
}

/// Why what arrived is no frame. The connection is worth nothing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFrameError {
    /// It says that it is longer than a frame may be.
    #[error("a frame of {len} bytes is longer than {max}")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// Longest length, in bytes.
        max: usize,
    },
    /// It is not the expected message.
    #[error("malformed frame")]
    Malformed,
    /// It is longer than its message.
    #[error("{extra} bytes too many after the message")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
}

/// The whole frame of a message.
///
/// # Errors
///
/// The message is too long.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Vec<u8>, EncodeFrameError> {
    let start = Vec::from([0; PREFIX_LEN]);
    let mut frame =
        postcard::to_extend(message, start).map_err(|_| EncodeFrameError::Unsupported)?;
    let len = frame.len() - PREFIX_LEN;
    let prefix = u32::try_from(len).ok().filter(|_| len <= LINK_FRAME_LEN_MAX);
    let prefix = prefix.ok_or(EncodeFrameError::TooLong { len })?;
    for (to, from) in frame.iter_mut().zip(prefix.to_le_bytes()) {
        *to = from;
    }
    Ok(frame)
}

/// Collects bytes until frames are whole.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given out.
    taken: usize,
    len_max: usize,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameDecoder {
    /// A decoder for frames up to [`LINK_FRAME_LEN_MAX`].
    #[must_use]
    pub const fn new() -> Self {
        Self::with_len_max(LINK_FRAME_LEN_MAX)
    }

    /// A decoder for frames up to `len_max` bytes, for a peer that is not known yet.
    #[must_use]
    pub const fn with_len_max(len_max: usize) -> Self {
        Self { buffer: Vec::new(), taken: 0, len_max }
    }

    /// Allows frames up to `len_max` bytes from now on: the peer is known, or has something else to say.
    pub const fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Takes what arrived. Call [`Self::decode`] until it returns none before the next bytes: the
    /// buffer then never holds more than one frame and these bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if all of it has arrived.
    ///
    /// # Errors
    ///
    /// What arrived is no such frame; a frame that is too long is refused by its length alone.
    pub fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeFrameError> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let max = self.len_max;
        let len = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if len > max {
            return Err(DecodeFrameError::TooLong { len, max });
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let (message, extra) =
            postcard::take_from_bytes(body).map_err(|_| DecodeFrameError::Malformed)?;
        if !extra.is_empty() {
            return Err(DecodeFrameError::TrailingBytes { extra: extra.len() });
        }
        self.taken += PREFIX_LEN + len;
        if self.taken == self.buffer.len() {
            self.taken = 0;
            self.buffer.clear();
            // A large ConfigMap must not keep its room for the rest of the session.
            self.buffer.shrink_to(16 * 1024);
        }
        Ok(Some(message))
    }

    /// What arrived beyond the last message: the stream goes on as something else.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.taken)
    }

    /// True if the stream could end here without cutting a frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::link::{JoinReply, ToAgent};

    #[test]
    fn frame_bytes_are_frozen() {
        let reply = JoinReply::Refused { reason: String::from("no") };
        assert_eq!(encode(&reply).unwrap(), [4, 0, 0, 0, 1, 2, b'n', b'o']);
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut bytes = encode(&ToAgent::Ping(300)).unwrap();
        bytes.extend(encode(&ToAgent::Synced { revision: 7 }).unwrap());
        let mut decoder = FrameDecoder::new();
        let mut messages = vec![];
        for byte in bytes {
            decoder.push(&[byte]);
            messages.extend(decoder.decode::<ToAgent>().unwrap());
        }
        assert_eq!(messages, [ToAgent::Ping(300), ToAgent::Synced { revision: 7 }]);
        assert!(decoder.is_empty());
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_body() {
        let mut decoder = FrameDecoder::with_len_max(10);
        decoder.push(&[11, 0, 0, 0]);
        assert_eq!(
            decoder.decode::<ToAgent>(),
            Err(DecodeFrameError::TooLong { len: 11, max: 10 })
        );
        decoder.set_len_max(11);
        assert_eq!(decoder.decode::<ToAgent>(), Ok(None));
    }

    #[test]
    fn trailing_and_malformed_bytes_are_refused() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[3, 0, 0, 0, 2, 1, 9]);
        assert_eq!(decoder.decode::<ToAgent>(), Err(DecodeFrameError::TrailingBytes { extra: 1 }));
        let mut decoder = FrameDecoder::new();
        decoder.push(&[1, 0, 0, 0, 99]);
        assert_eq!(decoder.decode::<ToAgent>(), Err(DecodeFrameError::Malformed));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_sent() {
        let reply = JoinReply::Accepted { certificate: vec![0; LINK_FRAME_LEN_MAX], ca: vec![] };
        assert!(matches!(encode(&reply), Err(EncodeFrameError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = FrameDecoder::with_len_max(1024);
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.decode::<ToAgent>() {}
        }
    }
}
