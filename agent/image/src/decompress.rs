//! Turns a layer's bytes into the bytes of its tar archive, whatever they are compressed with.
//!
//! The kind is told by the first bytes, since media types are often wrong. What comes out is
//! bounded by the room that there is for it, not in proportion to what went in: a log of zeros is
//! compressed a thousandfold and harmless, if the disk takes it.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Reads the archive in `source`, which may become `room` bytes long.
///
/// # Errors
/// The first bytes could not be read.
pub(crate) fn decompress<'a>(
    mut source: impl BufRead + 'a,
    room: u64,
) -> io::Result<Bounded<Box<dyn Read + 'a>>> {
    let start = source.fill_buf()?;
    let inner: Box<dyn Read + 'a> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(source))
    } else if is_zstd(start) {
        Box::new(ZstdFrames::new(source))
    } else {
        Box::new(source)
    };
    let allowed = room.min(UNPACKED_LEN_MAX);
    Ok(Bounded { inner, allowed, left: allowed })
}

/// A frame, or a skippable one before the first: there are sixteen kinds of these.
fn is_zstd(start: &[u8]) -> bool {
    let skippable = |kind: u8| kind & 0xf0 == 0x50;
    start.starts_with(&ZSTD_FRAME)
        || matches!(start, [kind, 0x2a, 0x4d, 0x18, ..] if skippable(*kind))
}

/// Fails, rather than ends, after a number of bytes.
pub(crate) struct Bounded<R> {
    inner: R,
    allowed: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => {
                let error = TooMuch { allowed: self.allowed };
                return Err(io::Error::new(io::ErrorKind::StorageFull, error));
            }
        }
        Ok(read)
    }
}

/// The archive is larger than the node has room for.
#[derive(Debug, thiserror::Error)]
#[error("layer unpacks to more than the {allowed} bytes that the node has room for")]
pub(crate) struct TooMuch {
    allowed: u64,
}

/// The layer was compressed for machines with more memory.
#[derive(Debug, thiserror::Error)]
#[error(
    "layer was compressed with a zstd window of {} MiB, and nodes take up to {} MiB: build the \
     image with a lower compression level (zstd -19 needs 8 MiB) or with gzip",
    needed.div_ceil(1 << 20), ZSTD_WINDOW_MAX >> 20
)]
pub(crate) struct WindowTooLarge {
    needed: u64,
}

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
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(io::Error::other(WindowTooLarge { needed: requested }));
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

/// Four times what `zstd -19` uses. Three layers that are unpacked at a time then take a fifth of
/// the memory of the smallest board.
const ZSTD_WINDOW_MAX: u64 = 32 << 20;

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
        decompress(bytes, ROOM)?.read_to_end(&mut out)?;
        Ok(out)
    }

    const ROOM: u64 = 1 << 20;

    /// The start of a frame with a window of 2^`log` bytes: descriptor 0 and the window's own.
    fn frame_with_window(log: u8) -> Vec<u8> {
        [&ZSTD_FRAME[..], &[0, (log - 10) << 3]].concat()
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
    fn zeros_are_read_as_far_as_there_is_room() {
        let fits = vec![0; usize::try_from(ROOM).unwrap()];
        assert_eq!(read(&gzip(&fits)).unwrap().len(), fits.len());
        let error = read(&gzip(&vec![0; fits.len() + 1])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("1048576 bytes that the node has room for"), "{error}");
    }

    #[test]
    fn a_stream_may_begin_with_any_skippable_frame() {
        for kind in [0x50, 0x57, 0x5f] {
            let skippable = [&[kind, 0x2a, 0x4d, 0x18, 2, 0, 0, 0][..], b"xx"].concat();
            assert_eq!(read(&[skippable, zstd(b"a")].concat()).unwrap(), b"a");
        }
        assert_eq!(read(&[0x60, 0x2a, 0x4d, 0x18]).unwrap(), [0x60, 0x2a, 0x4d, 0x18]);
    }

    #[test]
    fn windows_that_a_board_has_no_memory_for_are_refused_in_words() {
        let block = [1, 0, 0];
        assert_eq!(read(&[frame_with_window(25), block.to_vec()].concat()).unwrap(), b"");
        let error = read(&[frame_with_window(27), block.to_vec()].concat()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("128 MiB") && text.contains("up to 32 MiB"), "{text}");
    }

    #[test]
    fn cut_and_broken_streams_are_errors() {
        let whole = gzip(b"some bytes");
        assert!(read(&whole[..whole.len() - 3]).is_err());
        let whole = zstd(&b"pi".repeat(100));
        assert!(read(&whole[..whole.len() - 3]).is_err());
    }
}
