//! Has the kernel enforce a container's device rules, or says that it does not.
//!
//! On cgroup v1 libcontainer has written them to the devices controller, which is looked at once
//! more; on v2 a program of ours is attached to the container's cgroup.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use crate::cgroup::Cgroups;
use crate::device_rules::DeviceRule;
use crate::device_rules::program::{AssembleError, assemble};
use crate::sys::device_filter;

/// Why a container is not started: its device rules would not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnforceDevicesError {
    /// The rules cannot be enforced as they are.
    #[error("could not enforce the container's device rules")]
    Assemble(#[from] AssembleError),
    /// The cgroup cannot be used.
    #[error("could not enforce the container's device rules in `{}`", path.display())]
    Cgroup {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The kernel refuses the program.
    #[error("could not enforce the container's device rules: the kernel takes no device program")]
    Attach(#[source] io::Error),
    /// The devices controller lets everything through.
    #[error("the container's device rules are not enforced: `{}` allows everything", path.display())]
    Open { path: PathBuf },
    /// There is nothing that could enforce them.
    #[error("the container's device rules are not enforced: there is no devices controller")]
    NoController,
}

/// Enforces device rules on everything in a cgroup. To be called when libcontainer has made it.
pub(super) fn enforce(
    cgroups: &Cgroups,
    cgroup_path: &str,
    rules: &[DeviceRule],
) -> Result<(), EnforceDevicesError> {
    if rules.last().is_none_or(|last| last.allow && last.fits_everything()) {
        // Privileged, or made by somebody who asks for no rules.
        return Ok(());
    }
    if !cgroups.unified() {
        let directory = cgroups
            .directory_of("devices", cgroup_path)
            .ok_or(EnforceDevicesError::NoController)?;
        let path = directory.join("devices.list");
        let list = fs::read_to_string(&path)
            .map_err(|source| EnforceDevicesError::Cgroup { path: path.clone(), source })?;
        return match allows_everything(&list) {
            true => Err(EnforceDevicesError::Open { path }),
            false => Ok(()),
        };
    }
    let path = Cgroups::unified_directory(cgroup_path);
    let directory =
        File::open(&path).map_err(|source| EnforceDevicesError::Cgroup { path, source })?;
    let program: Vec<[u8; 8]> =
        assemble(rules)?.into_iter().map(|instruction| instruction.encode()).collect();
    device_filter::attach(&program, directory.as_fd()).map_err(EnforceDevicesError::Attach)
}

/// Whether a devices controller's list has no bounds.
fn allows_everything(list: &str) -> bool {
    list.lines().any(|line| line.starts_with("a "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_was_never_told_is_found_out() {
        assert!(allows_everything("a *:* rwm\n"));
        assert!(!allows_everything("c *:* m\nb *:* m\nc 1:3 rwm\n"));
        assert!(!allows_everything(""));
    }

    #[test]
    fn rules_that_cannot_be_enforced_are_an_error_and_no_rules_are_none() {
        let v2 = Cgroups::detect().unwrap();
        let closed = [DeviceRule::everything(false)];
        assert!(enforce(&v2, "/bramble-none-of-that-name", &closed).is_err());
        assert!(
            enforce(&v2, "/bramble-none-of-that-name", &[DeviceRule::everything(true)]).is_ok()
        );
    }
}
