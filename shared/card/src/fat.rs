//! Files on a FAT partition, without a mount.

use std::io::{self, Read, Seek, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::window::Window;

/// A FAT file system within a card or an image. Times are not kept, so that the same files
/// give the same bytes.
pub type Fat<T> = FileSystem<Window<T>>;

/// Opens the file system in bytes `start` to `start + len` of a card.
///
/// # Errors
/// It cannot be read, or holds no FAT file system.
pub fn open<T: Read + Write + Seek>(card: T, start: u64, len: u64) -> io::Result<Fat<T>> {
    FileSystem::new(Window::new(card, start, len), FsOptions::new())
}

/// Makes an empty file system in bytes `start` to `start + len` of a card. What was there before
/// must be zero, or its bytes stay in unused places.
///
/// # Errors
/// It cannot be written.
pub fn format<T: Read + Write + Seek>(
    card: T,
    start: u64,
    len: u64,
    label: [u8; 11],
    id: u32,
) -> io::Result<()> {
    let options = FormatVolumeOptions::new().volume_label(label).volume_id(id);
    fatfs::format_volume(Window::new(card, start, len), options)
}

/// Reads a file; `None` if it is not there. `path` has `/` between folders.
///
/// # Errors
/// The card cannot be read.
pub fn read<T: Read + Write + Seek>(fat: &Fat<T>, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match fat.root_dir().open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Writes a file, with the folders above it, in place of one of that name.
///
/// # Errors
/// The card cannot be written or is full.
pub fn write<T: Read + Write + Seek>(fat: &Fat<T>, path: &str, content: &[u8]) -> io::Result<()> {
    let root = fat.root_dir();
    for (at, _) in path.match_indices('/') {
        root.create_dir(path.get(..at).unwrap_or_default())?;
    }
    let mut file = root.create_file(path)?;
    file.truncate()?;
    file.write_all(content)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const LABEL: [u8; 11] = *b"TEST       ";
    const LEN: u64 = 4 << 20;

    fn card() -> Vec<u8> {
        let mut card = vec![0; 6 << 20];
        format(Cursor::new(&mut card[..]), 1 << 20, LEN, LABEL, 7).unwrap();
        let fat = open(Cursor::new(&mut card[..]), 1 << 20, LEN).unwrap();
        write(&fat, "cluster/ca.crt", b"first, longer").unwrap();
        write(&fat, "cluster/ca.crt", b"second").unwrap();
        write(&fat, "bramble.toml", &[b'x'; 100_000]).unwrap();
        fat.unmount().unwrap();
        card
    }

    #[test]
    fn files_are_read_as_they_were_written() {
        let mut card = card();
        let fat = open(Cursor::new(&mut card[..]), 1 << 20, LEN).unwrap();
        assert_eq!(read(&fat, "cluster/ca.crt").unwrap().unwrap(), b"second");
        assert_eq!(read(&fat, "bramble.toml").unwrap().unwrap().len(), 100_000);
        assert_eq!(read(&fat, "nothing").unwrap(), None);
        assert_eq!(read(&fat, "no/thing").unwrap(), None);
    }

    #[test]
    fn same_files_give_the_same_bytes() {
        assert!(card() == card());
    }
}
