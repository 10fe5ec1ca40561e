//! Checks an unpacked image root before a container is made of it.
//!
//! A symbolic link at `/proc` or `/dev` would let the image redirect what the runtime mounts
//! there, so those places must be real directories; absent ones are made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image root is not used.
#[derive(Debug, thiserror::Error)]
pub enum CheckRootError {
    /// A place that the runtime mounts over is a link or a file.
    #[error("image is refused: `/{name}` in it is not a directory")]
    NotADirectory { name: &'static str },
    /// The root could not be looked at or completed.
    #[error("could not prepare `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Checks that the places which the runtime mounts over are real directories; makes absent ones.
///
/// # Errors
/// When the root itself or one of those places is anything but a directory.
pub fn check(root: &Path) -> Result<(), CheckRootError> {
    let io_error = |path: &Path, source| CheckRootError::Io { path: path.to_owned(), source };
    let root_kind = fs::symlink_metadata(root).map_err(|source| io_error(root, source))?;
    if !root_kind.is_dir() {
        return Err(CheckRootError::NotADirectory { name: "" });
    }
    for name in REAL_DIRECTORIES {
        let path = root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(kind) if kind.is_dir() => {}
            Ok(_) => return Err(CheckRootError::NotADirectory { name }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path).map_err(|source| io_error(&path, source))?;
            }
            Err(source) => return Err(io_error(&path, source)),
        }
    }
    Ok(())
}

/// Places that are mounted over, or that hold files which the agent puts there.
const REAL_DIRECTORIES: [&str; 5] = ["dev", "proc", "sys", "etc", "run"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_places_are_made_and_links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        check(root.path()).unwrap();
        assert!(root.path().join("proc").is_dir());
        fs::remove_dir(root.path().join("proc")).unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("proc")).unwrap();
        assert_eq!(
            check(root.path()).unwrap_err().to_string(),
            "image is refused: `/proc` in it is not a directory"
        );
    }
}
