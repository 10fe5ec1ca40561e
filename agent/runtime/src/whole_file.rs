//! Small files of which a reader never sees a part, even when the plug is pulled.
//!
//! The new content is written beside the old one and takes its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file with these permissions in place of one of that name, never synced: for files
/// that end with the boot.
///
/// Its folder must be there: that of a container or pod which is gone must not come back.
///
/// # Errors
/// The file system refuses, or there is no folder.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = fresh(path);
    create(&fresh, mode)?.write_all(content)?;
    fs::rename(&fresh, path)
}

/// As [`replace`], with the folders above it, and it is on the disk when this returns: after a
/// power cut the file has the old or the new content.
///
/// # Errors
/// The file system refuses.
pub fn replace_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(folder)?;
    let fresh = fresh(path);
    let mut file = create(&fresh, mode)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// Reads a file, nothing if it is not there.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn fresh(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn create(fresh: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    match options.open(fresh) {
        // One that a power cut left may have other permissions.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(fresh)?;
            options.open(fresh)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check_replaced(path: &Path, content: &[u8], mode: u32) {
        assert_eq!(read(path).unwrap().unwrap(), content);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        assert!(!fresh(path).exists());
    }

    #[test]
    fn files_are_replaced_with_their_permissions() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        replace(&path, b"1", 0o644).unwrap();
        check_replaced(&path, b"1", 0o644);
        replace(&path, b"2", 0o600).unwrap();
        check_replaced(&path, b"2", 0o600);
    }

    #[test]
    fn a_leftover_of_a_power_cut_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        for write in [replace, replace_durably] {
            fs::write(fresh(&path), "half, and longer than what follows").unwrap();
            write(&path, b"whole", 0o600).unwrap();
            check_replaced(&path, b"whole", 0o600);
        }
        assert_eq!(read(&root.path().join("none")).unwrap(), None);
    }

    #[test]
    fn only_a_durable_file_gets_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        let error = replace(&path, b"1", 0o644).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!root.path().join("a").exists());
        replace_durably(&path, b"2", 0o644).unwrap();
        check_replaced(&path, b"2", 0o644);
    }
}
