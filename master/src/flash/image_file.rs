//! Where the image of the system is.

use std::env;
use std::path::{Path, PathBuf};

const NAME: &str = "bramble-arm64.img.gz";

/// There is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindImageError {
    /// The one that was named is not there.
    #[error("there is no image `{}`", path.display())]
    NotThere { path: PathBuf },
    /// None in any of the usual places.
    #[error(
        "there is no image {NAME}: looked in {looked}; make one with `make images`, or say --image FILE"
    )]
    Nowhere { looked: String },
}

/// Finds the image.
///
/// # Errors
///
/// When there is none.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, FindImageError> {
    if let Some(path) = given {
        let found = path.is_file().then(|| path.to_path_buf());
        return found.ok_or_else(|| FindImageError::NotThere { path: path.to_path_buf() });
    }
    let beside = env::current_exe().ok().and_then(|this| this.parent().map(Path::to_path_buf));
    let usual = [PathBuf::from("target/images"), PathBuf::from("/usr/share/bramble")];
    let folders: Vec<PathBuf> = beside.into_iter().chain(usual).collect();
    let found = folders.iter().map(|folder| folder.join(NAME)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let names: Vec<String> = folders.iter().map(|path| path.display().to_string()).collect();
        FindImageError::Nowhere { looked: names.join(", ") }
    })
}
