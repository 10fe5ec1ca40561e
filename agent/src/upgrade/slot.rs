//! Writes a slot's partition, reads it back, checks that a system is in it, and makes it this
//! slot's system.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bramble_card::boot_file::{self, COMMAND_LINE, INITRAMFS, KERNEL, SLOT_WORD, SYSTEM, VERSION};
use bramble_card::fat;
use bramble_card::layout::{SLOT_LEN, Slot};
use bramble_shared::link::UpgradeStage;
use ring::digest::{Context, SHA256};
use rustix::fs::{Advice, fadvise};

use super::image::{ImageStream, ReadImageError};

/// Bytes that may wait in memory for the card: few, so that what pods write does not wait long.
const UNSYNCED_MAX: u64 = 4 << 20;
/// Bytes between two words about progress.
const PROGRESS: u64 = 2 << 20;
/// Longest version, in bytes.
const VERSION_LEN_MAX: usize = 64;

/// Where an upgrade goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Partition of the slot.
    pub(super) device: PathBuf,
    /// The slot.
    pub(super) slot: Slot,
    /// Where the upgrade is recorded.
    pub(super) record: PathBuf,
}

/// Why a slot was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteSlotError {
    /// The stream broke.
    #[error("the image broke off before its end")]
    Torn,
    /// The stream is no image, or the card cannot be written.
    #[error(transparent)]
    Image(#[from] ReadImageError),
    /// The partition cannot be used.
    #[error("could not {what} `{}`", path.display())]
    Device {
        /// What was tried.
        what: &'static str,
        /// The partition.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It has another size than a slot.
    #[error("`{}` has {len} bytes and not {SLOT_LEN}, so it is no slot", path.display())]
    NoSlot {
        /// The partition.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The card does not keep what is written to it.
    #[error("the card gave back other bytes than were written; it may be worn out")]
    ReadBack,
    /// A file that every system has is missing.
    #[error("the image holds no bramble system: {0}")]
    NoSystem(String),
    /// The record.
    #[error("could not write the record `{}`", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl WriteSlotError {
    /// The HTTP status that fits best: whether the file is to blame, or the board.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Image(ReadImageError::Write(_)) => 500,
            Self::Torn | Self::Image(_) | Self::NoSystem(_) => 400,
            Self::Device { .. } | Self::NoSlot { .. } | Self::ReadBack | Self::Record { .. } => 500,
        }
    }
}

/// Writes the slot from the pieces that `next` gives (none at the end), and returns the version
/// of what is in it.
///
/// # Errors
///
/// The slot holds no whole system then.
pub(super) fn write(
    target: &Target,
    mut next: impl FnMut() -> Result<Option<Vec<u8>>, WriteSlotError>,
    tell: impl Fn(UpgradeStage, u64),
) -> Result<String, WriteSlotError> {
    let device = |what| {
        let path = target.device.clone();
        move |source| WriteSlotError::Device { what, path, source }
    };
    let file = open(&target.device).map_err(device("open"))?;
    let len = (&file).seek(SeekFrom::End(0)).map_err(device("measure"))?;
    if len != SLOT_LEN {
        return Err(WriteSlotError::NoSlot { path: target.device.clone(), len });
    }
    (&file).rewind().map_err(device("write"))?;
    let mut image = ImageStream::new(Gentle { file: &file, unsynced: 0 });
    let mut told = 0;
    while let Some(piece) = next()? {
        image.push(&piece)?;
        if image.written() >= told + PROGRESS {
            told = image.written();
            tell(UpgradeStage::Writing, told);
        }
    }
    let sha256 = image.finish()?;
    file.sync_all().map_err(device("write"))?;
    let read = read_back(&file, |bytes| tell(UpgradeStage::Verifying, bytes));
    if read.map_err(device("read"))? != sha256 {
        return Err(WriteSlotError::ReadBack);
    }
    let version = adopt(&file, target.slot)?;
    file.sync_all().map_err(device("write"))?;
    forget(&file);
    check(&file, target.slot)?;
    Ok(version)
}

/// Opens a partition that nobody else uses.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Without O_CREAT this means, for a device: fail if it is mounted.
    options.read(true).write(true).custom_flags(nix::libc::O_EXCL).open(path)
}

/// Lets the page cache forget the file, so that the next read is the card's.
fn forget(file: &File) {
    // A file system that cannot do it gives the cached bytes; nothing is lost by that.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

fn read_back(file: &File, tell: impl Fn(u64)) -> io::Result<[u8; 32]> {
    forget(file);
    let mut file = file;
    file.rewind()?;
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; 256 * 1024];
    let (mut at, mut told) = (0, 0);
    while at < SLOT_LEN {
        let len = file.read(&mut chunk)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        digest.update(chunk.get(..len).unwrap_or_default());
        at += u64::try_from(len).unwrap_or(0);
        if at >= told + PROGRESS {
            told = at;
            tell(at);
        }
    }
    digest.finish().as_ref().try_into().map_err(io::Error::other)
}

/// Checks that a system is there and makes it start as `slot`'s. Returns its version.
fn adopt(file: &File, slot: Slot) -> Result<String, WriteSlotError> {
    let broken = |error: io::Error| WriteSlotError::NoSystem(format!("its files: {error}"));
    let fat = fat::open(file, 0, SLOT_LEN).map_err(broken)?;
    for name in [KERNEL, INITRAMFS, SYSTEM] {
        let len = fat.root_dir().open_file(name).and_then(|mut it| it.seek(SeekFrom::End(0)));
        if !len.is_ok_and(|len| len > 0) {
            return Err(WriteSlotError::NoSystem(format!("it has no `{name}`")));
        }
    }
    let text = |name| -> Result<String, WriteSlotError> {
        let bytes = fat::read(&fat, name).map_err(broken)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let version = boot_file::version(&text(VERSION)?).to_owned();
    if version.is_empty() || version.len() > VERSION_LEN_MAX {
        return Err(WriteSlotError::NoSystem(format!("its `{VERSION}` names no version")));
    }
    let line = command_line(&text(COMMAND_LINE)?, slot).ok_or_else(|| {
        WriteSlotError::NoSystem(format!("its `{COMMAND_LINE}` names no slot once"))
    })?;
    fat::write(&fat, COMMAND_LINE, line.as_bytes()).map_err(broken)?;
    fat.unmount().map_err(broken)?;
    Ok(version)
}

/// Checks that the system on the card starts as `slot`'s.
fn check(file: &File, slot: Slot) -> Result<(), WriteSlotError> {
    let broken = |error: io::Error| WriteSlotError::NoSystem(format!("its files: {error}"));
    let fat = fat::open(file, 0, SLOT_LEN).map_err(broken)?;
    let line = fat::read(&fat, COMMAND_LINE).map_err(broken)?.unwrap_or_default();
    let word = format!("{SLOT_WORD}{slot}");
    if String::from_utf8_lossy(&line).split_ascii_whitespace().any(|each| each == word) {
        Ok(())
    } else {
        Err(WriteSlotError::ReadBack)
    }
}

/// A kernel's command line with the slot's word for `slot`; none unless there is one such word.
fn command_line(line: &str, slot: Slot) -> Option<String> {
    let (before, rest) = line.split_once(SLOT_WORD)?;
    let starts = before.is_empty() || before.ends_with(char::is_whitespace);
    let old = rest.split_ascii_whitespace().next().filter(|_| !rest.starts_with(' '))?;
    Slot::parse(old)?;
    let rest = rest.get(old.len()..)?;
    (starts && !rest.contains(SLOT_WORD)).then(|| format!("{before}{SLOT_WORD}{slot}{rest}"))
}

/// Writes a little at a time, so that nobody else waits for the card for long.
struct Gentle<'a> {
    file: &'a File,
    unsynced: u64,
}

impl Write for Gentle<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = self.file.write(buffer)?;
        self.unsynced += u64::try_from(len).unwrap_or(0);
        if self.unsynced >= UNSYNCED_MAX {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_word_is_replaced_and_nothing_else() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(command_line(line, Slot::B).as_deref(), expected, "{line}");
        };
        check("quiet bramble.slot=a\n", Some("quiet bramble.slot=b\n"));
        check("bramble.slot=b panic=10", Some("bramble.slot=b panic=10"));
        check("quiet", None);
        check("x.bramble.slot=a", None);
        check("bramble.slot=c", None);
        check("bramble.slot= a", None);
        check("bramble.slot=a bramble.slot=a", None);
    }
}
