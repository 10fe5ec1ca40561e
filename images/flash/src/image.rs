//! An image of a card: checked whole before anything is overwritten, and made one card's own.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bramble_card::card_word::card_word;
use bramble_card::partition_table::{PartitionTable, Sector};
use bramble_card::{boot_file, fat, layout};
use flate2::read::MultiGzDecoder;

use crate::write::{CHUNK_LEN, Phase, Watch};

/// What a file compressed with gzip begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes before slot a: the partition table and the boot partition.
const HEAD_LEN: u64 = layout::BOOT_START + layout::BOOT_LEN;

/// Command lines in an image: one a slot.
const CARD_WORDS_MAX: usize = 2;

/// An image that was read to its end once.
pub struct Image {
    path: PathBuf,
    head: Vec<u8>,
    /// Where its command lines name a card.
    card_words: Vec<u64>,
}

/// What makes a card different from all others.
pub struct Content {
    /// Text of `bramble.toml`.
    pub settings: String,
    /// Files of the folder `cluster`, by name; empty for an agent.
    pub cluster: Vec<(String, Vec<u8>)>,
    /// Signature of the partition table: random, so that no two cards are taken for one.
    pub signature: u32,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenImageError {
    /// It cannot be opened.
    #[error("could not open image `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read to its end.
    #[error("image `{}` is damaged; get or make it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no image of a bramble card: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The caller wanted to stop.
    #[error("stopped; nothing was written")]
    Stopped,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("path", &self.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").finish_non_exhaustive()
    }
}

impl Image {
    /// Opens an image, compressed or not, and reads all of it: a card is not begun with one that
    /// cannot be finished.
    ///
    /// # Errors
    /// It is damaged or something else, or `watch` wants to stop.
    pub fn open(path: &Path, watch: &mut Watch<'_>) -> Result<Self, OpenImageError> {
        let named = || path.to_path_buf();
        let damaged = |source| OpenImageError::Damaged { path: named(), source };
        let foreign = |problem: String| OpenImageError::Foreign { path: named(), problem };
        let mut reader =
            reader(path).map_err(|source| OpenImageError::Open { path: named(), source })?;
        let mut head = Vec::new();
        (&mut reader).take(HEAD_LEN).read_to_end(&mut head).map_err(damaged)?;
        if head.len() as u64 != HEAD_LEN {
            return Err(foreign("it is too short".to_owned()));
        }
        check_table(&head).map_err(&foreign)?;
        let mut len = HEAD_LEN;
        let mut words = WordFinder::new(HEAD_LEN);
        let mut chunk = vec![0; CHUNK_LEN];
        loop {
            if watch(Phase::Check, len.min(layout::IMAGE_LEN), layout::IMAGE_LEN).is_break() {
                return Err(OpenImageError::Stopped);
            }
            match reader.read(&mut chunk).map_err(damaged)? {
                0 => break,
                read => {
                    words.push(chunk.get(..read).unwrap_or_default());
                    len += read as u64;
                }
            }
        }
        if len != layout::IMAGE_LEN {
            return Err(foreign(format!("it has {len} bytes, not {}", layout::IMAGE_LEN)));
        }
        Ok(Self { path: named(), head, card_words: words.found })
    }

    /// The image's bytes up to slot a, with `content` on the boot partition.
    ///
    /// # Errors
    /// The boot partition holds no file system or has no room.
    pub fn head(&self, content: &Content) -> io::Result<Vec<u8>> {
        let mut head = self.head.clone();
        let mut table = first_sector(&head)
            .and_then(|sector| PartitionTable::parse(sector).ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        table.signature = content.signature;
        let mut card = Cursor::new(head.as_mut_slice());
        card.write_all(&table.to_sector())?;
        card.rewind()?;
        let boot = fat::open(card, layout::BOOT_START, layout::BOOT_LEN)?;
        fat::write(&boot, boot_file::SETTINGS, content.settings.as_bytes())?;
        for (name, bytes) in &content.cluster {
            fat::write(&boot, &format!("{}/{name}", boot_file::CLUSTER), bytes)?;
        }
        boot.unmount()?;
        Ok(head)
    }

    /// Puts a card's word into a piece of the image that begins at byte `at`.
    pub(crate) fn name_card(&self, at: u64, piece: &mut [u8], signature: u32) {
        let word = card_word(signature);
        for place in &self.card_words {
            for (offset, byte) in (*place..).zip(word.bytes()) {
                let within = offset.checked_sub(at).and_then(|within| usize::try_from(within).ok());
                if let Some(target) = within.and_then(|within| piece.get_mut(within)) {
                    *target = byte;
                }
            }
        }
    }

    /// The image's bytes from slot a on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn rest(&self) -> io::Result<Box<dyn Read>> {
        let mut reader = reader(&self.path)?;
        io::copy(&mut (&mut reader).take(HEAD_LEN), &mut io::sink())?;
        Ok(reader)
    }
}

/// Finds where an image names a card, in pieces that are told one after the other.
struct WordFinder {
    found: Vec<u64>,
    /// Where `tail` begins.
    at: u64,
    /// The last bytes, which a word may have begun in.
    tail: Vec<u8>,
}

impl WordFinder {
    /// Begins at this byte of the image.
    fn new(at: u64) -> Self {
        Self { found: Vec::new(), at, tail: Vec::new() }
    }

    fn push(&mut self, piece: &[u8]) {
        let word = card_word(0);
        self.tail.extend_from_slice(piece);
        // Most of an image is zeros or compressed: looking for the first letter is quick.
        let begins = self.tail.windows(word.len()).enumerate().filter(|(_, bytes)| {
            bytes.first() == word.as_bytes().first() && *bytes == word.as_bytes()
        });
        let places = begins.map(|(offset, _)| self.at + offset as u64);
        // A system that holds more of them is none of ours; memory stays bounded.
        self.found.extend(places.take(CARD_WORDS_MAX - self.found.len()));
        let kept = self.tail.len().min(word.len() - 1);
        let gone = self.tail.len() - kept;
        self.tail.drain(..gone);
        self.at += gone as u64;
    }
}

fn reader(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    (&mut file).take(2).read_to_end(&mut magic)?;
    file.rewind()?;
    let file = BufReader::with_capacity(256 * 1024, file);
    if magic == GZIP_MAGIC { Ok(Box::new(MultiGzDecoder::new(file))) } else { Ok(Box::new(file)) }
}

fn first_sector(head: &[u8]) -> Option<&Sector> {
    head.first_chunk()
}

fn check_table(head: &[u8]) -> Result<(), String> {
    let sector = first_sector(head).ok_or("it is too short")?;
    let table = PartitionTable::parse(sector).map_err(|error| error.to_string())?;
    if !table.is_bramble() {
        return Err("its partitions are not where this bramble puts them".to_owned());
    }
    // A data partition in the image would be taken for the node's own.
    if table.partitions.last().is_some_and(Option::is_some) {
        return Err("it has a data partition; was it read from a card that was used?".to_owned());
    }
    Ok(())
}

/// A caller that never wants to stop.
///
/// # Errors
/// Never.
pub fn go_on(_: Phase, _: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_across_pieces() {
        let word = card_word(0);
        let text = format!("abc {word} bramble.card=12345678 bramble.bramble.card=0000000 {word}");
        let second = text.rfind(&word).unwrap() as u64;
        for len in 1..=text.len() {
            let mut finder = WordFinder::new(1_000);
            text.as_bytes().chunks(len).for_each(|piece| finder.push(piece));
            assert_eq!(finder.found, [1_004, 1_000 + second], "{len}");
        }
    }

    #[test]
    fn word_is_put_into_every_piece_that_it_touches() {
        let image = Image { path: PathBuf::new(), head: Vec::new(), card_words: vec![10] };
        let text = format!("0123456789{} end", card_word(0));
        for len in 1..=text.len() {
            let mut bytes = text.clone().into_bytes();
            for (index, piece) in bytes.chunks_mut(len).enumerate() {
                image.name_card((index * len) as u64, piece, 0xfeed);
            }
            assert_eq!(bytes, format!("0123456789{} end", card_word(0xfeed)).into_bytes());
        }
    }
}
