//! Mounts over a container's `/dev`, after libcontainer has made its own there.
//!
//! libcontainer puts links and nodes into whatever is mounted at `/dev`; if that were the node's,
//! they would be left there. So it is mounted last, from outside, and nothing is made in it: what
//! the container has beneath its own `/dev` (terminals, shared memory, volumes) is carried over to
//! places that the other `/dev` has.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, openat2, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, mount_remount,
    move_mount, open_tree,
};

/// A mount over `/dev`, or over a node in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DevMount {
    /// Where, in the container.
    pub(super) target: PathBuf,
    /// What, on the node.
    pub(super) source: PathBuf,
    /// It cannot be written.
    pub(super) readonly: bool,
}

/// Why something could not be mounted over `/dev`.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountOverDevError {
    /// The kernel refuses.
    #[error("could not mount `{}` at `{}`", mount.source.display(), mount.target.display())]
    Mount {
        mount: Box<DevMount>,
        #[source]
        source: io::Error,
    },
    /// The container's mounts could not be reached.
    #[error("could not mount over the container's `/dev`")]
    Enter(#[source] io::Error),
    /// A volume has no place in what is mounted over it.
    #[error(
        "`{}` cannot be mounted: the node's `/dev` is mounted over it and has nothing there",
        path.display()
    )]
    NoPlace { path: PathBuf },
}

/// Mounts these over the `/dev` of a container whose init waits. Only for a process of one thread
/// that does nothing else afterwards: it ends up in the container's mount namespace.
pub(super) fn attach(pid: i32, mounts: &[DevMount]) -> Result<(), MountOverDevError> {
    if mounts.is_empty() {
        return Ok(());
    }
    let failed = |mount: &DevMount, source: io::Error| MountOverDevError::Mount {
        mount: Box::new(mount.clone()),
        source,
    };
    let enter = MountOverDevError::Enter;
    let mountinfo = fs::read_to_string(format!("/proc/{pid}/mountinfo")).map_err(enter)?;
    let namespace = File::open(format!("/proc/{pid}/ns/mnt")).map_err(enter)?;
    // In copies of the node's mounts that share nothing with them: whatever is mounted on these
    // shows up nowhere else.
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| enter(error.into()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| enter(error.into()))?;
    let mut trees = Vec::new();
    for mount in mounts {
        let tree = copy(&mount.source).map_err(|error| failed(mount, error))?;
        trees.push((mount, tree));
    }
    setns(&namespace, CloneFlags::CLONE_NEWNS).map_err(|error| enter(error.into()))?;
    for (mount, tree) in trees {
        let error = |source| failed(mount, source);
        let mut inner = Vec::new();
        for path in mounts_beneath(&mountinfo, &mount.target) {
            inner.push((copy(&path).map_err(error)?, path));
        }
        let target = open(&mount.target).map_err(|errno| error(errno.into()))?;
        put(&tree, &target).map_err(|errno| error(errno.into()))?;
        if mount.readonly {
            make_readonly(&mount.target).map_err(|errno| error(errno.into()))?;
        }
        for (tree, path) in inner {
            match open(&path).and_then(|place| put(&tree, &place)) {
                Ok(()) => {}
                // Made by nobody: it would stay in what belongs to the node.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if dispensable(&path) => {}
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    return Err(MountOverDevError::NoPlace { path });
                }
                Err(errno) => return Err(error(errno.into())),
            }
        }
    }
    Ok(())
}

/// Copies a mount with everything beneath it.
fn copy(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

fn put(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", place, "", flags)
}

fn make_readonly(target: &Path) -> Result<(), Errno> {
    let there = statvfs(target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (has, keep) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        flags.set(keep, there.contains(has));
    }
    mount_remount(target, flags, c"")
}

/// What is mounted beneath a path, without what is beneath that.
fn mounts_beneath(mountinfo: &str, path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(path) && point != path)
        .collect();
    found.sort();
    // Sorted, so that what is beneath another one directly or indirectly follows it.
    found.dedup_by(|later, earlier| later.starts_with(&*earlier));
    found
}

/// What every container has beneath `/dev` unless it has the node's.
fn dispensable(path: &Path) -> bool {
    ["/dev/mqueue", "/dev/pts", "/dev/shm", "/dev/termination-log"]
        .iter()
        .any(|own| path == Path::new(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_beneath_dev_are_carried_over_once() {
        let mountinfo = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /dev rw - tmpfs t rw\n\
                         3 2 0:3 / /dev/shm rw - tmpfs t rw\n4 2 0:4 / /dev/pts rw - devpts d rw\n\
                         5 3 0:5 / /dev/shm/deep rw - tmpfs t rw\n\
                         6 2 0:6 / /dev/shm rw - tmpfs t rw\n7 1 0:7 / /device rw - tmpfs t rw\n\
                         8 2 0:8 / /dev/a\\040b rw - tmpfs t rw\n";
        let found = mounts_beneath(mountinfo, Path::new("/dev"));
        assert_eq!(found, ["/dev/a b", "/dev/pts", "/dev/shm"].map(PathBuf::from));
    }
}
