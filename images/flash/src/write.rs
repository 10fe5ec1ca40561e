//! Writes a card and reads it back.
//!
//! ```text
//!  size probed -> first sector zeroed -> boot partition, slot a -> old beginnings of slot b and data zeroed
//!      -> synced -> first sector written -> synced -> everything read back and compared
//! ```
//!
//! Until the last step but one the card has no partition table: one that was interrupted is
//! seen to be empty, never half a system.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use bramble_card::layout::{self, SECTOR_LEN, Slot};
use bramble_card::real_size::{ProbeSizeError, probe_size};

use crate::image::{Content, Image};

/// Bytes that are written, synced and told of at a time: the slowest cards take a second.
pub const CHUNK_LEN: usize = 4 << 20;

/// Bytes that are zeroed where an old file system or table may begin or end. Superblocks of all
/// common ones, and the copy of a partition table at the end of a card, are within it.
const WIPE_LEN: u64 = 1 << 20;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The image is read.
    Check,
    /// The card is written.
    Write,
    /// The card is read back.
    Verify,
}

/// Told of progress: phase, bytes done, bytes in all. Ends the work by breaking.
pub type Watch<'a> = dyn FnMut(Phase, u64, u64) -> ControlFlow<()> + 'a;

/// What a card is written to.
pub trait Medium: Read + Write + Seek {
    /// Waits until everything that was written is on the medium.
    ///
    /// # Errors
    /// It is not.
    fn sync(&mut self) -> io::Result<()>;

    /// Sees to it that what is read next comes from the medium and not from memory.
    ///
    /// # Errors
    /// That cannot be done.
    fn forget(&mut self) -> io::Result<()>;

    /// Tells whether all bytes that were not written are zero.
    fn blank(&self) -> bool;
}

/// Why a card was not written. It cannot be used then.
#[derive(Debug, thiserror::Error)]
pub enum WriteCardError {
    /// The card is not what it says.
    #[error(transparent)]
    Size(#[from] ProbeSizeError),
    /// The settings did not fit.
    #[error("could not put this card's settings into the image")]
    Settings(#[source] io::Error),
    /// The image failed, although it was read before.
    #[error("could not read the image again")]
    Image(#[source] io::Error),
    /// The card does not take it.
    #[error("could not write the card at byte {at}; is it dying, or was it taken out?")]
    Write {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The card does not give it back.
    #[error("could not read the card back at byte {at}; is it dying, or was it taken out?")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The card gives something else back.
    #[error("the card holds something else than what was written at byte {at}; use another card")]
    Different {
        /// Where.
        at: u64,
    },
    /// The caller wanted to stop.
    #[error("stopped before the card was finished; flash it again")]
    Stopped,
}

/// Writes `image` with `content` to a medium of `card_len` bytes, and compares.
///
/// # Errors
/// The medium has no usable card then, but for [`WriteCardError::Different`]: what it has is
/// damaged.
pub fn write_card(
    medium: &mut impl Medium,
    card_len: u64,
    image: &Image,
    content: &Content,
    watch: &mut Watch<'_>,
) -> Result<(), WriteCardError> {
    let head = image.head(content).map_err(WriteCardError::Settings)?;
    let blank = medium.blank();
    if !blank {
        // What is before is written and compared anyway. A signature is random, so no other card or
        // run has these marks.
        probe_size(medium, layout::DATA_START, card_len, content.signature.into(), |medium| {
            medium.sync()?;
            medium.forget()
        })?;
    }
    let wrote = |at| move |source| WriteCardError::Write { at, source };
    let sector_len = usize::try_from(SECTOR_LEN).unwrap_or(512);
    let (table, _) = head.split_at_checked(sector_len).unwrap_or_default();
    let mut without_table = head.clone();
    without_table.iter_mut().take(sector_len).for_each(|byte| *byte = 0);

    let zeros = vec![0; CHUNK_LEN];
    let mut step = Step { watch, phase: Phase::Write, done: 0, total: total(card_len) };
    each_chunk(&without_table, image, card_len, |at, chunk| {
        if !blank || zeros.get(..chunk.len()) != Some(chunk) {
            medium.seek(SeekFrom::Start(at)).map_err(wrote(at))?;
            medium.write_all(chunk).map_err(wrote(at))?;
            medium.sync().map_err(wrote(at))?;
        }
        step.by(chunk.len())
    })?;
    medium.seek(SeekFrom::Start(0)).map_err(wrote(0))?;
    medium.write_all(table).map_err(wrote(0))?;
    medium.sync().map_err(wrote(0))?;

    medium.forget().map_err(|source| WriteCardError::Read { at: 0, source })?;
    let mut step = Step { phase: Phase::Verify, done: 0, ..step };
    let mut found = vec![0; CHUNK_LEN];
    each_chunk(&head, image, card_len, |at, chunk| {
        let read = |source| WriteCardError::Read { at, source };
        let found = found.get_mut(..chunk.len()).unwrap_or_default();
        medium.seek(SeekFrom::Start(at)).map_err(read)?;
        medium.read_exact(found).map_err(read)?;
        if found != chunk {
            let first = found.iter().zip(chunk).position(|(found, wanted)| found != wanted);
            return Err(WriteCardError::Different { at: at + first.unwrap_or(0) as u64 });
        }
        step.by(chunk.len())
    })
}

/// How far the work is.
struct Step<'a, 'b> {
    watch: &'a mut Watch<'b>,
    phase: Phase,
    done: u64,
    total: u64,
}

impl Step<'_, '_> {
    fn by(&mut self, len: usize) -> Result<(), WriteCardError> {
        self.done += len as u64;
        match (self.watch)(self.phase, self.done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(WriteCardError::Stopped),
        }
    }
}

/// Places that are zeroed.
fn wiped(card_len: u64) -> impl Iterator<Item = u64> {
    let end = card_len.saturating_sub(WIPE_LEN);
    let mut places = vec![Slot::B.start(), layout::DATA_START, end];
    places.retain(|place| place + WIPE_LEN <= card_len && *place >= Slot::B.start());
    places.sort_unstable();
    places.dedup();
    places.into_iter()
}

fn total(card_len: u64) -> u64 {
    layout::IMAGE_LEN + wiped(card_len).count() as u64 * WIPE_LEN
}

/// Calls `each` with everything that a card is to hold, in the order of its places.
fn each_chunk(
    head: &[u8],
    image: &Image,
    card_len: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), WriteCardError>,
) -> Result<(), WriteCardError> {
    let mut at = 0;
    for chunk in head.chunks(CHUNK_LEN) {
        each(at, chunk)?;
        at += chunk.len() as u64;
    }
    let mut rest = image.rest().map_err(WriteCardError::Image)?;
    let mut chunk = Vec::with_capacity(CHUNK_LEN);
    while at < layout::IMAGE_LEN {
        chunk.clear();
        let wanted = (layout::IMAGE_LEN - at).min(CHUNK_LEN as u64);
        let read =
            (&mut rest).take(wanted).read_to_end(&mut chunk).map_err(WriteCardError::Image)?;
        if read as u64 != wanted {
            return Err(WriteCardError::Image(io::ErrorKind::UnexpectedEof.into()));
        }
        each(at, &chunk)?;
        at += wanted;
    }
    chunk.clear();
    chunk.resize(usize::try_from(WIPE_LEN).unwrap_or(CHUNK_LEN), 0);
    for place in wiped(card_len) {
        each(place, &chunk)?;
    }
    Ok(())
}
