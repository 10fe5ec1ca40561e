//! Records of pods in the run directory: what an agent leaves to its successor on the same boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bramble_agent_core::pod_worker::PodRecord;
use bramble_runtime::whole_file;
use bramble_shared::link::{Accepted, Peer, Service};

/// First byte of a record; another one means another version, whose pods start afresh.
const VERSION: u8 = 4;

/// Writes a pod's record.
///
/// # Errors
///
/// When the run directory is full.
pub(crate) fn write(dir: &Path, record: &PodRecord) -> io::Result<()> {
    let bytes = postcard::to_extend(record, vec![VERSION]).map_err(io::Error::other)?;
    whole_file::replace(&path(dir, &record.pod.uid), &bytes, 0o600)
}

/// Removes a pod's record.
pub(crate) fn remove(dir: &Path, uid: &str) {
    if let Err(error) = fs::remove_file(path(dir, uid))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, uid, "a pod's record could not be removed");
    }
}

/// One pod's record.
pub(crate) fn read(dir: &Path, uid: &str) -> Option<PodRecord> {
    // The uid comes from the master; it must not name another file.
    if uid.contains('/') {
        return None;
    }
    decode(&fs::read(path(dir, uid)).ok()?)
}

/// All records; a damaged one is told and left out, so its pod is cleaned up.
pub(crate) fn read_all(dir: &Path) -> Vec<PodRecord> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut records: Vec<PodRecord> = Vec::new();
    for entry in entries.flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "pod") {
            continue;
        }
        match fs::read(entry.path()).ok().and_then(|bytes| decode(&bytes)) {
            Some(record) => records.push(record),
            None => tracing::warn!(path = %entry.path().display(), "a pod's record is damaged"),
        }
    }
    records.sort_by(|a, b| a.pod.uid.cmp(&b.pod.uid));
    records
}

/// Keeps what the master said last, so that an agent can start without it.
///
/// # Errors
///
/// When the run directory is full.
pub(crate) fn write_accepted(dir: &Path, accepted: &Accepted) -> io::Result<()> {
    let bytes = postcard::to_extend(accepted, vec![VERSION]).map_err(io::Error::other)?;
    whole_file::replace(&dir.join("accepted"), &bytes, 0o600)
}

/// What the master said last on this boot.
pub(crate) fn read_accepted(dir: &Path) -> Option<Accepted> {
    decode(&fs::read(dir.join("accepted")).ok()?)
}

/// Keeps Services and peers, so that an agent can start without the master.
///
/// # Errors
///
/// When the run directory is full.
pub(crate) fn write_cluster(
    dir: &Path,
    services: Vec<&Service>,
    peers: Vec<&Peer>,
) -> io::Result<()> {
    let bytes = postcard::to_extend(&(services, peers), vec![VERSION]).map_err(io::Error::other)?;
    whole_file::replace(&dir.join("cluster"), &bytes, 0o600)
}

/// Services and peers as they were known last on this boot.
pub(crate) fn read_cluster(dir: &Path) -> Option<(Vec<Service>, Vec<Peer>)> {
    decode(&fs::read(dir.join("cluster")).ok()?)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first()? {
        (&VERSION, body) => postcard::from_bytes(body).ok(),
        _ => None,
    }
}

fn path(dir: &Path, uid: &str) -> PathBuf {
    dir.join(format!("{uid}.pod"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_agent_core::moment::Moment;
    use bramble_agent_core::pod_worker::{PodWorker, example::pod};
    use embassy_time::Instant;

    #[test]
    fn what_is_known_of_the_cluster_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_cluster(folder.path()), None);
        let service = Service { name: "web".to_owned(), ..Service::default() };
        write_cluster(folder.path(), vec![&service], vec![]).unwrap();
        assert_eq!(read_cluster(folder.path()), Some((vec![service], vec![])));
    }

    #[test]
    fn records_are_read_back_and_damaged_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let now = Moment { instant: Instant::from_millis(7), time_of_day_ms: 9 };
        let (worker, _) = PodWorker::new(pod(), now);
        write(folder.path(), &worker.record()).unwrap();
        fs::write(folder.path().join("broken.pod"), [VERSION, 1, 2]).unwrap();
        fs::write(folder.path().join("newer.pod"), [VERSION + 1]).unwrap();
        assert_eq!(read_all(folder.path()), [worker.record()]);
        remove(folder.path(), "u1");
        assert_eq!(read_all(folder.path()), []);
    }
}
