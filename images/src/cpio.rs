//! Archives in cpio's `newc` format, as the kernel unpacks them at boot.
//!
//! Times are zero and inode numbers count up, so that the same tree gives the same bytes.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::tree::{Entry, Tree};

/// Numbers of what is no device.
const NO_DEVICE: (u32, u32) = (0, 0);

/// The archive of a tree.
///
/// # Errors
/// A file is larger than the format's 4 GiB.
pub fn archive(tree: &Tree) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (index, (path, entry)) in tree.entries().enumerate() {
        let (mode, device, content) = match entry {
            Entry::Folder => (0o040_755, NO_DEVICE, [].as_slice()),
            Entry::File { mode, content } => (0o100_000 | mode, NO_DEVICE, content.as_slice()),
            Entry::Link { target } => (0o120_777, NO_DEVICE, target.as_bytes()),
            Entry::Device { number } => (0o020_600, *number, [].as_slice()),
        };
        append(&mut archive, index + 1, mode, device, path, content)?;
    }
    append(&mut archive, 0, 0, NO_DEVICE, "TRAILER!!!", &[])?;
    Ok(archive)
}

fn append(
    archive: &mut Vec<u8>,
    inode: usize,
    mode: u32,
    device: (u32, u32),
    path: &str,
    content: &[u8],
) -> Result<()> {
    let size = u32::try_from(content.len()).with_context(|| format!("`{path}` is too large"))?;
    let mut header = String::from("070701");
    let fields = [
        u32::try_from(inode)?,
        mode,
        0, // user
        0, // group
        1, // links
        0, // time
        size,
        0, // device, two numbers
        0,
        device.0, // of a node
        device.1,
        u32::try_from(path.len() + 1)?,
        0, // checksum, unused
    ];
    for field in fields {
        write!(header, "{field:08x}")?;
    }
    archive.extend(header.as_bytes());
    archive.extend(path.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_tree_gives_same_bytes_in_any_order() {
        let mut first = Tree::new();
        first.add_file("a", 0o644, "1");
        first.add_link("b", "a");
        let mut second = Tree::new();
        second.add_link("b", "a");
        second.add_file("a", 0o644, "1");
        assert_eq!(archive(&first).unwrap(), archive(&second).unwrap());
    }

    #[test]
    fn archive_is_padded_and_has_a_trailer() {
        let mut tree = Tree::new();
        tree.add_file("folder/file", 0o755, "content");
        tree.add_link("link", "folder/file");
        let archive = archive(&tree).unwrap();
        assert!(archive.starts_with(b"070701"));
        assert_eq!(archive.len() % 4, 0);
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("TRAILER!!!") && text.contains("content"));
    }
}
