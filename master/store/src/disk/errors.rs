//! Why a store's file cannot be made or used.

use std::io;
use std::path::{Path, PathBuf};

/// Why a new store could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateStoreError {
    /// It would overwrite something.
    #[error("store file `{}` exists already", path.display())]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// The folder or the disk refused.
    #[error("could not create store file `{}`", path.display())]
    CreateFile {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It was made, but could not be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
}

/// Why an existing store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Nothing is there.
    #[error("store file `{}` does not exist", path.display())]
    Missing {
        /// File.
        path: PathBuf,
    },
    /// The file could not be read or locked.
    #[error("could not open store file `{}`", path.display())]
    OpenFile {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("file `{}` is not a bramble store", path.display())]
    Foreign {
        /// File.
        path: PathBuf,
    },
    /// It was one, but is not whole.
    #[error("store file `{}` is damaged ({reason}); restore it from a snapshot", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer bramble.
    #[error(
        "store file `{}` has format {found}, this build reads up to {supported}",
        path.display()
    )]
    NewerFormat {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Newest format of this build.
        supported: u32,
    },
    /// It belongs to another cluster.
    #[error("store file `{}` is of cluster `{found}`, not `{expected}`", path.display())]
    OtherCluster {
        /// File.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Another process has it open.
    #[error("store file `{}` is in use by another process", path.display())]
    InUse {
        /// File.
        path: PathBuf,
    },
    /// The disk failed or is full.
    #[error("could not read or write store file `{}`", path.display())]
    Access {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No thread could be had.
    #[error("could not start the store's writer")]
    StartWriter {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl OpenStoreError {
    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn access(path: &Path, source: io::Error) -> Self {
        Self::Access { path: path.to_owned(), source }
    }
}
