//! Removes folders that may be gone already.

use std::fs;
use std::io;
use std::path::Path;

/// Removes a folder with everything in it; one that is not there is fine.
///
/// # Errors
///
/// When something of it cannot be removed.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
