//! The data partition: made at the first boot, checked at every other, mounted.
//!
//! ```text
//!  entry in the table?  --no-->  probe the card's size, make the file system, sync, then write the
//!        |yes                          entry (one sector)        |
//!        v                                                       v
//!      check  ----------------------------------------------> mount
//! ```
//!
//! The entry is written last, so a power cut before it leaves a card as new, and one after it a
//! card with a whole file system. Nothing is ever made where an entry is.

mod check;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bramble_card::layout::{CARD_LEN_MIN, DATA_LABEL, DATA_NUMBER, DATA_START};
use bramble_card::partition_table::{Partition, PartitionTable};
use bramble_card::real_size::{ProbeSizeError, probe_size};
use bramble_runtime::partition_device;

use self::check::check;
use crate::card_disk::CardDisk;
use crate::messages::say;
use crate::paths::DATA;
use crate::step::StepError;
use crate::{mounts, program};

/// Makes the partition if there is none, checks and mounts it.
///
/// # Errors
/// The card is too small, or the file system cannot be made or mounted.
pub(crate) fn prepare(card: &CardDisk) -> Result<(), StepError> {
    let device = card.partition(DATA_NUMBER);
    match plan(&card.table, card.len().unwrap_or(0)) {
        DataPlan::Use => check(&device)?,
        DataPlan::Make(partition) => {
            let probed = probe(card, partition).map_err(io::Error::other);
            probed.map_err(StepError::of("trust the card"))?;
            make(card, partition, &device)?;
            say(&format!("data partition made, {} MiB", partition.len >> 20));
        }
        DataPlan::CardTooSmall => {
            let least = CARD_LEN_MIN >> 20;
            let error = io::Error::other(format!("the card has less than {least} MiB"));
            return Err(StepError::of::<io::Error>("make the data partition")(error));
        }
    }
    mounts::data(&device, Path::new(DATA))
}

/// What to do with the data partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataPlan {
    /// It is there.
    Use,
    /// It must be made here.
    Make(Partition),
    /// There is no room for one.
    CardTooSmall,
}

fn plan(table: &PartitionTable, card_len: u64) -> DataPlan {
    let [_, _, _, data] = table.partitions;
    if data.is_some() {
        return DataPlan::Use;
    }
    match PartitionTable::data_partition(card_len) {
        Some(partition) if card_len >= CARD_LEN_MIN => DataPlan::Make(partition),
        Some(_) | None => DataPlan::CardTooSmall,
    }
}

/// Tells a card that claims more memory than it has before anything is made on it: what is written
/// beyond its end would be found missing some day, as a broken file system.
fn probe(card: &CardDisk, partition: Partition) -> Result<(), ProbeSizeError> {
    let mut options = OpenOptions::new();
    let fails = |source| ProbeSizeError::Fails { at: DATA_START, source };
    let mut disk = options.read(true).write(true).open(card.device()).map_err(fails)?;
    // The first boot happens once, and a card's signature is random.
    let nonce = u64::from(card.table.signature) ^ partition.len;
    probe_size(&mut disk, partition.start, partition.start + partition.len, nonce, |disk| {
        disk.sync_all()?;
        rustix::fs::fadvise(&*disk, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    })
}

fn make(card: &CardDisk, partition: Partition, device: &Path) -> Result<(), StepError> {
    let disk = card.device();
    partition_device::add(&disk, DATA_NUMBER, partition.start, partition.len)
        .map_err(StepError::of(format!("add the data partition of {}", disk.display())))?;
    program::run("/usr/sbin/mke2fs", &make_arguments(partition.len, &device.to_string_lossy()))
        .map_err(StepError::of("make the data partition's file system"))?;
    // Through the device, which also empties what the card itself holds back.
    File::open(device)
        .and_then(|device| device.sync_all())
        .map_err(StepError::of("bring the new file system onto the card"))?;
    let [boot, slot_a, slot_b, _] = card.table.partitions;
    let table =
        PartitionTable { partitions: [boot, slot_a, slot_b, Some(partition)], ..card.table };
    write_table(&disk, &table).map_err(StepError::of("write the partition table"))
}

fn write_table(disk: &Path, table: &PartitionTable) -> io::Result<()> {
    let mut disk = OpenOptions::new().write(true).custom_flags(nix::libc::O_SYNC).open(disk)?;
    disk.write_all(&table.to_sector())?;
    disk.sync_all()
}

/// Above this size in bytes a card has room for half as many inodes a GiB: 30 images of 20,000
/// files each on 32 GiB.
const LARGE_LEN: u64 = 8 << 30;

fn make_arguments(len: u64, device: &str) -> Vec<&str> {
    let bytes_per_inode = if len > LARGE_LEN { "32768" } else { "16384" };
    vec![
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        DATA_LABEL,
        // Root needs no reserve where everybody is root.
        "-m",
        "1",
        "-i",
        bytes_per_inode,
        // What is not used is not written, now or later, and a card of any size takes seconds.
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
        device,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_made_again() {
        let mut table = PartitionTable::new_card(1);
        let card_len = 1 << 30;
        let DataPlan::Make(partition) = plan(&table, card_len) else { panic!("not made") };
        assert!(partition.start + partition.len <= card_len);
        table.partitions[3] = Some(Partition { kind: 7, start: 512, len: 512 });
        assert_eq!(plan(&table, card_len), DataPlan::Use);
        table.partitions[3] = None;
        assert_eq!(plan(&table, CARD_LEN_MIN - 1), DataPlan::CardTooSmall);
        assert_eq!(plan(&table, 0), DataPlan::CardTooSmall);
    }

    #[test]
    fn a_file_system_is_made_and_needs_no_check() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        let path = file.path().to_string_lossy().into_owned();
        let tool = ["/usr/sbin/mke2fs", "/sbin/mke2fs"];
        let Some(tool) = tool.into_iter().find(|tool| Path::new(tool).exists()) else { return };
        program::run(tool, &make_arguments(64 << 20, &path)).unwrap();
        program::run("e2fsck", &["-f", "-n", &path]).unwrap();
    }
}
