//! A cgroup that holds all processes of one board (or of the registry), so that all can be ended
//! at once, forks in flight included.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::{pause, wait_until};

/// A cgroup of version 2, alone or beside version 1. Everything in it ends when it is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup, or takes over the one of that name.
    ///
    /// # Errors
    /// Version 2 is not mounted, or the folder cannot be made.
    pub fn create(name: &str) -> Result<Self> {
        let path = unified_root()?.join(name);
        fs::create_dir_all(&path).context("could not make a cgroup")?;
        Ok(Self { path })
    }

    /// Its name, which is also its path below every hierarchy.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A shell line that puts the shell into it.
    #[must_use]
    pub fn join_line(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.path.display())
    }

    /// Ids of all processes in it and below it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        processes_below(&self.path)
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SIGKILL to everything in it, in one step.
    ///
    /// # Errors
    /// The kernel refuses, or something is still there after ten seconds.
    pub fn kill(&self) -> Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1").context("could not kill a cgroup")?;
        wait_until("nothing runs in the cgroup", Duration::from_secs(10), || {
            let left = self.processes()?;
            Ok((!left.is_empty()).then(|| format!("{left:?}")))
        })?;
        Ok(())
    }

    /// Kills and removes all cgroups whose names start with `prefix`.
    ///
    /// # Errors
    /// Version 2 is not mounted.
    pub fn remove_all(prefix: &str) -> Result<()> {
        for entry in fs::read_dir(unified_root()?)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                drop(Self { path: entry.path() });
            }
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.kill();
        remove(&self.path);
        // Hierarchies of version 1 have folders of their own, made by the runtime.
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove(&controller.path().join(self.name()));
        }
    }
}

/// Ids of all processes in a cgroup's folder and below it.
///
/// # Errors
/// It cannot be read.
pub fn processes_below(cgroup: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    collect(cgroup, &mut found)?;
    Ok(found)
}

/// Where version 2 is mounted.
fn unified_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(path))
        })
        .context("cgroup version 2 is not mounted; `mount -t cgroup2 none /mnt` would do")
}

fn collect(cgroup: &Path, found: &mut Vec<u32>) -> Result<()> {
    let Ok(text) = fs::read_to_string(cgroup.join("cgroup.procs")) else { return Ok(()) };
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn remove(cgroup: &Path) {
    if let Ok(entries) = fs::read_dir(cgroup) {
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove(&entry.path());
        }
    }
    // The kernel may need a moment to let go of what has just ended.
    for _ in 0..20 {
        match fs::remove_dir(cgroup) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                pause(Duration::from_millis(20));
            }
            Ok(()) | Err(_) => return,
        }
    }
}
