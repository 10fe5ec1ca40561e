//! Mounts of a board.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::messages::say;
use crate::step::StepError;

/// The kernel's own file systems, for the first stage: they are moved to the new root.
pub(crate) const KERNEL: [(&str, &str); 3] =
    [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// Mounts the kernel's own file systems.
///
/// # Errors
/// One cannot be mounted.
pub(crate) fn kernel() -> Result<(), StepError> {
    for (kind, at) in KERNEL {
        let strict = MountFlags::NOSUID | MountFlags::NOEXEC;
        let flags = if kind == "devtmpfs" { MountFlags::NOSUID } else { strict };
        let options = if kind == "devtmpfs" { c"mode=0755" } else { c"" };
        mount(kind, at, kind, flags, options)
            .map_err(StepError::of(format!("mount {kind} on {at}")))?;
    }
    Ok(())
}

/// Mounts what the second stage needs besides.
///
/// # Errors
/// One without which nothing works cannot be mounted.
pub(crate) fn system() -> Result<(), StepError> {
    let folder = |path: &str| {
        fs::create_dir_all(path).map_err(StepError::of(format!("make the folder {path}")))
    };
    let own = MountFlags::NOSUID | MountFlags::NODEV;
    let quiet = own | MountFlags::NOEXEC;
    folder("/dev/pts")?;
    folder("/dev/shm")?;
    // Bounds, so that a flood of logs or files leaves memory to the pods.
    for (kind, at, flags, options) in [
        ("tmpfs", "/run", own, c"mode=0755,size=25%"),
        ("tmpfs", "/tmp", own, c"mode=1777,size=10%"),
        ("tmpfs", "/dev/shm", own, c"mode=1777,size=10%"),
        ("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0620,ptmxmode=0666"),
        ("cgroup2", "/sys/fs/cgroup", quiet, c""),
    ] {
        mount(kind, at, kind, flags, options)
            .map_err(StepError::of(format!("mount {kind} on {at}")))?;
    }
    hand_controllers_down();
    Ok(())
}

/// Lets cgroups below the root use the kernel's controllers. Each for itself: one that this
/// kernel lacks does not cost the others.
fn hand_controllers_down() {
    let there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        if !there.split_whitespace().any(|name| name == controller) {
            say(&format!("cgroup controller {controller} is missing: its limits do not hold"));
            continue;
        }
        let add = format!("+{controller}");
        if let Err(error) = fs::write("/sys/fs/cgroup/cgroup.subtree_control", add) {
            say(&format!("cgroup controller {controller} cannot be used: {error}"));
        }
    }
}

/// Mounts a FAT file system; `writable` or not.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn fat(device: &Path, at: &Path) -> Result<(), StepError> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Only root may read: the boot partition has a token on it.
    mount(device, at, "vfat", flags, c"umask=0077,errors=remount-ro")
        .map_err(StepError::of(format!("mount {} on {}", device.display(), at.display())))
}

/// Mounts a squashfs.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn squashfs(device: &Path, at: &Path) -> Result<(), StepError> {
    mount(device, at, "squashfs", MountFlags::RDONLY | MountFlags::NODEV, c"")
        .map_err(StepError::of(format!("mount {} on {}", device.display(), at.display())))
}

/// Mounts the data partition.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn data(device: &Path, at: &Path) -> Result<(), StepError> {
    // `noinit_itable`: unused inode tables are not zeroed, which would write hundreds of MiB to a
    // new card. What must be on the card is synced by who writes it, so that the journal may take
    // its time with the rest.
    let options = c"commit=30,noinit_itable,errors=remount-ro";
    let flags = MountFlags::NOATIME | MountFlags::NODEV;
    mount(device, at, "ext4", flags, options).map_err(StepError::of(format!(
        "mount {} on {}",
        device.display(),
        at.display()
    )))
}

/// Unmounts everything at or beneath a folder, the last mounted first; what is busy is made
/// read-only. Returns what could not be done.
pub(crate) fn give_back(folder: &str) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut left = Vec::new();
    for at in beneath(&mountinfo, folder) {
        if unmount(&at, UnmountFlags::empty()).is_ok() {
            continue;
        }
        let flags = MountFlags::RDONLY;
        if let Err(error) = rustix::mount::mount_remount(&at, flags, c"") {
            left.push(format!("{at}: {error}"));
        }
    }
    left
}

/// Mount points at or beneath a folder, in the order in which they must be unmounted.
fn beneath(mountinfo: &str, folder: &str) -> Vec<String> {
    let inside = |at: &str| {
        at.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut points: Vec<String> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|at| inside(at))
        .map(|at| at.replace("\\040", " "))
        .collect();
    points.reverse();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_beneath_a_folder_are_given_back_in_reverse() {
        let text = "20 1 0:1 / / ro - squashfs x ro\n21 20 8:4 / /var rw - ext4 x rw\n\
                    22 21 0:9 / /var/lib/a\\040b rw - overlay x rw\n\
                    23 20 0:7 / /variety rw - tmpfs x rw\n";
        assert_eq!(beneath(text, "/var"), ["/var/lib/a b", "/var"]);
        assert!(beneath(text, "/boot").is_empty());
    }
}
