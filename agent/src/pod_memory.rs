//! The part of a pod that is in memory: a file system of its own with a bound.
//!
//! What containers can write there (their hosts file, their termination messages) lies on the run
//! directory's tmpfs, in which the node's own records are, too: without a bound of its own, one
//! container could fill it for all.

use std::fs;
use std::io;
use std::path::Path;

use bramble_agent_core::volume;
use bramble_shared::link::{Pod, VolumeSource};
use nix::mount::{MsFlags, mount};

/// Room for the pod's own files, in bytes: hosts, name servers, name, and for each container a
/// termination message of at most 4 KiB, with as much again for what nobody reads.
const OWN_BYTES: u64 = 512 << 10;
/// Room for each source of files that the node writes, in bytes: the largest ConfigMap (1 MiB) twice,
/// since an update needs both, in blocks of 4 KiB.
const CONFIG_BYTES: u64 = 4 << 20;
/// Files and folders of the pod's own, and of such a source: a name, a file and a folder for
/// each of its keys, twice.
const OWN_INODES: u64 = 1024;
const CONFIG_INODES: u64 = 16 * 1024;

/// Makes the folder of a pod in memory. One that is there is left as it is: an earlier try made it,
/// or an earlier agent, and containers use it.
///
/// # Errors
///
/// When the system refuses.
pub(crate) fn make(folder: &Path, pod: &Pod) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = options(pod);
    mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some(options.as_str())).map_err(|error| {
        // Else the next try would take it for mounted.
        let _gone = fs::remove_dir(folder);
        error.into()
    })
}

/// The bounds of a pod's file system.
fn options(pod: &Pod) -> String {
    let config = |source: &VolumeSource| match source {
        // What is confidential has a mount of its own.
        VolumeSource::Files { sources, .. } if !volume::confidential(sources) => sources.len(),
        VolumeSource::Files { .. }
        | VolumeSource::EmptyDir { .. }
        | VolumeSource::HostPath { .. } => 0,
    };
    let volumes: usize = pod.volumes.iter().map(|volume| config(&volume.source)).sum();
    let volumes = u64::try_from(volumes).unwrap_or(u64::MAX);
    let bytes = OWN_BYTES.saturating_add(CONFIG_BYTES.saturating_mul(volumes));
    let inodes = OWN_INODES.saturating_add(CONFIG_INODES.saturating_mul(volumes));
    format!("size={bytes},nr_inodes={inodes},mode=0755")
}

#[cfg(test)]
mod tests {
    use bramble_agent_core::pod_worker::example::pod;
    use bramble_shared::link::{DataKind, FileSource, Volume};

    use super::*;
    use crate::volumes;

    #[test]
    fn room_grows_with_what_the_node_writes_there_only() {
        let mut pod = pod();
        assert_eq!(options(&pod), "size=524288,nr_inodes=1024,mode=0755");
        let data = |kind| VolumeSource::Files {
            mode: 0o644,
            sources: vec![FileSource::Data {
                kind,
                name: "x".to_owned(),
                optional: false,
                items: vec![],
            }],
        };
        for source in [data(DataKind::ConfigMap), data(DataKind::Secret)] {
            pod.volumes.push(Volume { name: "v".to_owned(), source });
        }
        assert_eq!(options(&pod), "size=4718592,nr_inodes=17408,mode=0755");
    }

    #[test]
    fn a_pod_fills_its_own_memory_only_and_nothing_of_it_stays() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: mounts need root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("u1");
        make(&folder, &pod()).unwrap();
        let flood = vec![1; 1 << 20];
        let error = fs::write(folder.join("hosts"), &flood).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        fs::write(base.path().join("record"), &flood).unwrap();
        make(&folder, &pod()).unwrap();
        assert!(folder.join("hosts").exists(), "a second try changes nothing");
        volumes::remove(&folder).unwrap();
        assert!(!folder.exists());
    }
}
