//! SPDY/3.1's frames, as far as port-forwarding clients use them (draft 3.1, section 2).
//!
//! Pure: bytes come in as they arrive and leave as frames. Data is passed on piece by piece, so
//! that the length of a frame costs nothing; a control frame is kept until it is whole, and is
//! short. There is no flow control: those clients have none, either.
//!
//! ```text
//! control: 1, version (15 bits) | type (16) | flags (8), length (24) | payload
//! data:    0, stream (31 bits)              | flags (8), length (24) | payload
//! ```

mod dictionary;

use flate2::{Decompress, FlushDecompress, Status};

/// Longest control frame, in bytes: a handful of short headers.
const CONTROL_LEN_MAX: usize = 16 * 1024;
/// Longest header block once it is decompressed, in bytes.
const HEADERS_LEN_MAX: usize = 16 * 1024;
/// Length of a frame's head.
const HEAD_LEN: usize = 8;
/// Version of every control frame.
const VERSION: u16 = 3;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// Nothing more comes on a stream.
const FIN: u8 = 1;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Opens a stream.
    Open {
        /// Its number.
        stream: u32,
        /// Names in lower case, and values.
        headers: Vec<(String, String)>,
        /// The client sends nothing on it.
        fin: bool,
    },
    /// A piece of what it sends on a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes, possibly none.
        bytes: Vec<u8>,
        /// They were the last.
        fin: bool,
    },
    /// Ends a stream at once, both ways.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// Wants the same back.
    Ping(u32),
    /// Opens no stream any more.
    GoAway,
}

/// Why what a client sent is no SPDY; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpdyError {
    /// Another version.
    #[error("a frame has version {found} of SPDY")]
    Version { found: u16 },
    /// A control frame that is too long.
    #[error("a control frame of {len} bytes is longer than {CONTROL_LEN_MAX}")]
    TooLong { len: usize },
    /// Cut short.
    #[error("a control frame is cut short")]
    Short,
    /// Headers that cannot be decompressed, or to too much.
    #[error("a block of headers cannot be read")]
    Headers,
}

/// Reads a client's frames.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    /// The data frame that is being read: stream, what is left, whether it is the last.
    data: Option<(u32, usize, bool)>,
    /// One for all blocks of the connection.
    inflate: Decompress,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: Vec::new(), data: None, inflate: Decompress::new(true) }
    }
}

impl Decoder {
    /// Takes what arrived and returns what it means.
    ///
    /// # Errors
    ///
    /// It is no SPDY; nothing more can be read.
    pub(super) fn decode(&mut self, arrived: &[u8]) -> Result<Vec<Input>, SpdyError> {
        self.buffer.extend_from_slice(arrived);
        let mut inputs = Vec::new();
        loop {
            if let Some((stream, left, last)) = self.data.take() {
                let len = left.min(self.buffer.len());
                if len == 0 && left > 0 {
                    self.data = Some((stream, left, last));
                    return Ok(inputs);
                }
                let bytes = self.buffer.drain(..len).collect();
                let whole = len == left;
                if !whole {
                    self.data = Some((stream, left - len, last));
                }
                inputs.push(Input::Data { stream, bytes, fin: last && whole });
                continue;
            }
            let Some(&head) = self.buffer.first_chunk::<HEAD_LEN>() else { return Ok(inputs) };
            let [a, b, c, d, flags, x, y, z] = head;
            let len = usize::try_from(u32::from_be_bytes([0, x, y, z])).unwrap_or(usize::MAX);
            if a & 0x80 == 0 {
                self.buffer.drain(..HEAD_LEN);
                self.data = Some((u32::from_be_bytes([a, b, c, d]), len, flags & FIN != 0));
                continue;
            }
            let version = u16::from_be_bytes([a & 0x7f, b]);
            if version != VERSION {
                return Err(SpdyError::Version { found: version });
            }
            if len > CONTROL_LEN_MAX {
                return Err(SpdyError::TooLong { len });
            }
            if self.buffer.len() < HEAD_LEN + len {
                return Ok(inputs);
            }
            let payload: Vec<u8> = self.buffer.drain(..HEAD_LEN + len).skip(HEAD_LEN).collect();
            inputs.extend(self.control(u16::from_be_bytes([c, d]), flags, &payload)?);
        }
    }

    fn control(
        &mut self,
        kind: u16,
        flags: u8,
        payload: &[u8],
    ) -> Result<Option<Input>, SpdyError> {
        let number = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(SpdyError::Short)
        };
        let stream = || number(0).map(|stream| stream & 0x7fff_ffff);
        Ok(match kind {
            SYN_STREAM => {
                // Stream, the stream that it belongs to, priority and slot.
                let block = payload.get(10..).ok_or(SpdyError::Short)?;
                let headers = self.headers(block)?;
                Some(Input::Open { stream: stream()?, headers, fin: flags & FIN != 0 })
            }
            RST_STREAM => Some(Input::Reset { stream: stream()? }),
            PING => Some(Input::Ping(number(0)?)),
            GOAWAY => Some(Input::GoAway),
            // Settings and the like; replies to what was never opened. A block of headers would
            // have to be read all the same, but only who opens streams sends one.
            _ => None,
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, SpdyError> {
        let bytes = self.inflate(block)?;
        let rest = &mut bytes.as_slice();
        let mut headers = Vec::new();
        for _ in 0..number(rest)? {
            let len = number(rest)?;
            let name = String::from_utf8_lossy(take(rest, len)?).to_ascii_lowercase();
            let len = number(rest)?;
            headers.push((name, String::from_utf8_lossy(take(rest, len)?).into_owned()));
        }
        Ok(headers)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut bytes = Vec::with_capacity(HEADERS_LEN_MAX);
        loop {
            let before = self.inflate.total_in();
            let done = self.inflate.decompress_vec(block, &mut bytes, FlushDecompress::Sync);
            let read = usize::try_from(self.inflate.total_in() - before).unwrap_or(usize::MAX);
            block = block.get(read..).ok_or(SpdyError::Headers)?;
            match done {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate
                        .set_dictionary(&dictionary::dictionary())
                        .map_err(|_| SpdyError::Headers)?;
                }
                Err(_) => return Err(SpdyError::Headers),
                Ok(Status::Ok | Status::BufError | Status::StreamEnd) if block.is_empty() => {
                    return Ok(bytes);
                }
                // The block goes on, and there is no more room for it.
                Ok(_) => return Err(SpdyError::Headers),
            }
        }
    }
}

/// Takes the next number of a block of headers.
fn number(rest: &mut &[u8]) -> Result<usize, SpdyError> {
    let bytes = take(rest, 4)?.first_chunk::<4>().copied().ok_or(SpdyError::Headers)?;
    usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| SpdyError::Headers)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], SpdyError> {
    let (taken, left) = rest.split_at_checked(len).ok_or(SpdyError::Headers)?;
    *rest = left;
    Ok(taken)
}

/// Writes frames.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// The stream of header blocks has begun.
    begun: bool,
}

impl Encoder {
    /// Says that a stream was taken.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut payload = stream.to_be_bytes().to_vec();
        if !self.begun {
            // Head of a zlib stream without a dictionary.
            payload.extend([0x78, 0x01]);
            self.begun = true;
        }
        // No headers: their number, uncompressed, and an empty block that flushes it.
        payload.extend([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        payload.extend([0, 0, 0, 0xff, 0xff]);
        control(SYN_REPLY, &payload)
    }
}

/// Data on a stream; at most 16 MiB.
pub(super) fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [_, x, y, z] = len;
    let mut frame = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
    frame.extend([u8::from(fin), x, y, z]);
    frame.extend_from_slice(bytes);
    frame
}

/// Ends a stream at once, both ways.
pub(super) fn reset(stream: u32) -> Vec<u8> {
    /// The stream is refused.
    const REFUSED_STREAM: u32 = 3;
    control(RST_STREAM, &[stream.to_be_bytes(), REFUSED_STREAM.to_be_bytes()].concat())
}

/// Answers a ping.
pub(super) fn ping(number: u32) -> Vec<u8> {
    control(PING, &number.to_be_bytes())
}

fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
    let [_, x, y, z] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = (0x8000 | VERSION).to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.extend([0, x, y, z]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// Frames as a client of Go's writes them: one compressor with the dictionary for all.
    fn opened(compress: &mut Compress, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            block.extend(text.as_bytes());
        }
        let mut compressed = Vec::with_capacity(block.len() + 1024);
        compress.compress_vec(&block, &mut compressed, FlushCompress::Sync).unwrap();
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        payload.extend(compressed);
        control(SYN_STREAM, &payload)
    }

    fn compressor() -> Compress {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary::dictionary()).unwrap();
        compress
    }

    fn own(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn streams_are_opened_with_headers_however_they_arrive() {
        let (error, data_of) = (
            [("streamtype", "error"), ("port", "80"), ("requestid", "0")],
            [("streamtype", "data"), ("port", "80"), ("requestid", "0")],
        );
        let mut compress = compressor();
        let sent = [
            opened(&mut compress, 1, &error),
            data(1, b"", true),
            opened(&mut compress, 3, &data_of),
            data(3, b"hello", false),
            ping(7),
            reset(3),
        ]
        .concat();
        let expected = [
            Input::Open { stream: 1, headers: own(&error), fin: false },
            Input::Data { stream: 1, bytes: Vec::new(), fin: true },
            Input::Open { stream: 3, headers: own(&data_of), fin: false },
            Input::Data { stream: 3, bytes: b"hello".to_vec(), fin: false },
            Input::Ping(7),
            Input::Reset { stream: 3 },
        ];
        assert_eq!(Decoder::default().decode(&sent).unwrap(), expected);
        let mut decoder = Decoder::default();
        let mut inputs = Vec::new();
        for byte in sent {
            inputs.extend(decoder.decode(&[byte]).unwrap());
        }
        let text: Vec<u8> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Data { stream: 3, bytes, .. } => Some(bytes.clone()),
                Input::Open { .. }
                | Input::Data { .. }
                | Input::Reset { .. }
                | Input::Ping(_)
                | Input::GoAway => None,
            })
            .flatten()
            .collect();
        assert_eq!(text, b"hello");
        assert_eq!(inputs.len(), 4 + expected.len());
    }

    #[test]
    fn replies_can_be_decompressed_one_after_the_other() {
        let mut encoder = Encoder::default();
        let mut inflate = Decompress::new(true);
        for stream in [1, 3, 5] {
            let frame = encoder.reply(stream);
            assert_eq!(frame[..4], [0x80, 3, 0, 2]);
            assert_eq!(frame[8..12], stream.to_be_bytes());
            let mut block = Vec::with_capacity(64);
            inflate.decompress_vec(&frame[12..], &mut block, FlushDecompress::Sync).unwrap();
            assert_eq!(block, [0; 4]);
        }
    }

    #[test]
    fn giant_frames_and_bombs_are_refused_and_data_is_not_kept() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(Decoder::default().decode(bytes), Err(expected));
        };
        check(&[0x80, 2, 0, 1, 0, 0, 0, 0], SpdyError::Version { found: 2 });
        check(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff], SpdyError::TooLong { len: 0xff_ffff });
        check(&[0x80, 3, 0, 6, 0, 0, 0, 0], SpdyError::Short);
        check(&control(SYN_STREAM, &[0; 12]), SpdyError::Headers);
        let long = "a".repeat(1 << 20);
        let bomb = opened(&mut compressor(), 1, &[("streamtype", &long)]);
        check(&bomb, SpdyError::Headers);
        let many = opened(&mut compressor(), 1, &[]);
        assert!(Decoder::default().decode(&many).is_ok());
        let mut decoder = Decoder::default();
        decoder.decode(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]).unwrap();
        for _ in 0..100 {
            decoder.decode(&[0; 4096]).unwrap();
            assert!(decoder.buffer.is_empty());
        }
    }
}
