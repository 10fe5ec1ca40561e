//! Where things are on a card. An image and every card flashed from it agree on this, so a
//! released number never changes.

use std::fmt;

/// Bytes of a sector: what a card writes as one.
pub const SECTOR_LEN: u64 = 512;
const MIB: u64 = 1 << 20;

/// First byte of the boot partition. 1 MiB, as partitioning tools align.
pub const BOOT_START: u64 = MIB;
/// Bytes of the boot partition: room for the first boot program and a few settings.
pub const BOOT_LEN: u64 = 16 * MIB;
/// Bytes of a slot: kernel, firmware and system take about half of it.
pub const SLOT_LEN: u64 = 128 * MIB;
/// First byte of the data partition.
pub const DATA_START: u64 = BOOT_START + BOOT_LEN + 2 * SLOT_LEN;
/// Smallest card: a data partition with room for a few images.
pub const CARD_LEN_MIN: u64 = 512 * MIB;
/// Bytes of an image file. It ends with slot a: slot b is empty on a new card.
pub const IMAGE_LEN: u64 = BOOT_START + BOOT_LEN + SLOT_LEN;

/// Number of the boot partition, counted from 1 as the firmware does.
pub const BOOT_NUMBER: u8 = 1;
/// Number of the data partition.
pub const DATA_NUMBER: u8 = 4;

/// Volume label of the boot partition.
pub const BOOT_LABEL: [u8; 11] = *b"BRAMBLE    ";
/// Label of the file system on the data partition.
pub const DATA_LABEL: &str = "bramble-data";

/// One of the two systems on a card.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first one, written by the flasher.
    A,
    /// The second one.
    B,
}

impl Slot {
    /// The slot that an upgrade writes while this one runs.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Number of its partition, counted from 1 as the firmware does.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::A => 2,
            Self::B => 3,
        }
    }

    /// The slot with this partition number.
    #[must_use]
    pub fn with_number(number: u8) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|slot| slot.number() == number)
    }

    /// First byte of its partition.
    #[must_use]
    pub fn start(self) -> u64 {
        match self {
            Self::A => BOOT_START + BOOT_LEN,
            Self::B => BOOT_START + BOOT_LEN + SLOT_LEN,
        }
    }

    /// Volume label of its file system.
    #[must_use]
    pub fn label(self) -> [u8; 11] {
        match self {
            Self::A => *b"BRAMBLE-A  ",
            Self::B => *b"BRAMBLE-B  ",
        }
    }

    /// The word by which the kernel's command line names it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_one_another() {
        assert_eq!(Slot::A.start(), BOOT_START + BOOT_LEN);
        assert_eq!(Slot::B.start(), Slot::A.start() + SLOT_LEN);
        assert_eq!(DATA_START, Slot::B.start() + SLOT_LEN);
        assert_eq!(IMAGE_LEN, Slot::B.start());
        for start in [BOOT_START, Slot::A.start(), Slot::B.start(), DATA_START] {
            assert_eq!(start % MIB, 0);
        }
    }

    #[test]
    fn slots_are_found_by_word_and_number() {
        for slot in [Slot::A, Slot::B] {
            assert_eq!(Slot::parse(&slot.to_string()), Some(slot));
            assert_eq!(Slot::with_number(slot.number()), Some(slot));
            assert_eq!(slot.other().other(), slot);
        }
        assert_eq!(Slot::parse("c"), None);
        assert_eq!(Slot::with_number(1), None);
    }
}
