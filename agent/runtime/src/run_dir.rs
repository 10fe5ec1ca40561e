//! Names of everything in the run directory, a tmpfs that the processes of a node share.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::output::NEWEST_LOG;

/// The run directory, such as `/run/bramble`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Names the run directory without touching it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directory and its parts, closed to everyone but root.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn create(&self) -> io::Result<()> {
        let parts = [
            self.root.clone(),
            self.containers(),
            self.libcontainer(),
            self.output(),
            self.reaped(),
        ];
        for part in parts {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(part)?;
        }
        // A directory that was there before may be open.
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Socket of the runtime process.
    #[must_use]
    pub fn runtime_socket(&self) -> PathBuf {
        self.root.join("runtime.sock")
    }

    /// Socket of the fence.
    #[must_use]
    pub fn fence_socket(&self) -> PathBuf {
        self.root.join("fence.sock")
    }

    /// Lease that the fence last heard of, for its successor.
    #[must_use]
    pub fn fence_lease(&self) -> PathBuf {
        self.root.join("fence.lease")
    }

    /// Datagram socket that wakes the log writer.
    #[must_use]
    pub fn log_writer_socket(&self) -> PathBuf {
        self.root.join("log-writer.sock")
    }

    /// Records and bundles, one directory per container.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// State of libcontainer, one directory per container.
    #[must_use]
    pub fn libcontainer(&self) -> PathBuf {
        self.root.join("libcontainer")
    }

    /// Output on its way to the log files, one directory per container.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// The newest lines of a container whose log is not to grow on the disk.
    #[must_use]
    pub fn newest_log(&self, id: &str) -> PathBuf {
        self.output().join(id).join(NEWEST_LOG)
    }

    /// What each pod has written of its logs today.
    #[must_use]
    pub fn log_budgets(&self) -> PathBuf {
        self.root.join("log-budgets")
    }

    /// Exits that the supervisor saw while no runtime process ran.
    #[must_use]
    pub fn reaped(&self) -> PathBuf {
        self.root.join("reaped")
    }
}
