//! Finds the card among the disks of a board.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bramble_card::partition_table::{PartitionTable, Sector};

/// The card that the board was started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CardDisk {
    /// Name of the disk, such as `mmcblk0`.
    pub(crate) name: String,
    /// Its partition table when it was looked at.
    pub(crate) table: PartitionTable,
}

impl CardDisk {
    /// Looks at all disks once; the first by name that is a bramble card is it.
    pub(crate) fn find() -> Option<Self> {
        let mut names: Vec<String> = fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| may_be_card(name))
            .collect();
        names.sort_unstable();
        names.into_iter().find_map(|name| {
            let table = read_table(&Path::new("/dev").join(&name))?;
            table.is_bramble().then_some(Self { name, table })
        })
    }

    /// The disk's device.
    pub(crate) fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The device of one of its partitions, counted from 1.
    pub(crate) fn partition(&self, number: u8) -> PathBuf {
        Path::new("/dev").join(partition_name(&self.name, number))
    }

    /// Bytes of the disk.
    pub(crate) fn len(&self) -> Option<u64> {
        let sectors = fs::read_to_string(Path::new("/sys/block").join(&self.name).join("size"));
        // The kernel counts sectors of 512 bytes here, whatever the disk's are.
        Some(sectors.ok()?.trim().parse::<u64>().ok()? * 512)
    }
}

/// Tells disks from what is made of files, memory or other disks.
fn may_be_card(name: &str) -> bool {
    let prefixes = ["loop", "ram", "zram", "dm-", "md", "nbd", "sr", "mtdblock"];
    let hidden = name.contains("boot") || name.contains("rpmb");
    !hidden && !prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Name of a partition: with a `p` in between if the disk's name ends with a digit.
fn partition_name(disk: &str, number: u8) -> String {
    let between = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{between}{number}")
}

fn read_table(device: &Path) -> Option<PartitionTable> {
    let mut sector: Sector = [0; 512];
    File::open(device).ok()?.read_exact(&mut sector).ok()?;
    PartitionTable::parse(&sector).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_kernel_does() {
        assert_eq!(partition_name("mmcblk0", 2), "mmcblk0p2");
        assert_eq!(partition_name("vda", 4), "vda4");
        assert_eq!(partition_name("sda", 1), "sda1");
        assert_eq!(partition_name("nvme0n1", 3), "nvme0n1p3");
    }

    #[test]
    fn only_disks_are_looked_at() {
        for name in ["mmcblk0", "vda", "sda", "nvme0n1"] {
            assert!(may_be_card(name), "{name}");
        }
        for name in ["loop0", "ram1", "mmcblk0boot0", "mmcblk0rpmb", "zram0", "dm-0"] {
            assert!(!may_be_card(name), "{name}");
        }
    }
}
