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

/// Which of a board's bramble cards it runs from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This one; the others, by name, are left alone.
    Card { card: CardDisk, others: Vec<String> },
    /// It is not there, or not yet.
    Missing,
    /// It cannot be told which of these it is.
    Ambiguous(Vec<String>),
}

impl CardDisk {
    /// Looks at all disks once, for the card that the firmware has started the board from. `wanted`
    /// is its signature, if the firmware told it.
    pub(crate) fn find(wanted: Option<u32>) -> Choice {
        let mut names: Vec<String> = fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| may_be_card(name))
            .collect();
        names.sort_unstable();
        let cards = names.into_iter().filter_map(|name| {
            let table = read_table(&Path::new("/dev").join(&name))?;
            table.is_bramble().then_some(Self { name, table })
        });
        choose(cards.collect(), wanted)
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

/// Tells the card that the board was started from among all that it has. Without a word of the
/// firmware only a single card is believed to be it: an old card that was left beside a new disk
/// must not give the board its name, nor be written to.
fn choose(cards: Vec<CardDisk>, wanted: Option<u32>) -> Choice {
    let (mut fitting, others): (Vec<_>, Vec<_>) = cards
        .into_iter()
        .partition(|card| wanted.is_none_or(|signature| card.table.signature == signature));
    let names = |cards: Vec<CardDisk>| cards.into_iter().map(|card| card.name).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (None, _) => Choice::Missing,
        (Some(card), true) => Choice::Card { card, others: names(others) },
        (Some(last), false) => {
            fitting.push(last);
            Choice::Ambiguous(names(fitting))
        }
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

    fn card(name: &str, signature: u32) -> CardDisk {
        CardDisk { name: name.to_owned(), table: PartitionTable::new_card(signature) }
    }

    #[test]
    fn card_is_the_one_that_the_firmware_started_from() {
        let both = || vec![card("mmcblk0", 1), card("sda", 2)];
        let check = |cards, wanted, expected| assert_eq!(choose(cards, wanted), expected);
        let chosen = |name, signature, others: &[&str]| Choice::Card {
            card: card(name, signature),
            others: others.iter().copied().map(str::to_owned).collect(),
        };
        check(both(), Some(2), chosen("sda", 2, &["mmcblk0"]));
        check(both(), Some(1), chosen("mmcblk0", 1, &["sda"]));
        check(both(), Some(3), Choice::Missing);
        check(vec![card("sda", 2)], Some(1), Choice::Missing);
        check(Vec::new(), None, Choice::Missing);
    }

    #[test]
    fn several_cards_of_which_none_is_named_are_not_guessed_at() {
        let names = |names: &[&str]| names.iter().copied().map(str::to_owned).collect();
        let two = vec![card("mmcblk0", 1), card("sda", 2)];
        assert_eq!(choose(two, None), Choice::Ambiguous(names(&["mmcblk0", "sda"])));
        // A card that was copied whole.
        let copies = vec![card("mmcblk0", 1), card("nvme0n1", 2), card("sda", 1)];
        assert_eq!(choose(copies, Some(1)), Choice::Ambiguous(names(&["mmcblk0", "sda"])));
        let one = Choice::Card { card: card("sda", 2), others: Vec::new() };
        assert_eq!(choose(vec![card("sda", 2)], None), one);
    }

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
