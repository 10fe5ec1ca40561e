//! Archives in cpio's `newc` format, as the kernel unpacks them at boot.
//!
//! Times are zero and inode numbers count up, so that the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// A tree of files in memory, in the order of their paths: folders come before what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder and all above it.
    pub fn add_folder(&mut self, path: &str) {
        let mut end = 0;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            end = path.get(end..).and_then(|rest| rest.find(part)).unwrap_or_default()
                + end
                + part.len();
            let folder = path.get(..end).unwrap_or_default().trim_start_matches('/');
            self.entries.entry(folder.to_owned()).or_insert(Entry::Folder);
        }
    }

    /// Adds a file (and the folders above it) with these permission bits.
    pub fn add_file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.add_parents(path);
        let entry = Entry::File { mode, content: content.into() };
        self.entries.insert(path.trim_start_matches('/').to_owned(), entry);
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, path: &str, target: &str) {
        self.add_parents(path);
        let entry = Entry::Link { target: target.to_owned() };
        self.entries.insert(path.trim_start_matches('/').to_owned(), entry);
    }

    /// Adds a file of this machine.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add_copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let failed = || format!("could not read `{}`", from.display());
        let mode = fs::metadata(from).with_context(failed)?.permissions().mode() & 0o7777;
        self.add_file(path, mode, fs::read(from).with_context(failed)?);
        Ok(())
    }

    /// Adds everything below a folder of this machine; links stay links.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn add_copy_of_folder(&mut self, path: &str, from: &Path) -> Result<()> {
        let entries =
            fs::read_dir(from).with_context(|| format!("could not list `{}`", from.display()))?;
        for entry in entries {
            let entry = entry?;
            let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.add_link(&inside, &fs::read_link(entry.path())?.to_string_lossy());
            } else if kind.is_dir() {
                self.add_folder(&inside);
                self.add_copy_of_folder(&inside, &entry.path())?;
            } else {
                self.add_copy(&inside, &entry.path())?;
            }
        }
        Ok(())
    }

    /// The archive.
    ///
    /// # Errors
    /// A file is larger than the format's 4 GiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (inode, (path, entry)) in self.entries.iter().enumerate() {
            let (mode, content) = match entry {
                Entry::Folder => (0o040_755, [].as_slice()),
                Entry::File { mode, content } => (0o100_000 | mode, content.as_slice()),
                Entry::Link { target } => (0o120_777, target.as_bytes()),
            };
            append(&mut archive, inode + 1, mode, path, content)?;
        }
        append(&mut archive, 0, 0, "TRAILER!!!", &[])?;
        Ok(archive)
    }

    fn add_parents(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.add_folder(folder);
        }
    }
}

fn append(
    archive: &mut Vec<u8>,
    inode: usize,
    mode: u32,
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
        0, // device of a node, two numbers
        0,
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
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        tree.add_file("/usr/lib/a/b", 0o644, "x");
        let paths: Vec<_> = tree.entries.keys().collect();
        assert_eq!(paths, ["usr", "usr/lib", "usr/lib/a", "usr/lib/a/b"]);
    }

    #[test]
    fn same_tree_gives_same_bytes_in_any_order() {
        let mut first = Tree::new();
        first.add_file("a", 0o644, "1");
        first.add_link("b", "a");
        let mut second = Tree::new();
        second.add_link("b", "a");
        second.add_file("a", 0o644, "1");
        assert_eq!(first.to_bytes().unwrap(), second.to_bytes().unwrap());
    }

    #[test]
    fn archive_is_padded_and_has_a_trailer() {
        let mut tree = Tree::new();
        tree.add_file("folder/file", 0o755, "content");
        tree.add_link("link", "folder/file");
        let archive = tree.to_bytes().unwrap();
        assert!(archive.starts_with(b"070701"));
        assert_eq!(archive.len() % 4, 0);
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("TRAILER!!!") && text.contains("content"));
    }
}
