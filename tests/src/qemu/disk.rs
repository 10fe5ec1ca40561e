//! A card of an emulated board: a file that loses unflushed writes when its power is cut, and
//! can be damaged.
//!
//! It does not know QEMU; [`crate::qemu::nbd`] lets QEMU have it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::qemu::write_log::{SECTOR_LEN, WriteLog};
use crate::seed::Seed;

/// A card. Clones are the same card.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    len: u64,
}

/// What has been written to a card, for figures of its wear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// Bytes written.
    pub bytes: u64,
    /// Flushes, and writes that were forced.
    pub flushes: u64,
}

#[derive(Debug)]
struct State {
    file: File,
    log: WriteLog,
    unreadable: Vec<Range<u64>>,
    wear: Wear,
    powered: bool,
    planned: Option<PlannedCut>,
    /// What the last cut has lost, of how much.
    lost: (usize, usize),
}

/// A cut of the power that a write triggers.
#[derive(Debug)]
struct PlannedCut {
    sectors_left: u64,
    seed: Seed,
}

impl State {
    fn cut(&mut self, seed: &mut Seed) -> io::Result<()> {
        if !self.powered {
            return Ok(());
        }
        self.powered = false;
        self.planned = None;
        let unflushed = self.log.unflushed();
        let lost = self.log.cut(seed);
        self.lost = (lost.len(), unflushed);
        for (sector, old) in &lost {
            self.file.write_all_at(old, sector * SECTOR_LEN as u64)?;
        }
        Ok(())
    }
}

impl Disk {
    /// Opens a flashed card's file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("could not open card `{}`", path.display()))?;
        let len = file.metadata()?.len();
        let state = State {
            file,
            log: WriteLog::default(),
            unreadable: Vec::new(),
            wear: Wear::default(),
            powered: true,
            planned: None,
            lost: (0, 0),
        };
        Ok(Self { state: Arc::new(Mutex::new(state)), len })
    }

    /// Bytes of the card.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// `true` if it is no card at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads `buffer` from byte `at`.
    ///
    /// # Errors
    /// It has no power, it ends before, or a byte is unreadable.
    pub fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.lock()?;
        let range = at..self.end_of(at, buffer.len())?;
        if state.unreadable.iter().any(|bad| bad.start < range.end && range.start < bad.end) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        state.file.read_exact_at(buffer, at)
    }

    /// Writes at byte `at`; `forced` data survives a cut at once. A write heals what it covers,
    /// as a card does that has spare blocks.
    ///
    /// # Errors
    /// It has no power, or ends before.
    pub fn write(&self, data: &[u8], at: u64, forced: bool) -> io::Result<()> {
        let mut state = self.lock()?;
        let end = self.end_of(at, data.len())?;
        let sector_len = SECTOR_LEN as u64;
        let (first, last) = (at / sector_len, end.div_ceil(sector_len));
        for sector in first..last {
            let mut old = [0; SECTOR_LEN];
            state.file.read_exact_at(&mut old, sector * sector_len)?;
            state.log.write(sector, old);
        }
        state.file.write_all_at(data, at)?;
        state.unreadable = without(&state.unreadable, &(at..end));
        state.wear.bytes += data.len() as u64;
        if let Some(mut planned) = state.planned.take() {
            let sectors = last - first;
            if planned.sectors_left <= sectors {
                state.cut(&mut planned.seed)?;
                return Err(no_power());
            }
            planned.sectors_left -= sectors;
            state.planned = Some(planned);
        }
        if forced {
            state.log.force(first, last - first);
            state.wear.flushes += 1;
        }
        Ok(())
    }

    /// What was written survives a cut.
    ///
    /// # Errors
    /// It has no power.
    pub fn flush(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        state.log.flush();
        state.wear.flushes += 1;
        Ok(())
    }

    /// Takes its power away: a random part of what was not flushed is lost, and everything
    /// fails until [`Disk::power_on`]. Returns the number of sectors lost and of those unflushed;
    /// those of the planned cut if that came before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&self, seed: &mut Seed) -> io::Result<(usize, usize)> {
        let mut state = self.always();
        state.cut(seed)?;
        Ok(state.lost)
    }

    /// Has the power go in the middle of a write: of the one that these many more bytes lead to.
    pub fn plan_cut(&self, bytes: u64, seed: &mut Seed) {
        let planned = PlannedCut {
            sectors_left: bytes / SECTOR_LEN as u64,
            seed: Seed::new(seed.next_number()),
        };
        self.always().planned = Some(planned);
    }

    /// Whether it has power.
    #[must_use]
    pub fn powered(&self) -> bool {
        self.always().powered
    }

    /// Takes the card out and puts another one of the same size in.
    ///
    /// # Errors
    /// It has power, the file cannot be opened, or has another size.
    pub fn exchange(&self, path: &Path) -> Result<()> {
        let fresh = Self::open(path)?;
        ensure!(fresh.len == self.len, "`{}` has {} bytes", path.display(), fresh.len);
        let mut state = self.always();
        ensure!(!state.powered, "the card has power");
        std::mem::swap(&mut *state, &mut *fresh.always());
        state.powered = false;
        Ok(())
    }

    /// Gives it power.
    pub fn power_on(&self) {
        self.always().powered = true;
    }

    /// Makes bytes unreadable until they are written again.
    pub fn make_unreadable(&self, range: Range<u64>) {
        self.always().unreadable.push(range);
    }

    /// Changes bytes, as a worn cell does: nothing fails, they are other ones.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn flip(&self, range: Range<u64>) -> io::Result<()> {
        let state = self.always();
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
        let mut bytes = vec![0; len];
        state.file.read_exact_at(&mut bytes, range.start)?;
        for byte in &mut bytes {
            *byte ^= 0x55;
        }
        state.file.write_all_at(&bytes, range.start)
    }

    /// What has been written so far.
    #[must_use]
    pub fn wear(&self) -> Wear {
        self.always().wear
    }

    /// The card as a file, for the firmware and for looks from outside.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { disk: self.clone(), at: 0 }
    }

    fn end_of(&self, at: u64, len: usize) -> io::Result<u64> {
        at.checked_add(len as u64)
            .filter(|end| *end <= self.len)
            .ok_or_else(|| io::Error::from_raw_os_error(nix::libc::EINVAL))
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.always();
        if state.powered { Ok(state) } else { Err(no_power()) }
    }

    fn always(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_power() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EIO)
}

/// Ranges without a hole.
fn without(ranges: &[Range<u64>], hole: &Range<u64>) -> Vec<Range<u64>> {
    ranges
        .iter()
        .flat_map(|range| {
            let before = range.start..range.end.min(hole.start);
            let after = range.start.max(hole.end)..range.end;
            [before, after]
        })
        .filter(|range| !range.is_empty())
        .collect()
}

/// A card as something that can be read, written and sought.
#[derive(Debug)]
pub struct Reader {
    disk: Disk,
    at: u64,
}

impl Reader {
    fn room(&self, wanted: usize) -> usize {
        let left = self.disk.len.saturating_sub(self.at);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.room(buffer.len());
        self.disk.read(buffer.get_mut(..len).unwrap_or_default(), self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Reader {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.room(data.len());
        self.disk.write(data.get(..len).unwrap_or_default(), self.at, false)?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.disk.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 64 << 10;

    /// A card of 64 KiB, with its folder that goes when it is dropped.
    struct Card(Disk, std::path::PathBuf);

    impl Card {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("bramble-disk-{name}-{}", std::process::id()));
            std::fs::write(&path, vec![b'o'; LEN.try_into().unwrap()]).unwrap();
            Self(Disk::open(&path).unwrap(), path)
        }
    }

    impl Drop for Card {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.1);
        }
    }

    fn bytes(disk: &Disk, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        disk.read(&mut bytes, at).unwrap();
        bytes
    }

    #[test]
    fn cut_tears_unflushed_writes_at_sectors_and_keeps_flushed_ones() {
        let card = Card::new("tears");
        let disk = &card.0;
        let mut torn = 0;
        for round in 0..40 {
            disk.power_on();
            disk.write(&[b'f'; 4096], 0, false).unwrap();
            disk.flush().unwrap();
            disk.write(&[b'F'; 1024], 4096, true).unwrap();
            disk.write(&[b'o'; 8192], 8192, true).unwrap();
            disk.write(&[b'n'; 8192], 8192, false).unwrap();
            let (lost, unflushed) = disk.cut(&mut Seed::new(round)).unwrap();
            assert_eq!(unflushed, 16);
            assert!(disk.read(&mut [0], 0).is_err());
            disk.power_on();
            assert_eq!(bytes(disk, 0, 4096), [b'f'; 4096]);
            assert_eq!(bytes(disk, 4096, 1024), [b'F'; 1024]);
            let after = bytes(disk, 8192, 8192);
            for sector in after.chunks(SECTOR_LEN) {
                assert!(sector == [b'o'; SECTOR_LEN] || sector == [b'n'; SECTOR_LEN]);
            }
            let old = after.iter().filter(|byte| **byte == b'o').count() / SECTOR_LEN;
            assert_eq!(old, lost);
            torn += usize::from(lost > 0 && lost < unflushed);
        }
        assert!(torn > 10, "only {torn} of 40 writes were torn");
    }

    #[test]
    fn planned_cut_comes_in_the_middle_of_a_write() {
        let card = Card::new("planned");
        let disk = &card.0;
        let mut torn = 0;
        for round in 0..40 {
            disk.power_on();
            disk.write(&[b'o'; 8192], 0, true).unwrap();
            disk.plan_cut(4096 + 1024, &mut Seed::new(round));
            disk.write(&[b'n'; 4096], 0, true).unwrap();
            assert!(disk.powered());
            assert!(disk.write(&[b'n'; 4096], 4096, true).is_err());
            assert!(!disk.powered());
            let (lost, unflushed) = disk.cut(&mut Seed::new(0)).unwrap();
            assert_eq!(unflushed, 8);
            disk.power_on();
            assert_eq!(bytes(disk, 0, 4096), [b'n'; 4096]);
            let after = bytes(disk, 4096, 4096);
            assert_eq!(after.iter().filter(|byte| **byte == b'o').count(), lost * SECTOR_LEN);
            torn += usize::from(lost > 0 && lost < unflushed);
        }
        assert!(torn > 10, "only {torn} of 40 writes were torn");
    }

    #[test]
    fn card_is_exchanged_without_power_only() {
        let (card, other) = (Card::new("taken-out"), Card::new("put-in"));
        other.0.write(b"other", 0, false).unwrap();
        assert!(card.0.exchange(&other.1).is_err());
        card.0.write(&[b'n'; 512], 0, false).unwrap();
        card.0.cut(&mut Seed::new(1)).unwrap();
        card.0.exchange(&other.1).unwrap();
        assert!(card.0.read(&mut [0], 0).is_err());
        card.0.power_on();
        assert_eq!(bytes(&card.0, 0, 5), b"other");
        std::fs::write(&other.1, "short").unwrap();
        card.0.cut(&mut Seed::new(1)).unwrap();
        assert!(card.0.exchange(&other.1).is_err());
    }

    #[test]
    fn damage_is_seen_until_it_is_written_over() {
        let card = Card::new("damage");
        let disk = &card.0;
        disk.make_unreadable(1024..3072);
        let read = |at| disk.read(&mut [0; 512], at).map_err(|error| error.raw_os_error());
        assert_eq!(read(512), Ok(()));
        assert_eq!(read(1024), Err(Some(nix::libc::EIO)));
        disk.write(&[0; 1024], 1536, false).unwrap();
        assert_eq!(
            [read(1024), read(1536), read(2048), read(2560)].map(|r| r.is_ok()),
            [false, true, true, false]
        );
        disk.flip(4096..4098).unwrap();
        assert_eq!(bytes(disk, 4095, 4), [b'o', b'o' ^ 0x55, b'o' ^ 0x55, b'o']);
        assert_eq!(disk.wear(), Wear { bytes: 1024, flushes: 0 });
    }

    #[test]
    fn nothing_beyond_the_end_is_touched() {
        let card = Card::new("end");
        assert!(card.0.write(&[0; 512], LEN - 511, false).is_err());
        assert!(card.0.read(&mut [0; 512], u64::MAX).is_err());
        let mut reader = card.0.reader();
        reader.seek(SeekFrom::End(-2)).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"oo");
    }
}
