//! Finds and removes the agent's cgroups, in every hierarchy that the host has.
//!
//! The runtime process makes and removes those of containers; what holds them is removed here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A cgroup in every hierarchy that has it, whatever the mode of the host.
pub(crate) fn folders(cgroup_path: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, kind) = (words.next()?, words.next()?);
            kind.starts_with("cgroup")
                .then(|| Path::new(path).join(cgroup_path.trim_start_matches('/')))
        })
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Processes of a cgroup folder and of all beneath it.
pub(crate) fn processes(folder: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = fs::read_to_string(folder.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in children(folder) {
        pids.extend(processes(&child));
    }
    pids
}

/// Removes a cgroup and all beneath it from every hierarchy; returns what went wrong, in words.
pub(crate) fn remove(cgroup_path: &str) -> Vec<String> {
    let mut errors = Vec::new();
    for folder in folders(cgroup_path) {
        if let Err(error) = remove_one(&folder) {
            errors.push(format!("`{}`: {error}", folder.display()));
        }
    }
    errors
}

fn remove_one(folder: &Path) -> io::Result<()> {
    for child in children(folder) {
        remove_one(&child)?;
    }
    fs::remove_dir(folder)
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
