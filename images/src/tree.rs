//! A tree of files in memory, from which file systems are made.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder, for everyone to read.
    Folder,
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// What is in it.
        content: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
    /// A device of characters, for root.
    Device {
        /// Its two numbers.
        number: (u32, u32),
    },
}

/// Files, folders and links in the order of their paths: folders come before what is in them.
/// Everything belongs to root; times are not kept.
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
        let mut folder = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(part);
            self.entries.entry(folder.clone()).or_insert(Entry::Folder);
        }
    }

    /// Adds a file (and the folders above it) with these permission bits.
    pub fn add_file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.add(path, Entry::File { mode, content: content.into() });
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link { target: target.to_owned() });
    }

    /// Adds a device of characters. Only an archive can hold one: making one takes root.
    pub fn add_device(&mut self, path: &str, number: (u32, u32)) {
        self.add(path, Entry::Device { number });
    }

    /// Adds a file of this machine. Links are followed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add_copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let failed = || format!("could not read `{}`", from.display());
        let mode = fs::metadata(from).with_context(failed)?.permissions().mode() & 0o7777;
        self.add_file(path, mode, fs::read(from).with_context(failed)?);
        Ok(())
    }

    /// All entries with their paths, which do not begin with `/`.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Writes everything into an existing folder of this machine. Who owns it there is who wrote
    /// it.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn write_into(&self, folder: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let path = folder.join(path);
            let failed = || format!("could not write `{}`", path.display());
            match entry {
                Entry::Folder => {
                    fs::create_dir(&path).with_context(failed)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
                Entry::File { mode, content } => {
                    fs::write(&path, content).with_context(failed)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
                }
                Entry::Link { target } => symlink(target, &path).with_context(failed)?,
                Entry::Device { .. } => bail!("{}: it is a device", failed()),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.add_folder(folder);
        }
        self.entries.insert(path.to_owned(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        tree.add_file("/usr/lib/a/b", 0o644, "x");
        tree.add_folder("usr//lib/");
        let paths: Vec<_> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(paths, ["usr", "usr/lib", "usr/lib/a", "usr/lib/a/b"]);
    }
}
