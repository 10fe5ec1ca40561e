//! Leaves the initial RAM file system for the system on the card.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::mount::mount_move;

use crate::mounts;
use crate::paths::AGENT;
use crate::step::StepError;

/// Makes `root` the root, frees the memory of the old one and goes on as the second stage.
///
/// # Errors
/// Whatever was refused; if it returns, the board cannot be started.
pub(crate) fn switch_root(root: &Path) -> Result<std::convert::Infallible, StepError> {
    for (kind, at) in mounts::KERNEL {
        mount_move(at, root.join(at.trim_start_matches('/')))
            .map_err(StepError::of(format!("move {kind} to the new root")))?;
    }
    // Only now: what lies on other devices is out of reach.
    let device = fs::metadata("/").map_err(StepError::of("look at the old root"))?.dev();
    remove_all(Path::new("/"), root, device);
    let enter = || {
        rustix::process::chdir(root)?;
        mount_move(".", "/")?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    };
    enter().map_err(StepError::of("make the card's system the root"))?;
    let error = Command::new(AGENT).arg0("init").arg("system").env_clear().exec();
    Err(StepError::of::<std::io::Error>(format!("run {AGENT}"))(error))
}

/// Removes what is beneath a folder and on this device, but not `kept`. What cannot be removed
/// only costs memory.
fn remove_all(folder: &Path, kept: &Path, device: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if path == kept || found.dev() != device {
            continue;
        }
        let _left = if found.is_dir() {
            remove_all(&path, kept, device);
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_new_root_is_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("modules/a")).unwrap();
        fs::write(root.path().join("modules/a/x.ko"), "x").unwrap();
        fs::create_dir_all(root.path().join("new/usr")).unwrap();
        let device = fs::metadata(root.path()).unwrap().dev();
        remove_all(root.path(), &root.path().join("new"), device + 1);
        assert!(root.path().join("modules/a/x.ko").exists());
        remove_all(root.path(), &root.path().join("new"), device);
        assert!(!root.path().join("modules").exists());
        assert!(root.path().join("new/usr").exists());
    }
}
