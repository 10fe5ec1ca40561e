//! What the containers of one pod share beside its network: messages, semaphores, shared memory
//! and the host name.
//!
//! Kept in the pod's folder on the run directory's tmpfs, so that it goes with the pod's other
//! mounts. Knows nothing of containers.

use std::fs;
use std::io;
use std::path::PathBuf;

use bramble_network::NetworkError;
use bramble_network::namespace::{self, Kind};
use bramble_runtime::spec::SHM_SIZE_DEFAULT;
use bramble_shared::link::Pod;
use nix::mount::MsFlags;

use crate::volumes::{PodFolders, mount_tmpfs};

/// Why a pod's containers cannot share what they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpSandboxError {
    /// A namespace could not be made.
    #[error(transparent)]
    Namespace(#[from] NetworkError),
    /// The shared memory could not be made.
    #[error("could not make the pod's shared memory")]
    SharedMemory(#[source] io::Error),
}

/// Where a pod has what its containers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The namespace of messages, semaphores and shared memory; none for the node's.
    pub(crate) ipc: Option<PathBuf>,
    /// The namespace of the host name; none for the node's.
    pub(crate) host_name: Option<PathBuf>,
    /// The folder that is `/dev/shm`.
    pub(crate) shm: PathBuf,
}

impl Shared {
    /// Names the places without touching them. As with upstream's runtimes, a pod with the node's
    /// network has the node's name, and one with the node's IPC the node's shared memory.
    pub(crate) fn of(pod: &Pod, folders: &PodFolders) -> Self {
        let kept = |name: &str| folders.memory.join("namespaces").join(name);
        Self {
            ipc: (!pod.host_ipc).then(|| kept("ipc")),
            host_name: (!pod.host_network).then(|| kept("uts")),
            shm: match pod.host_ipc {
                true => PathBuf::from("/dev/shm"),
                false => folders.memory.join("shm"),
            },
        }
    }
}

/// Makes what a pod's containers share; what is there already stays as it is.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn set_up(pod: &Pod, folders: &PodFolders) -> Result<(), SetUpSandboxError> {
    let shared = Shared::of(pod, folders);
    if let Some(path) = &shared.ipc {
        namespace::create(Kind::Ipc, path, || Ok(()))?;
        let failed = SetUpSandboxError::SharedMemory;
        fs::create_dir_all(&shared.shm).map_err(failed)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let options = format!("mode=1777,size={SHM_SIZE_DEFAULT}");
        mount_tmpfs(&shared.shm, flags, &options).map_err(failed)?;
    }
    if let Some(path) = &shared.host_name {
        let name = pod.hostname.clone();
        namespace::create(Kind::HostName, path, move || Ok(nix::unistd::sethostname(name)?))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bramble_agent_core::pod_worker::example::pod;

    use super::*;

    #[test]
    fn pods_share_what_is_not_the_nodes() {
        let folders = PodFolders::new(Path::new("/data"), Path::new("/run/bramble"), "u");
        let mut pod = pod();
        let own = Shared::of(&pod, &folders);
        assert_eq!(own.ipc.as_deref(), Some(Path::new("/run/bramble/pods/u/namespaces/ipc")));
        assert_eq!(own.shm, Path::new("/run/bramble/pods/u/shm"));
        pod.host_network = true;
        assert_eq!(Shared::of(&pod, &folders), Shared { host_name: None, ..own.clone() });
        pod.host_ipc = true;
        let nodes = Shared::of(&pod, &folders);
        assert_eq!((nodes.ipc, nodes.shm.as_path()), (None, Path::new("/dev/shm")));
    }
}
