//! Reads a log from its start to its end, and tells a commit that a cut tore from damage.
//!
//! After a cut the last frame may be there in part: nobody was told that it is stored, so it is
//! dropped. A frame that is not whole while whole ones follow was so before: the file is damaged,
//! and nothing of it is served.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::errors::OpenStoreError;
use super::frame::{HEAD_LEN, Head, Row, SECTOR, take_row};
use super::header::Header;
use crate::{KeyValue, Revision};

/// All that a log says.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) header: Header,
    pub(super) entries: BTreeMap<Arc<str>, KeyValue>,
    /// Revisions up to this may have been handed out.
    pub(super) reserved: Revision,
    /// Length that the file must have.
    pub(super) capacity: u64,
    /// Where the base ends.
    pub(super) base_end: u64,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// Number of the next frame.
    pub(super) sequence: u64,
    /// A torn frame begins at `end`, and has left bytes up to this; `end` if there is none.
    pub(super) torn_end: u64,
}

/// Where replaying stands.
struct Replay<'a> {
    path: &'a Path,
    replayed: Replayed,
    based: bool,
}

/// Reads the file at `path`, which is `len` bytes long.
pub(super) fn replay(
    mut file: impl Read,
    len: u64,
    path: &Path,
    cluster_id: &str,
) -> Result<Replayed, OpenStoreError> {
    let read_error = |source| OpenStoreError::access(path, source);
    let mut sector = Vec::new();
    file.by_ref()
        .take(u64::try_from(SECTOR).unwrap_or(u64::MAX))
        .read_to_end(&mut sector)
        .map_err(read_error)?;
    let header = Header::decode(&sector, path)?;
    if header.cluster != cluster_id {
        return Err(OpenStoreError::OtherCluster {
            path: path.to_owned(),
            found: header.cluster,
            expected: cluster_id.to_owned(),
        });
    }
    let (salt, capacity) = (header.salt, header.capacity);
    let start = u64::try_from(SECTOR).unwrap_or(u64::MAX);
    let mut replay = Replay {
        path,
        replayed: Replayed {
            header,
            entries: BTreeMap::new(),
            reserved: 0,
            capacity,
            base_end: 0,
            end: start,
            sequence: 0,
            torn_end: start,
        },
        based: false,
    };
    let mut frame = Vec::new();
    while let Some(head) = next_frame(&mut file, &mut frame, salt).map_err(read_error)? {
        let body = frame.get(HEAD_LEN..HEAD_LEN + head.len).unwrap_or_default();
        replay.take_frame(head, body)?;
    }
    // What could not be read as a frame, and everything after it.
    file.read_to_end(&mut frame).map_err(read_error)?;
    replay.finish(&frame, len)
}

/// Reads one frame into `frame`; none if the next bytes are not a whole one, which are then left
/// in `frame`.
fn next_frame(file: &mut impl Read, frame: &mut Vec<u8>, salt: u64) -> io::Result<Option<Head>> {
    frame.clear();
    let sector = u64::try_from(SECTOR).unwrap_or(u64::MAX);
    file.by_ref().take(sector).read_to_end(frame)?;
    let Some(head) = Head::decode(frame, salt) else { return Ok(None) };
    let rest = head.frame_len().saturating_sub(frame.len());
    file.by_ref().take(u64::try_from(rest).unwrap_or(u64::MAX)).read_to_end(frame)?;
    let whole = frame.len() == head.frame_len()
        && frame.get(HEAD_LEN..HEAD_LEN + head.len).is_some_and(|body| head.is_of(body, salt));
    Ok(whole.then_some(head))
}

impl Replay<'_> {
    fn take_frame(&mut self, head: Head, body: &[u8]) -> Result<(), OpenStoreError> {
        let replayed = &mut self.replayed;
        let damaged = |reason: &str| OpenStoreError::damaged(self.path, reason);
        if head.sequence != replayed.sequence {
            return Err(damaged("a commit is missing"));
        }
        replayed.sequence += 1;
        replayed.end += u64::try_from(head.frame_len()).unwrap_or(u64::MAX);
        let mut rows = body;
        while !rows.is_empty() {
            match take_row(&mut rows).ok_or_else(|| damaged("a row makes no sense"))? {
                Row::Put(entry) => {
                    replayed.entries.insert(Arc::clone(&entry.key), entry);
                }
                Row::Delete(key) => {
                    replayed.entries.remove(&key);
                }
                Row::Reserved(revision) => replayed.reserved = revision,
                Row::Capacity(len) => replayed.capacity = len,
                Row::Based { entries, sequence } => {
                    let found = u64::try_from(replayed.entries.len()).unwrap_or(u64::MAX);
                    if entries != found {
                        return Err(damaged("entries of its base are missing"));
                    }
                    self.based = true;
                    replayed.sequence = sequence;
                    replayed.base_end = replayed.end;
                }
                Row::Closed => {}
            }
        }
        Ok(())
    }

    fn finish(self, rest: &[u8], len: u64) -> Result<Replayed, OpenStoreError> {
        let Self { path, mut replayed, based } = self;
        // A base is complete before its file gets its name.
        if !based {
            return Err(OpenStoreError::damaged(path, "its base is not whole"));
        }
        if len < replayed.capacity {
            let reason = format!("{len} of {} bytes are there", replayed.capacity);
            return Err(OpenStoreError::damaged(path, reason));
        }
        let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if torn > 0 && holds_whole_frame(rest.get(SECTOR..torn), replayed.header.salt) {
            let reason = format!("a commit at byte {} is not whole", replayed.end);
            return Err(OpenStoreError::damaged(path, reason));
        }
        replayed.torn_end = replayed.end + u64::try_from(torn).unwrap_or(u64::MAX);
        Ok(replayed)
    }
}

fn holds_whole_frame(bytes: Option<&[u8]>, salt: u64) -> bool {
    let bytes = bytes.unwrap_or_default();
    (0..bytes.len()).step_by(SECTOR).filter_map(|at| bytes.get(at..)).any(|bytes| {
        Head::decode(bytes, salt).is_some_and(|head| {
            bytes.get(HEAD_LEN..HEAD_LEN + head.len).is_some_and(|body| head.is_of(body, salt))
        })
    })
}
