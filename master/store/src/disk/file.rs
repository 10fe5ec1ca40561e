//! The file of a store: creating it, opening it, appending to it, and writing it anew.
//!
//! ```text
//! header | base: all entries at one moment | commit | commit | ... | zeros
//! ```
//! When the commits outgrow the base, a new file is begun with the entries as they are now, gets
//! the commits that were made meanwhile, and takes the old one's name. So at every moment the name
//! stands for one whole file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::errors::{CreateStoreError, OpenStoreError};
use super::frame::{Body, SECTOR};
use super::header::Header;
use super::medium::{DiskFile, Medium};
use super::replay::replay;
use crate::{KeyValue, Revision};

/// The file's length is raised by this much at a time: large, so that it is seldom, and sparse, so
/// that it costs nothing.
const GROW_BYTES: u64 = 1 << 20;
/// Commits of fewer bytes are not worth a new base.
const COMPACT_BYTES_MIN: u64 = 4 << 20;
/// Entries of a base are written in frames of about this size, to bound what is held for them.
const BASE_FRAME_BYTES: usize = 64 << 10;
/// Read ahead while the log is replayed.
const READ_BYTES: usize = 64 << 10;

/// Revisions handed out between two notes of it in the file. Large, so that an idle cluster, whose
/// leases use some 100,000 a day, writes nothing for them for days; 2^64 lasts for 10^13 starts.
pub(super) const RESERVE_BLOCK: Revision = 1_000_000;

/// All that the file says.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entries: Vec<KeyValue>,
    /// Above every revision that was handed out before.
    pub(super) revision: Revision,
    /// Up to here revisions can be handed out without a commit.
    pub(super) reserved: Revision,
    pub(super) log: Log,
}

/// A log that is open for appending.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    medium: Box<dyn Medium>,
    header: Header,
    capacity: u64,
    /// A new base is written when the log is longer than this.
    base_due: u64,
    end: u64,
    sequence: u64,
    /// Whether the last frame says that all is whole.
    closed: bool,
    /// Whether the file says how long it must be.
    capacity_noted: bool,
}

/// A new file whose base is written, and where the commits that it lacks begin in the old one.
#[derive(Debug)]
pub(super) struct Based {
    path: PathBuf,
    file: File,
    header: Header,
    base_end: u64,
    missing_from: u64,
}

/// What a new base is written from.
#[derive(Debug)]
pub(super) struct Base {
    path: PathBuf,
    header: Header,
    missing_from: u64,
    sequence: u64,
    reserved: Revision,
    entries: Vec<KeyValue>,
}

impl Log {
    /// A log on another medium, as if it had been made there.
    #[cfg(test)]
    pub(super) fn on(medium: Box<dyn Medium>) -> Self {
        let cluster = String::new();
        let header = Header { salt: 1, capacity: GROW_BYTES, cluster };
        let start = u64::try_from(SECTOR).unwrap_or(u64::MAX);
        Self {
            path: PathBuf::new(),
            medium,
            header,
            capacity: GROW_BYTES,
            base_due: base_due(start),
            end: start,
            sequence: 1,
            closed: false,
            capacity_noted: true,
        }
    }
}

/// Makes an empty store. It appears under its name only once it is whole and on the disk.
pub(super) fn create(path: &Path, cluster_id: &str, salt: u64) -> Result<(), CreateStoreError> {
    let create_file = |source| CreateStoreError::CreateFile { path: path.to_owned(), source };
    if path.try_exists().map_err(create_file)? {
        return Err(CreateStoreError::Exists { path: path.to_owned() });
    }
    let base = Base {
        path: path.to_owned(),
        header: Header { salt, capacity: GROW_BYTES, cluster: cluster_id.to_owned() },
        missing_from: 0,
        sequence: 1,
        reserved: 0,
        entries: Vec::new(),
    };
    base.write().and_then(|based| based.take_name()).map_err(create_file)
}

/// Opens and checks a store, reads all of it, and reserves the first revisions.
pub(super) fn open(path: &Path, cluster_id: &str) -> Result<Loaded, OpenStoreError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = opened.map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            return OpenStoreError::Missing { path: path.to_owned() };
        }
        OpenStoreError::OpenFile { path: path.to_owned(), source }
    })?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenStoreError::InUse { path: path.to_owned() },
        TryLockError::Error(source) => OpenStoreError::OpenFile { path: path.to_owned(), source },
    })?;
    let access = |source| OpenStoreError::access(path, source);
    // What a cut left of a new base.
    remove(&unfinished(path)).map_err(access)?;
    let len = file.metadata().map_err(access)?.len();
    let replayed = replay(BufReader::with_capacity(READ_BYTES, &file), len, path, cluster_id)?;
    let mut medium: Box<dyn Medium> = Box::new(DiskFile::new(file, path));
    if replayed.torn_end > replayed.end {
        tracing::warn!(
            bytes = replayed.torn_end - replayed.end,
            "the last commit was cut off before anybody was told of it"
        );
        erase(medium.as_mut(), replayed.end, replayed.torn_end).map_err(access)?;
    }
    // One above: a client may have seen every revision of the block, and then rightly holds that
    // nothing is between it and the last one. Reports that were lost are.
    let revision = replayed.reserved + 1;
    let reserved = revision + RESERVE_BLOCK;
    let mut log = Log {
        path: path.to_owned(),
        medium,
        header: replayed.header,
        capacity: replayed.capacity,
        base_due: base_due(replayed.base_end),
        end: replayed.end,
        sequence: replayed.sequence,
        closed: false,
        capacity_noted: true,
    };
    let mut body = Body::new();
    body.reserved(reserved);
    log.append(body).map_err(access)?;
    Ok(Loaded { entries: replayed.entries.into_values().collect(), revision, reserved, log })
}

/// Overwrites what a torn commit left, so that it cannot be taken for part of a later one.
fn erase(medium: &mut dyn Medium, from: u64, to: u64) -> io::Result<()> {
    let sector = u64::try_from(SECTOR).unwrap_or(u64::MAX);
    let len = (to - from).next_multiple_of(sector);
    medium.write_at(&vec![0; usize::try_from(len).unwrap_or(usize::MAX)], from)?;
    medium.sync()
}

impl Log {
    /// Writes a commit; it is durable on return. After an error nobody knows what the disk holds.
    pub(super) fn append(&mut self, mut body: Body) -> io::Result<()> {
        // One sector more than it takes now: a row may be added yet.
        let needed = self.end + u64::try_from(body.frame_len() + SECTOR).unwrap_or(u64::MAX);
        if needed > self.capacity {
            self.capacity = needed.next_multiple_of(GROW_BYTES) + GROW_BYTES;
            self.medium.set_len(self.capacity)?;
            self.capacity_noted = false;
        }
        if !self.capacity_noted {
            body.capacity(self.capacity);
        }
        let frame = body.seal(self.header.salt, self.sequence);
        self.medium.write_at(&frame, self.end)?;
        self.medium.sync()?;
        self.end += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.sequence += 1;
        (self.closed, self.capacity_noted) = (false, true);
        Ok(())
    }

    /// Notes that nothing is missing, so that damage of the last commit is not taken for a cut.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut body = Body::new();
        body.closed();
        self.append(body)?;
        self.closed = true;
        Ok(())
    }

    /// Whether the commits have outgrown the base. So twice as many bytes are written, at most, as
    /// without bases.
    pub(super) fn outgrown(&self) -> bool {
        self.end > self.base_due
    }

    /// Gives up on a new base for now.
    pub(super) fn postpone_base(&mut self) {
        self.base_due = self.end + COMPACT_BYTES_MIN;
    }

    /// What a new base is made of, given the entries as this log has them now.
    pub(super) fn base(&self, entries: Vec<KeyValue>, reserved: Revision) -> Base {
        Base {
            path: self.path.clone(),
            header: self.header.clone(),
            missing_from: self.end,
            sequence: self.sequence,
            reserved,
            entries,
        }
    }

    /// Goes on in a new file, after what was committed since its base was taken.
    pub(super) fn move_to(&mut self, mut based: Based) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let (mut from, mut to) = (based.missing_from, based.base_end);
        while from < self.end {
            let left = usize::try_from(self.end - from).unwrap_or(usize::MAX);
            let part = bytes.get_mut(..left.min(READ_BYTES)).unwrap_or_default();
            self.medium.read_at(part, from)?;
            based.file.write_all(part)?;
            let read = u64::try_from(part.len()).unwrap_or(u64::MAX);
            (from, to) = (from + read, to + read);
        }
        // Rows in it may speak of the old file's length, so the new one has at least that.
        let capacity = self.capacity.max(to.next_multiple_of(GROW_BYTES) + GROW_BYTES);
        based.file.set_len(capacity)?;
        let (path, base_end, header) = (based.path.clone(), based.base_end, based.header.clone());
        let file = based.file.try_clone()?;
        based.take_name()?;
        self.medium = Box::new(DiskFile::new(file, &path));
        (self.header, self.end, self.capacity) = (header, to, capacity);
        self.base_due = base_due(base_end);
        self.capacity_noted = false;
        Ok(())
    }
}

impl Base {
    /// Writes the base into a file beside the log; takes a while, on whatever thread.
    pub(super) fn write(self) -> io::Result<Based> {
        let unfinished = unfinished(&self.path);
        remove(&unfinished)?;
        // Secrets of the cluster are in it.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        // Whoever opens the file by its name later finds it in use.
        file.lock()?;
        let salt = self.header.salt;
        let header = Header { capacity: GROW_BYTES, ..self.header };
        file.write_all(&header.encode())?;
        let mut base_end = u64::try_from(SECTOR).unwrap_or(u64::MAX);
        let mut sequence = 0;
        let mut body = Body::new();
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        for entry in self.entries {
            body.put(&entry);
            if body.frame_len() >= BASE_FRAME_BYTES {
                let frame = std::mem::replace(&mut body, Body::new()).seal(salt, sequence);
                file.write_all(&frame)?;
                base_end += u64::try_from(frame.len()).unwrap_or(u64::MAX);
                sequence += 1;
            }
        }
        body.reserved(self.reserved);
        body.based(count, self.sequence);
        let frame = body.seal(salt, sequence);
        file.write_all(&frame)?;
        base_end += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        if base_end < GROW_BYTES {
            file.set_len(GROW_BYTES)?;
        }
        file.sync_all()?;
        let missing_from = self.missing_from;
        Ok(Based { path: self.path, file, header, base_end, missing_from })
    }
}

impl Based {
    /// Makes the new file durable under the log's name.
    fn take_name(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(unfinished(&self.path), &self.path)?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

fn base_due(base_end: u64) -> u64 {
    base_end + base_end.max(COMPACT_BYTES_MIN)
}

/// Name of a new file until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

/// Removes a file if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
