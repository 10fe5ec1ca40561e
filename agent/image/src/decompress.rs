//! Turns a layer's bytes into the bytes of its tar archive, whatever they are compressed with.
//!
//! The kind is told by the first bytes, since media types are often wrong. What comes out is
//! bounded, in total and in proportion to what went in.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Reads the archive in `source`, which is `source_len` bytes long.
///
/// # Errors
/// The first bytes could not be read.
pub(crate) fn decompress<'a>(
    mut source: impl BufRead + 'a,
    source_len: u64,
) -> io::Result<Bounded<Box<dyn Read + 'a>>> {
    let start = source.fill_buf()?;
    let inner: Box<dyn Read + 'a> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(source))
    } else if start.starts_with(&ZSTD_FRAME) {
        Box::new(ZstdFrames::new(source))
    } else {
        Box::new(source)
    };
    let allowed =
        source_len.saturating_mul(RATIO_MAX).saturating_add(RATIO_FREE_BYTES).min(UNPACKED_LEN_MAX);
    Ok(Bounded { inner, left: allowed })
}

/// Fails, rather than ends, after a number of bytes.
pub(crate) struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::QuotaExceeded, TooMuch)),
        }
        Ok(read)
    }
}

/// The archive is larger than a layer of its compressed size may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "layer unpacks to more than {RATIO_MAX} times its size, or to more than {UNPACKED_LEN_MAX} bytes"
)]
pub(crate) struct TooMuch;

/// Decodes one frame after the other; ruzstd knows single frames only.
struct ZstdFrames<R: Read> {
    source: R,
    frame: FrameDecoder,
    started: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW_MAX);
        Self { source, frame, started: false }
    }

    /// Starts the next frame. Returns false at the end.
    fn start(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.init(&mut self.source) {
                Ok(()) => {
                    self.started = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    // Skippable frames hold the table of contents of zstd:chunked layers.
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.started && (self.frame.can_collect() > 0 || !self.frame.is_finished()) {
                while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.frame.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
                }
                let read = self.frame.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
            } else if !self.start()? {
                return Ok(0);
            }
        }
    }
}

const ZSTD_FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What `zstd -19` uses; larger windows would take a small board's memory.
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

/// Real layers stay below 20:1; a bomb has 1000:1.
const RATIO_MAX: u64 = 200;

/// Small layers of zeros are common and harmless.
const RATIO_FREE_BYTES: u64 = 16 << 20;

/// Bound on one unpacked layer, in bytes: more than fits beside it on most cards.
const UNPACKED_LEN_MAX: u64 = 32 << 30;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes, u64::try_from(bytes.len()).unwrap())?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_kind_gives_the_same_bytes() {
        let plain = b"pi".repeat(1_000);
        assert_eq!(read(&plain).unwrap(), plain);
        assert_eq!(read(&gzip(&plain)).unwrap(), plain);
        assert_eq!(read(&zstd(&plain)).unwrap(), plain);
    }

    #[test]
    fn several_members_and_frames_are_one_archive() {
        assert_eq!(read(&[gzip(b"a"), gzip(b"b")].concat()).unwrap(), b"ab");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0][..], b"xx"].concat();
        assert_eq!(read(&[zstd(b"a"), skippable, zstd(b"b")].concat()).unwrap(), b"ab");
    }

    #[test]
    fn bomb_is_refused() {
        let error = read(&gzip(&vec![0; 20 << 20])).unwrap_err();
        assert!(error.to_string().contains("more than 200 times"), "{error}");
    }

    #[test]
    fn cut_and_broken_streams_are_errors() {
        let whole = gzip(b"some bytes");
        assert!(read(&whole[..whole.len() - 3]).is_err());
        let whole = zstd(&b"pi".repeat(100));
        assert!(read(&whole[..whole.len() - 3]).is_err());
    }
}
