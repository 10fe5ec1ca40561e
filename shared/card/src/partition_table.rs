//! The partition table in a card's first sector (MBR: the Pi's boot ROM reads nothing else on
//! every model).

#![expect(clippy::indexing_slicing, reason = "every index is a constant within a sector")]

use crate::layout::{self, SECTOR_LEN, Slot};

/// Type of a FAT32 partition with LBA.
pub const TYPE_FAT: u8 = 0x0c;
/// Type of a Linux partition.
pub const TYPE_LINUX: u8 = 0x83;

const SIGNATURE_AT: usize = 440;
const ENTRIES_AT: usize = 446;
const ENTRY_LEN: usize = 16;
const MAGIC_AT: usize = 510;
const MAGIC: [u8; 2] = [0x55, 0xaa];

/// The first sector of a card.
pub type Sector = [u8; 512];

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Type byte.
    pub kind: u8,
    /// First byte on the card; a multiple of a sector.
    pub start: u64,
    /// Bytes; a multiple of a sector.
    pub len: u64,
}

/// The four partitions of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// Tells cards apart.
    pub signature: u32,
    /// Partitions 1 to 4.
    pub partitions: [Option<Partition>; 4],
}

/// Why a sector is no partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTableError {
    /// The mark at its end is missing.
    #[error("there is no partition table in the first sector")]
    NoTable,
}

impl PartitionTable {
    /// The table of a new card: boot partition and two slots, no data partition yet.
    #[must_use]
    pub fn new_card(signature: u32) -> Self {
        let fat = |start, len| Some(Partition { kind: TYPE_FAT, start, len });
        Self {
            signature,
            partitions: [
                fat(layout::BOOT_START, layout::BOOT_LEN),
                fat(Slot::A.start(), layout::SLOT_LEN),
                fat(Slot::B.start(), layout::SLOT_LEN),
                None,
            ],
        }
    }

    /// The data partition of a card of this size: from the slots to its end.
    #[must_use]
    pub fn data_partition(card_len: u64) -> Option<Partition> {
        // A data partition's end is aligned like its start.
        let len = card_len.checked_sub(layout::DATA_START)? >> 20 << 20;
        (len > 0).then_some(Partition { kind: TYPE_LINUX, start: layout::DATA_START, len })
    }

    /// Tells whether boot partition and slots are where this bramble puts them.
    #[must_use]
    pub fn is_bramble(&self) -> bool {
        self.partitions[..3] == Self::new_card(self.signature).partitions[..3]
    }

    /// Reads a sector.
    ///
    /// # Errors
    /// It is no partition table.
    pub fn parse(sector: &Sector) -> Result<Self, ParseTableError> {
        if sector[MAGIC_AT..] != MAGIC {
            return Err(ParseTableError::NoTable);
        }
        let partitions = std::array::from_fn(|index| {
            let entry = &sector[ENTRIES_AT + index * ENTRY_LEN..][..ENTRY_LEN];
            let (kind, len) = (entry[4], number(&entry[12..]));
            (kind != 0 && len != 0).then(|| Partition {
                kind,
                start: u64::from(number(&entry[8..])) * SECTOR_LEN,
                len: u64::from(len) * SECTOR_LEN,
            })
        });
        Ok(Self { signature: number(&sector[SIGNATURE_AT..]), partitions })
    }

    /// The sector. What is in it besides (nothing, on a card of ours) is zero.
    #[must_use]
    pub fn to_sector(&self) -> Sector {
        let mut sector = [0; 512];
        sector[SIGNATURE_AT..][..4].copy_from_slice(&self.signature.to_le_bytes());
        for (index, partition) in self.partitions.iter().enumerate() {
            let Some(partition) = partition else { continue };
            let entry = &mut sector[ENTRIES_AT + index * ENTRY_LEN..][..ENTRY_LEN];
            // Addresses by cylinder are not used: the value that says so.
            entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
            entry[4] = partition.kind;
            entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
            entry[8..12].copy_from_slice(&sectors(partition.start).to_le_bytes());
            entry[12..].copy_from_slice(&sectors(partition.len).to_le_bytes());
        }
        sector[MAGIC_AT..].copy_from_slice(&MAGIC);
        sector
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Cards above 2 TiB do not exist; a table of this kind could not describe them.
fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR_LEN).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_read_as_it_was_written() {
        let mut table = PartitionTable::new_card(0x1234_5678);
        assert!(table.is_bramble());
        assert_eq!(PartitionTable::parse(&table.to_sector()), Ok(table));
        table.partitions[3] = PartitionTable::data_partition(2 << 30);
        assert_eq!(PartitionTable::parse(&table.to_sector()), Ok(table));
        assert!(table.is_bramble());
    }

    #[test]
    fn data_partition_ends_within_the_card() {
        for card_len in [layout::CARD_LEN_MIN, (2 << 30) + 12_345, 31_914_983_424] {
            let data = PartitionTable::data_partition(card_len).unwrap();
            assert!(data.start + data.len <= card_len);
            assert!(data.start + data.len + (2 << 20) > card_len);
        }
        assert_eq!(PartitionTable::data_partition(layout::DATA_START), None);
        assert_eq!(PartitionTable::data_partition(1), None);
    }

    #[test]
    fn empty_sector_is_no_table() {
        assert_eq!(PartitionTable::parse(&[0; 512]), Err(ParseTableError::NoTable));
    }
}
