//! A card's image: partition table, boot partition and slot a, up to where slot b begins.

use std::io::Cursor;

use anyhow::{Context, Result};
use bramble_card::autoboot::Autoboot;
use bramble_card::layout::{BOOT_LABEL, BOOT_LEN, BOOT_START, IMAGE_LEN, SLOT_LEN, Slot};
use bramble_card::partition_table::PartitionTable;
use bramble_card::{boot_file, fat};

use crate::slot::Files;

/// Tells the cards of bramble from others; the flasher gives each card its own.
const SIGNATURE: u32 = 0x6272_6d62;
const BOOT_ID: u32 = 0x6272_6d01;
const SLOT_ID: u32 = 0x6272_6d02;

/// Puts an image together. The same files give the same bytes.
///
/// # Errors
/// A partition is too small for its files.
pub fn image(first_program: (&str, Vec<u8>), slot: &Files) -> Result<Vec<u8>> {
    let mut image = vec![0; usize::try_from(IMAGE_LEN)?];
    let sector = PartitionTable::new_card(SIGNATURE).to_sector();
    image
        .get_mut(..sector.len())
        .context("an image is larger than a sector")?
        .copy_from_slice(&sector);
    let (name, content) = first_program;
    let boot = Files::from([
        (boot_file::AUTOBOOT.to_owned(), Autoboot::starting(Slot::A).text().into_bytes()),
        (name.to_owned(), content),
    ]);
    write_partition(&mut image, BOOT_START, BOOT_LEN, BOOT_LABEL, BOOT_ID, &boot)
        .context("could not write the boot partition")?;
    write_partition(&mut image, Slot::A.start(), SLOT_LEN, Slot::A.label(), SLOT_ID, slot)
        .context("could not write the slot; is there too much in it?")?;
    Ok(image)
}

fn write_partition(
    image: &mut [u8],
    start: u64,
    len: u64,
    label: [u8; 11],
    id: u32,
    files: &Files,
) -> Result<()> {
    fat::format(Cursor::new(&mut *image), start, len, label, id)?;
    let fat = fat::open(Cursor::new(image), start, len)?;
    for (name, content) in files {
        fat::write(&fat, name, content).with_context(|| format!("no room for `{name}`"))?;
    }
    fat.unmount()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(config: &str) -> Files {
        Files::from([
            (boot_file::CONFIG.to_owned(), config.as_bytes().to_vec()),
            (boot_file::KERNEL.to_owned(), vec![b'k'; 100_000]),
        ])
    }

    #[test]
    fn same_files_give_the_same_bytes() {
        let first = image(("bootcode.bin", vec![1; 50_000]), &files("a")).unwrap();
        assert!(first == image(("bootcode.bin", vec![1; 50_000]), &files("a")).unwrap());
        assert!(first != image(("bootcode.bin", vec![1; 50_000]), &files("b")).unwrap());
    }

    #[test]
    fn image_has_what_a_board_reads_first() {
        let mut image = image(("bootcode.bin", vec![1; 50_000]), &files("arm_64bit=1")).unwrap();
        let table = PartitionTable::parse(image[..512].try_into().unwrap()).unwrap();
        assert!(table.is_bramble());
        let read = |image: &mut Vec<u8>, start, len, name: &str| {
            let fat = fat::open(Cursor::new(&mut image[..]), start, len).unwrap();
            fat::read(&fat, name).unwrap().unwrap()
        };
        let autoboot = read(&mut image, BOOT_START, BOOT_LEN, boot_file::AUTOBOOT);
        let autoboot = Autoboot::parse(std::str::from_utf8(&autoboot).unwrap()).unwrap();
        assert_eq!(autoboot, Autoboot::starting(Slot::A));
        let config = read(&mut image, Slot::A.start(), SLOT_LEN, boot_file::CONFIG);
        assert_eq!(config, b"arm_64bit=1");
        // The boot ROM reads FAT16 and FAT32, not FAT12. Both say so at fixed places.
        for start in [BOOT_START, Slot::A.start()] {
            let sector = &image[usize::try_from(start).unwrap()..][..512];
            assert!(&sector[54..62] == b"FAT16   " || &sector[82..90] == b"FAT32   ");
        }
    }

    #[test]
    fn too_much_is_refused_by_name() {
        let slot = Files::from([("big".to_owned(), vec![0; usize::try_from(SLOT_LEN).unwrap()])]);
        let error = image(("bootcode.bin", Vec::new()), &slot).unwrap_err();
        assert!(format!("{error:#}").contains("`big`"), "{error:#}");
    }
}
