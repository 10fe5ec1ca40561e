//! What the next runtime process must know of a container, kept in the run directory.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::protocol::{ContainerState, OwnStreams};
use crate::whole_file;

/// A container as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) state: ContainerState,
    /// Start time of the init, which makes its pid unique.
    pub(super) start_ticks: u64,
    pub(super) cgroup_path: String,
    pub(super) created_at_us: u64,
    pub(super) started_at_us: Option<u64>,
    pub(super) log_file: Option<String>,
    pub(super) stdio_budget_bytes: u32,
    pub(super) singleton: bool,
    pub(super) streams: OwnStreams,
}

impl Record {
    /// Writes the record into the container's directory.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        whole_file::replace(&directory.join(RECORD), &bytes, 0o644)
    }

    /// Reads the record of a container's directory.
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        postcard::from_bytes(&fs::read(directory.join(RECORD))?).map_err(io::Error::other)
    }
}

const RECORD: &str = "record";
