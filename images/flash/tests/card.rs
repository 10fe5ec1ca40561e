//! Whole cards: written from a small image, read back, and what happens when something fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bramble_card::layout::{self, Slot};
use bramble_card::partition_table::PartitionTable;
use bramble_card::{boot_file, fat};
use bramble_flash::image::{Content, Image, OpenImageError, go_on};
use bramble_flash::target::Target;
use bramble_flash::write::{Medium, Phase, WriteCardError, write_card};
use flate2::Compression;
use flate2::write::GzEncoder;

const CARD_LEN: u64 = layout::CARD_LEN_MIN;

/// An image as the builder lays it out, but with one small file in its slot.
fn image(folder: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut card = vec![0; usize::try_from(layout::IMAGE_LEN).unwrap()];
    card[..512].copy_from_slice(&PartitionTable::new_card(1).to_sector());
    let places = [
        (layout::BOOT_START, layout::BOOT_LEN, layout::BOOT_LABEL, boot_file::AUTOBOOT),
        (Slot::A.start(), layout::SLOT_LEN, Slot::A.label(), boot_file::VERSION),
    ];
    for (start, len, label, file) in places {
        fat::format(Cursor::new(&mut card[..]), start, len, label, 7).unwrap();
        let fat = fat::open(Cursor::new(&mut card[..]), start, len).unwrap();
        fat::write(&fat, file, b"0.0.0").unwrap();
        fat.unmount().unwrap();
    }
    change(&mut card);
    let path = folder.join("image.gz");
    let mut gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    gzip.write_all(&card).unwrap();
    gzip.finish().unwrap();
    path
}

fn content() -> Content {
    Content {
        settings: "node = 'pi-1'".to_owned(),
        cluster: vec![("cluster-id".to_owned(), b"bramble-0001".to_vec())],
        signature: 0xdead_beef,
    }
}

/// A card in memory. Loses writes to one byte, as dying cards do, if told so.
struct Memory {
    bytes: Cursor<Vec<u8>>,
    dead_byte: Option<usize>,
    /// Bytes that it really has, as fake cards do.
    real_len: Option<u64>,
    syncs: usize,
}

impl Memory {
    fn full_of(byte: u8) -> Self {
        let bytes = Cursor::new(vec![byte; usize::try_from(CARD_LEN).unwrap()]);
        Self { bytes, dead_byte: None, real_len: None, syncs: 0 }
    }

    fn table(&self) -> Option<PartitionTable> {
        PartitionTable::parse(self.bytes.get_ref().first_chunk().unwrap()).ok()
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Write for Memory {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.real_len.is_some_and(|real| self.bytes.position() >= real) {
            self.bytes.seek(SeekFrom::Current(i64::try_from(buffer.len()).unwrap()))?;
            return Ok(buffer.len());
        }
        let len = self.bytes.write(buffer)?;
        if let Some(dead) = self.dead_byte {
            self.bytes.get_mut()[dead] = 0xa5;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

impl Medium for Memory {
    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn blank(&self) -> bool {
        false
    }
}

#[test]
fn used_card_becomes_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&image(folder.path(), |_| {}), &mut go_on).unwrap();
    let mut card = Memory::full_of(0xff);
    let mut phases = Vec::new();
    write_card(&mut card, CARD_LEN, &image, &content(), &mut |phase, done, total| {
        assert!(done <= total);
        phases.push((phase, done == total));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(phases.contains(&(Phase::Write, true)));
    assert_eq!(phases.last(), Some(&(Phase::Verify, true)));
    assert!(card.syncs > 30, "a slow card must not be silent until one sync at the end");
    let table = card.table().unwrap();
    assert!(table.is_bramble());
    assert_eq!((table.signature, table.partitions[3]), (0xdead_beef, None));
    let mut bytes = card.bytes.into_inner();
    for start in [Slot::B.start(), layout::DATA_START, CARD_LEN - (1 << 20)] {
        let start = usize::try_from(start).unwrap();
        assert!(bytes[start..start + (1 << 20)].iter().all(|&byte| byte == 0), "{start}");
    }
    let open = |bytes: &mut Vec<u8>, start, len, file: &str| {
        let fat = fat::open(Cursor::new(&mut bytes[..]), start, len).unwrap();
        fat::read(&fat, file).unwrap().unwrap()
    };
    let boot =
        |bytes: &mut Vec<u8>, file: &str| open(bytes, layout::BOOT_START, layout::BOOT_LEN, file);
    assert_eq!(boot(&mut bytes, "bramble.toml"), b"node = 'pi-1'");
    assert_eq!(boot(&mut bytes, "cluster/cluster-id"), b"bramble-0001");
    assert_eq!(boot(&mut bytes, "autoboot.txt"), b"0.0.0");
    assert_eq!(open(&mut bytes, Slot::A.start(), layout::SLOT_LEN, "version.txt"), b"0.0.0");
}

#[test]
fn fake_card_is_refused_before_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&image(folder.path(), |_| {}), &mut go_on).unwrap();
    let mut card = Memory::full_of(0x77);
    card.real_len = Some(CARD_LEN / 2);
    let mut phases = 0;
    let error = write_card(&mut card, CARD_LEN, &image, &content(), &mut |_, _, _| {
        phases += 1;
        ControlFlow::Continue(())
    });
    let error = error.unwrap_err();
    assert!(matches!(error, WriteCardError::Size(_)), "{error}");
    assert!(error.to_string().contains("fake"));
    assert_eq!(phases, 0);
    assert!(card.bytes.get_ref().iter().all(|&byte| byte == 0x77), "it is as it was");
}

#[test]
fn dying_card_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&image(folder.path(), |_| {}), &mut go_on).unwrap();
    for dead in [600, 3 << 20, usize::try_from(Slot::A.start()).unwrap() + 99] {
        let mut card = Memory::full_of(0);
        card.dead_byte = Some(dead);
        let error = write_card(&mut card, CARD_LEN, &image, &content(), &mut go_on).unwrap_err();
        assert!(matches!(error, WriteCardError::Different { at } if at == dead as u64), "{error}");
    }
}

#[test]
fn interrupted_card_has_no_partition_table() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&image(folder.path(), |_| {}), &mut go_on).unwrap();
    for stop_at in [1, 50 << 20, layout::IMAGE_LEN] {
        let mut card = Memory::full_of(0);
        card.bytes.write_all(&PartitionTable::new_card(5).to_sector()).unwrap();
        let mut stop = |phase, done, _| match (phase, done >= stop_at) {
            (Phase::Write, true) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let error = write_card(&mut card, CARD_LEN, &image, &content(), &mut stop).unwrap_err();
        assert!(matches!(error, WriteCardError::Stopped));
        assert_eq!(card.table(), None);
    }
}

#[test]
fn file_is_sparse_and_as_large_as_asked() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&image(folder.path(), |_| {}), &mut go_on).unwrap();
    let path = folder.path().join("pi-1.img");
    let mut target = Target::file(&path, 1 << 30).unwrap();
    write_card(&mut target, 1 << 30, &image, &content(), &mut go_on).unwrap();
    target.finish().unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 1 << 30);
    assert!(metadata.blocks() * 512 < 64 << 20, "{} blocks", metadata.blocks());
}

#[test]
fn images_that_cannot_be_used_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| Image::open(path, &mut go_on).unwrap_err();
    let missing = open(&folder.path().join("none"));
    assert!(matches!(missing, OpenImageError::Open { .. }));
    let good = image(folder.path(), |_| {});
    let bytes = fs::read(&good).unwrap();
    let cut = folder.path().join("cut.gz");
    fs::write(&cut, &bytes[..bytes.len() - 20]).unwrap();
    assert!(matches!(open(&cut), OpenImageError::Damaged { .. }));
    let mut flipped = bytes;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&cut, &flipped).unwrap();
    assert!(matches!(open(&cut), OpenImageError::Damaged { .. } | OpenImageError::Foreign { .. }));
    fs::write(&cut, vec![0; 20 << 20]).unwrap();
    let foreign = |path: &Path, what: &str| {
        let error = open(path).to_string();
        assert!(error.contains(what), "{error}");
    };
    foreign(&cut, "no partition table");
    fs::write(&cut, b"hello").unwrap();
    foreign(&cut, "too short");
    foreign(&image(folder.path(), |card| card.truncate(100 << 20)), "it has 104857600 bytes");
    let used = image(folder.path(), |card| {
        let mut table = PartitionTable::new_card(1);
        table.partitions[3] = PartitionTable::data_partition(CARD_LEN);
        card[..512].copy_from_slice(&table.to_sector());
    });
    foreign(&used, "data partition");
    let stopped = Image::open(&image(folder.path(), |_| {}), &mut |_, _, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(OpenImageError::Stopped)));
}
