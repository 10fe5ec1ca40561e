//! Creates a container: what libcontainer does, and around it what it does not.
//!
//! Runs in a child of the runtime process. The container's program waits for its start until all
//! of this is done; if anything fails, the container is taken down again by the runtime process.

use libcontainer::error::LibcontainerError;

use super::bundle::Bundle;
use super::dev_mounts::{self, MountOverDevError};
use super::device_control::{self, EnforceDevicesError};
use super::working_directory::{self, MakeWorkingDirectoryError};
use crate::cgroup::Cgroups;

/// Why a container could not be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateError {
    /// Its working directory cannot be there.
    #[error(transparent)]
    WorkingDirectory(#[from] MakeWorkingDirectoryError),
    /// libcontainer's part.
    #[error(transparent)]
    Libcontainer(#[from] LibcontainerError),
    /// It could do with devices what it may not.
    #[error(transparent)]
    Devices(#[from] EnforceDevicesError),
    /// Its `/dev` cannot be what was asked for.
    #[error(transparent)]
    Dev(#[from] MountOverDevError),
}

/// Creates a container; `build` is libcontainer's part and returns the pid of the init, which
/// waits.
pub(super) fn create(
    bundle: &Bundle,
    cgroups: &Cgroups,
    build: impl FnOnce() -> Result<i32, LibcontainerError>,
) -> Result<i32, CreateError> {
    working_directory::make(&bundle.spec)?;
    let pid = build()?;
    device_control::enforce(cgroups, &bundle.cgroup_path, &bundle.device_rules)?;
    dev_mounts::attach(pid, &bundle.dev_mounts)?;
    Ok(pid)
}
