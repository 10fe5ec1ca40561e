//! An image of a card: checked whole before anything is overwritten, and made one card's own.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bramble_card::partition_table::{PartitionTable, Sector};
use bramble_card::{boot_file, fat, layout};
use flate2::read::MultiGzDecoder;

use crate::write::{CHUNK_LEN, Phase, Watch};

/// What a file compressed with gzip begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes before slot a: the partition table and the boot partition.
const HEAD_LEN: u64 = layout::BOOT_START + layout::BOOT_LEN;

/// An image that was read to its end once.
pub struct Image {
    path: PathBuf,
    head: Vec<u8>,
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
        let mut chunk = vec![0; CHUNK_LEN];
        loop {
            if watch(Phase::Check, len.min(layout::IMAGE_LEN), layout::IMAGE_LEN).is_break() {
                return Err(OpenImageError::Stopped);
            }
            match reader.read(&mut chunk).map_err(damaged)? {
                0 => break,
                read => len += read as u64,
            }
        }
        if len != layout::IMAGE_LEN {
            return Err(foreign(format!("it has {len} bytes, not {}", layout::IMAGE_LEN)));
        }
        Ok(Self { path: named(), head })
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
