//! Writes small files so that a reader never sees a part of one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file with these permissions in place of one of that name, with the folders above it.
///
/// # Errors
/// The file system refuses.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(path, content, mode, false)
}

/// As [`replace`], and it is on the card when this returns.
///
/// # Errors
/// The file system refuses.
pub(crate) fn replace_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(path, content, mode, true)
}

fn write(path: &Path, content: &[u8], mode: u32, durably: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // One that a power cut left may have other permissions.
    if let Err(error) = fs::remove_file(&fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(content)?;
    if durably {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)?;
    if durably {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_replaced_with_their_permissions() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        replace(&path, b"1", 0o644).unwrap();
        fs::write(root.path().join("a/b.new"), "left by a power cut").unwrap();
        replace_durably(&path, b"2", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
