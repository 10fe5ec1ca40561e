//! Namespaces that stay: made on a thread of their own and kept by a bind mount.
//!
//! A thread that has changed its namespace is never given back to a pool, it ends. A pod's network
//! is made by [`crate::NodeNetwork`]; its other namespaces are made here by who sets the pod up.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::NetworkError;

/// What a namespace is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Links, addresses and routes.
    Network,
    /// Semaphores, messages and shared memory.
    Ipc,
    /// The host name.
    HostName,
}

impl Kind {
    fn flag(self) -> CloneFlags {
        match self {
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::HostName => CloneFlags::CLONE_NEWUTS,
        }
    }

    /// The namespace of a thread, not of its process, hence `thread-self`.
    fn of_this_thread(self) -> &'static str {
        match self {
            Self::Network => "/proc/thread-self/ns/net",
            Self::Ipc => "/proc/thread-self/ns/ipc",
            Self::HostName => "/proc/thread-self/ns/uts",
        }
    }
}

/// Makes a namespace, does `first` in it, and keeps it at `path`. Does nothing if one is kept
/// there already.
///
/// # Errors
/// The kernel's refusal; nothing is left behind then.
pub fn create(
    kind: Kind,
    path: &Path,
    first: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), NetworkError> {
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
        unshare(kind.flag())?;
        first()?;
        mount(Some(kind.of_this_thread()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
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

/// `true` if a namespace is mounted at `path` (and not just the empty file that a crash
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

/// Makes something, such as a socket, in the network namespace at `path`; it stays in there, the
/// thread does not.
///
/// # Errors
/// The namespace cannot be entered, or what `make` returns.
pub fn make_inside<T: Send + 'static>(
    path: PathBuf,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, NetworkError> {
    let namespace = open(&path)?;
    let made = on_own_thread(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        make()
    });
    made.map_err(|source| NetworkError::Namespace { doing: "enter", path, source })
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
