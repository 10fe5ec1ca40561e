//! Network namespaces that stay: made on a thread of their own and kept by a bind mount.
//!
//! A thread that has changed its namespace is never given back to a pool, it ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::NetworkError;

/// Makes a namespace and keeps it at `path`. Does nothing if one is kept there already.
///
/// # Errors
/// The kernel's refusal; nothing is left behind then.
pub(crate) fn create(path: &Path) -> Result<(), NetworkError> {
    if kept_at(path) {
        return Ok(());
    }
    let failed =
        |source: io::Error| NetworkError::Namespace { doing: "create", path: path.into(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    File::create(path).map_err(failed)?;
    let target = path.to_path_buf();
    let made = on_own_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // The namespace of this thread, not of the process, hence `thread-self`.
        mount(
            Some("/proc/thread-self/ns/net"),
            &target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        Ok(())
    });
    made.map_err(|source| {
        // Nothing is mounted there, so the file is all that could be left.
        let _ = fs::remove_file(path);
        failed(source)
    })
}

/// Lets go of the namespace at `path`; the kernel ends it with its last process.
///
/// # Errors
/// The kernel's refusal to unmount or remove.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    let failed =
        |source: io::Error| NetworkError::Namespace { doing: "remove", path: path.into(), source };
    if kept_at(path) {
        umount2(path, MntFlags::MNT_DETACH).map_err(|source| failed(source.into()))?;
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// `true` if a network namespace is mounted at `path` (and not just the empty file that a crash
/// may have left).
pub(crate) fn kept_at(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Opens the namespace at `path`, to be handed to the kernel.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, NetworkError> {
    File::open(path).map(OwnedFd::from).map_err(|source| NetworkError::Namespace {
        doing: "open",
        path: path.into(),
        source,
    })
}

/// Runs `work` on a thread inside the namespace at `path` and waits for it.
///
/// # Errors
/// The namespace cannot be entered, or what `work` returns.
pub(crate) fn inside<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let namespace = open(&path)?;
    let entered = on_own_thread(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    });
    entered.map_err(|source| NetworkError::Namespace { doing: "enter", path, source })?
}

fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let thread = thread::Builder::new().name("namespace".into()).stack_size(256 * 1024);
    thread
        .spawn(work)?
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
}
