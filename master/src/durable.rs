//! Files and folders that are there whole after a power cut, or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file could not be written durably.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{}`", path.display())]
pub(crate) struct WriteFileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Turns an I/O error into a [`WriteFileError`].
fn while_doing<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> WriteFileError + 'a {
    move |source| WriteFileError { action, path: path.to_path_buf(), source }
}

/// Replaces a file; readable by its owner only.
///
/// # Errors
///
/// When any step fails; the old file is there unharmed then.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), WriteFileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(while_doing("create", &temporary))?;
    file.write_all(content).map_err(while_doing("write", &temporary))?;
    file.sync_all().map_err(while_doing("sync", &temporary))?;
    rename(&temporary, path)
}

/// Renames a file or folder and makes that durable.
///
/// # Errors
///
/// When the rename or the sync of the parent folder fails.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), WriteFileError> {
    fs::rename(from, to).map_err(while_doing("rename", from))?;
    let parent = to.parent().unwrap_or_else(|| Path::new("."));
    sync_folder(parent)
}

/// Makes the entries of a folder durable.
///
/// # Errors
///
/// When the folder cannot be opened or synced.
pub(crate) fn sync_folder(path: &Path) -> Result<(), WriteFileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(while_doing("sync", path))
}

/// Creates a folder and its parents, for its owner only.
///
/// # Errors
///
/// When it cannot be created.
pub(crate) fn create_folder(path: &Path) -> Result<(), WriteFileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(while_doing("create folder", path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        super::write_file(&path, b"old and long").unwrap();
        super::write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
