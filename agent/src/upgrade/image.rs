//! Cuts slot a out of an image file that arrives piece by piece, compressed or not.
//!
//! ```text
//! pieces --> (gzip) --> sector 0: is it a bramble card? | boot partition: skipped | slot a --> out
//! ```
//! A stream that ends early, goes on too long or is damaged is an error, never a slot.

use std::io::{self, Write};

use bramble_card::layout::{IMAGE_LEN, SECTOR_LEN, Slot};
use bramble_card::partition_table::{PartitionTable, Sector};
use flate2::write::GzDecoder;
use ring::digest::{Context, SHA256};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a stream is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadImageError {
    /// Something else.
    #[error("the file is no image of a bramble card; give an .img or .img.gz of bramble")]
    NoImage,
    /// Too long.
    #[error("the file is longer than an image of a bramble card")]
    TooLong,
    /// Too short.
    #[error("the file ends after {len} of {IMAGE_LEN} bytes of the image")]
    TooShort {
        /// Bytes of the image that came.
        len: u64,
    },
    /// The compression's check does not hold.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The slot cannot be written.
    #[error("the card could not be written: {0}")]
    Write(String),
}

/// An image that arrives.
pub(super) struct ImageStream<W: Write> {
    state: State<W>,
}

enum State<W: Write> {
    /// Not yet known whether it is compressed; the first byte may be here.
    Start(Vec<u8>, W),
    Plain(Box<Cut<W>>),
    Gzip(Box<GzDecoder<Cut<W>>>),
    Failed(ReadImageError),
}

impl<W: Write> ImageStream<W> {
    /// Writes the slot to `out`.
    pub(super) fn new(out: W) -> Self {
        Self { state: State::Start(Vec::new(), out) }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// It cannot be part of an image, or `out` fails. The stream is worth nothing after that.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ReadImageError> {
        let taken = std::mem::replace(&mut self.state, State::Failed(ReadImageError::NoImage));
        match taken.push(piece) {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Bytes of the slot that were written so far.
    pub(super) fn written(&self) -> u64 {
        match &self.state {
            State::Start(..) | State::Failed(_) => 0,
            State::Plain(cut) => cut.written(),
            State::Gzip(decoder) => decoder.get_ref().written(),
        }
    }

    /// Ends the stream and returns the SHA-256 of the slot's bytes.
    ///
    /// # Errors
    ///
    /// Something is missing.
    pub(super) fn finish(self) -> Result<[u8; 32], ReadImageError> {
        match self.state {
            State::Start(start, _) => {
                Err(ReadImageError::TooShort { len: u64::try_from(start.len()).unwrap_or(0) })
            }
            State::Plain(cut) => cut.finish(),
            State::Gzip(mut decoder) => {
                decoder.try_finish().map_err(failure)?;
                decoder.finish().map_err(failure)?.finish()
            }
            State::Failed(error) => Err(error),
        }
    }
}

impl<W: Write> State<W> {
    fn push(self, piece: &[u8]) -> Result<Self, ReadImageError> {
        match self {
            Self::Start(mut start, out) => {
                start.extend_from_slice(piece);
                let Some(magic) = start.get(..GZIP_MAGIC.len()) else {
                    return Ok(Self::Start(start, out));
                };
                let cut = Cut::new(out);
                let opened = if magic == GZIP_MAGIC {
                    Self::Gzip(Box::new(GzDecoder::new(cut)))
                } else {
                    Self::Plain(Box::new(cut))
                };
                opened.push(&start)
            }
            Self::Plain(mut cut) => {
                cut.write_all(piece).map_err(failure)?;
                Ok(Self::Plain(cut))
            }
            Self::Gzip(mut decoder) => {
                decoder.write_all(piece).map_err(failure)?;
                Ok(Self::Gzip(decoder))
            }
            Self::Failed(error) => Err(error),
        }
    }
}

/// Our own errors come back out of the decoder as they went in; others are the decoder's.
fn failure(error: io::Error) -> ReadImageError {
    let own = error.get_ref().and_then(|inner| inner.downcast_ref::<ReadImageError>()).cloned();
    own.unwrap_or_else(|| {
        if error.kind() == io::ErrorKind::WriteZero {
            // The decoder takes nothing any more, but there is more.
            ReadImageError::TooLong
        } else {
            ReadImageError::Damaged(error.to_string())
        }
    })
}

/// Lets slot a through.
struct Cut<W> {
    out: W,
    at: u64,
    sector: Vec<u8>,
    digest: Context,
}

impl<W: Write> Cut<W> {
    fn new(out: W) -> Self {
        Self { out, at: 0, sector: Vec::new(), digest: Context::new(&SHA256) }
    }

    fn written(&self) -> u64 {
        self.at.saturating_sub(Slot::A.start())
    }

    fn finish(self) -> Result<[u8; 32], ReadImageError> {
        if self.at != IMAGE_LEN {
            return Err(ReadImageError::TooShort { len: self.at });
        }
        let digest = self.digest.finish();
        digest.as_ref().try_into().map_err(|_| ReadImageError::NoImage)
    }

    /// What of `buffer` belongs to the part that ends at byte `end` of the image.
    fn until<'a>(&self, buffer: &'a [u8], end: u64) -> &'a [u8] {
        let room = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        buffer.get(..room.min(buffer.len())).unwrap_or_default()
    }

    fn take<'a>(&mut self, buffer: &'a [u8]) -> Result<&'a [u8], ReadImageError> {
        if self.at < SECTOR_LEN {
            let part = self.until(buffer, SECTOR_LEN);
            self.sector.extend_from_slice(part);
            if let Ok(sector) = Sector::try_from(self.sector.as_slice()) {
                let table = PartitionTable::parse(&sector);
                if !table.is_ok_and(|table| table.is_bramble()) {
                    return Err(ReadImageError::NoImage);
                }
            }
            Ok(part)
        } else if self.at < Slot::A.start() {
            Ok(self.until(buffer, Slot::A.start()))
        } else {
            let part = self.until(buffer, IMAGE_LEN);
            if part.is_empty() {
                return Err(ReadImageError::TooLong);
            }
            self.out.write_all(part).map_err(|error| ReadImageError::Write(error.to_string()))?;
            self.digest.update(part);
            Ok(part)
        }
    }
}

impl<W: Write> Write for Cut<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let part = self.take(buffer).map_err(io::Error::other)?;
        self.at += u64::try_from(part.len()).unwrap_or(0);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
