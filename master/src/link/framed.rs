//! Reads and writes node-link frames on a stream.

use std::io;

use bramble_shared::frame::{self, DecodeFrameError, EncodeFrameError, FrameDecoder};
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are read at once.
const READ_LEN: usize = 8 * 1024;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFrameError {
    /// The connection failed.
    #[error("could not read from the stream")]
    Read(#[source] io::Error),
    /// What arrived is no frame.
    #[error(transparent)]
    Decode(#[from] DecodeFrameError),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Cut,
}

/// Why a frame could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteFrameError {
    /// The message is no frame.
    #[error(transparent)]
    Encode(#[from] EncodeFrameError),
    /// The connection failed.
    #[error("could not write to the stream")]
    Write(#[source] io::Error),
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of any allowed length.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, decoder: FrameDecoder::new(), buffer: vec![0; READ_LEN] }
    }

    /// Reads frames of at most `len_max` bytes.
    pub(crate) fn with_len_max(stream: R, len_max: usize) -> Self {
        Self { decoder: FrameDecoder::with_len_max(len_max), ..Self::new(stream) }
    }

    /// Reads frames of at most `len_max` bytes from now on.
    pub(crate) const fn set_len_max(&mut self, len_max: usize) {
        self.decoder.set_len_max(len_max);
    }

    /// The stream, and what was read of it beyond the last message.
    pub(crate) fn into_parts(self) -> (R, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }

    /// The next message; none when the other side has ended the stream. May be dropped and called
    /// again: nothing is lost.
    pub(crate) async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadFrameError> {
        loop {
            if let Some(message) = self.decoder.decode()? {
                return Ok(Some(message));
            }
            let len = self.stream.read(&mut self.buffer).await.map_err(ReadFrameError::Read)?;
            if len == 0 {
                let whole = self.decoder.is_empty();
                return if whole { Ok(None) } else { Err(ReadFrameError::Cut) };
            }
            self.decoder.push(self.buffer.get(..len).unwrap_or_default());
        }
    }
}

/// Writes a message and sends it off.
pub(crate) async fn write<T: Serialize, W: AsyncWrite + Unpin>(
    stream: &mut W,
    message: &T,
) -> Result<(), WriteFrameError> {
    let frame = frame::encode(message)?;
    stream.write_all(&frame).await.map_err(WriteFrameError::Write)?;
    stream.flush().await.map_err(WriteFrameError::Write)
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::ToAgent;
    use futures_util::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn messages_are_read_until_the_end_and_a_cut_is_noticed() {
        let mut stream = Cursor::new(Vec::new());
        write(&mut stream, &ToAgent::Ping(1)).await.unwrap();
        write(&mut stream, &ToAgent::Ping(2)).await.unwrap();
        let bytes = stream.into_inner();
        let mut reader = FrameReader::new(&bytes[..]);
        assert_eq!(reader.read::<ToAgent>().await.unwrap(), Some(ToAgent::Ping(1)));
        assert_eq!(reader.read::<ToAgent>().await.unwrap(), Some(ToAgent::Ping(2)));
        assert_eq!(reader.read::<ToAgent>().await.unwrap(), None);
        let mut reader = FrameReader::new(&bytes[..7]);
        reader.read::<ToAgent>().await.unwrap();
        assert!(matches!(reader.read::<ToAgent>().await, Err(ReadFrameError::Cut)));
    }
}
