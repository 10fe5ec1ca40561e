//! Moves the output of one container to its log file.
//!
//! Each step reads records, writes lines, notes how far it came, and only then removes what it
//! read. If it is killed in between, the note is older than the file: the file is cut back to
//! the length in the note, and the step is done again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::budget::{Budgets, Grant};
use super::chain::{Bounds, Chain, Place};
use super::lines::OpenLines;
use super::silence::{self, Silence};
use crate::output::{NEWEST_LOG, read_records, segment_path, segments};
use crate::whole_file;

/// One container's output on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    directory: PathBuf,
    directory_inode: u64,
    /// Whose budget it is: the folder of all logs of a pod.
    group: String,
    disk: Chain,
    /// The newest output while the budget is used up.
    memory: Chain,
    position: Position,
}

/// How far the log writer came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The segment that is read, and how far.
    segment: u64,
    offset: u64,
    disk: Place,
    memory: Place,
    open_lines: OpenLines,
    /// Lines that the disk did not take.
    lines_lost: u64,
    /// Set while the budget is used up.
    silence: Option<Silence>,
}

/// What a step is done with.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) bounds: Bounds,
    pub(super) budgets: &'a mut Budgets,
    /// The monotonic clock.
    pub(super) now_ms: u64,
    /// The time of day.
    pub(super) now_us: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// There is more to read.
    pub(super) more: bool,
    /// Everything is written and nothing will come.
    pub(super) finished: bool,
}

/// Most segments read in one step, so that one container does not starve the others.
const STEP_SEGMENTS_MAX: usize = 4;

/// What is kept in memory of a container whose pod's budget is used up: 64 KiB, as much as a
/// kernel keeps of its own messages on a small board, in two files.
const NEWEST: Bounds = Bounds { file_len_max: 32 * 1024, files_max: 2 };

impl Transfer {
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        let target = PathBuf::from(fs::read_to_string(directory.join("target"))?);
        let position = match fs::read(directory.join(POSITION)) {
            Ok(bytes) => postcard::from_bytes(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::default(),
            Err(error) => return Err(error),
        };
        let directory_inode = fs::metadata(&directory)?.ino();
        let folder = target.parent().and_then(Path::parent).and_then(Path::file_name);
        let group = folder.unwrap_or_default().to_string_lossy().into_owned();
        let memory = Chain::new(directory.join(NEWEST_LOG));
        let disk = Chain::new(target);
        Ok(Self { directory, directory_inode, group, disk, memory, position })
    }

    /// Whether the directory is still the one that was opened.
    pub(super) fn current(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|meta| meta.ino() == self.directory_inode)
    }

    /// Moves what is there, within a bound.
    pub(super) fn step(&mut self, means: &mut Means<'_>) -> io::Result<Step> {
        // Looked at first: what was appended before it is seen below.
        let ended = self.directory.join("ended").exists();
        let numbers = segments(&self.directory)?;
        let last = numbers.last().copied();
        let mut log = Vec::new();
        let mut lines = 0;
        let mut next = self.position.clone();
        let mut consumed: Vec<u64> =
            numbers.iter().copied().filter(|&number| number < next.segment).collect();
        let mut taken_any = false;
        let ahead: Vec<u64> =
            numbers.iter().copied().filter(|&number| number >= self.position.segment).collect();
        for &number in ahead.iter().take(STEP_SEGMENTS_MAX) {
            let bytes = match fs::read(segment_path(&self.directory, number)) {
                Ok(bytes) => bytes,
                // Dropped by the runtime process in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if number > next.segment {
                (next.segment, next.offset) = (number, 0);
            }
            let complete = ended || Some(number) != last;
            let from = usize::try_from(next.offset).unwrap_or(usize::MAX);
            let (records, taken) = read_records(bytes.get(from..).unwrap_or_default(), complete);
            for record in &records {
                lines += next.open_lines.push(record.stream, record.at_us, &record.data, &mut log);
            }
            taken_any |= taken > 0;
            next.offset += u64::try_from(taken).unwrap_or(0);
            if complete {
                consumed.push(number);
                (next.segment, next.offset) = (number + 1, 0);
            }
        }
        let more = ahead.len() > STEP_SEGMENTS_MAX;
        let finished = ended && !more;
        if finished {
            lines += next.open_lines.finish(&mut log);
        }
        if taken_any || finished {
            self.place(&mut next, &log, lines, finished, means);
            note(&self.directory, &next)?;
            if self.position.silence.is_some() && next.silence.is_none() {
                // Only now: until the note is there, a successor writes it to the disk again.
                self.memory.remove(NEWEST.files_max);
            }
            self.position = next;
        }
        for number in consumed {
            let _taken = fs::remove_file(segment_path(&self.directory, number));
        }
        if finished {
            fs::remove_dir_all(&self.directory)?;
        }
        Ok(Step { more, finished })
    }

    /// Puts lines where they belong: on the disk, or in memory while the budget is used up.
    fn place(
        &mut self,
        next: &mut Position,
        log: &[u8],
        lines: u64,
        finished: bool,
        means: &mut Means<'_>,
    ) {
        let len = u64::try_from(log.len()).unwrap_or(u64::MAX);
        let grant = match log.is_empty() {
            true => None,
            false => Some(means.budgets.take(&self.group, len, means.now_ms)),
        };
        if let Some(Grant::KeepNewest { left_ms }) = grant {
            if next.silence.is_none() {
                let begins = silence::begins(means.now_us, means.budgets.per_day(), left_ms);
                self.write(next, &begins, 0, means.bounds);
                (next.silence, next.memory) = (Some(Silence::default()), Place::default());
                self.memory.remove(NEWEST.files_max);
            }
            self.keep_newest(next, log, lines);
        }
        let ends = finished || grant == Some(Grant::Write);
        if ends && let Some(silence) = next.silence.take() {
            let mut text = silence.ends(means.now_us);
            text.extend(self.memory.content(NEWEST.files_max));
            self.write(next, &text, 0, means.bounds);
        }
        if grant == Some(Grant::Write) {
            self.write(next, log, lines, means.bounds);
        }
    }

    /// Counts lines and keeps the last of them in memory.
    fn keep_newest(&mut self, next: &mut Position, log: &[u8], lines: u64) {
        let Some(silence) = &mut next.silence else { return };
        silence.count(lines, log.len());
        let newest = last_lines(log, usize::try_from(NEWEST.file_len_max).unwrap_or(usize::MAX));
        let (directory, position) = (&self.directory, &self.position);
        let noted = |memory| note(directory, &Position { memory, ..position.clone() });
        if let Err(error) = self.memory.append(&mut next.memory, newest, NEWEST, noted) {
            tracing::debug!(%error, "the newest output was not kept");
            self.memory.undo(next.memory);
        }
    }

    /// Writes lines to the log file; a disk that does not take them loses them.
    fn write(&mut self, next: &mut Position, log: &[u8], lines: u64, bounds: Bounds) {
        if log.is_empty() {
            return;
        }
        let (directory, position) = (&self.directory, &self.position);
        let noted = |disk| note(directory, &Position { disk, ..position.clone() });
        if let Err(error) = self.disk.append(&mut next.disk, log, bounds, noted) {
            if next.lines_lost == 0 {
                tracing::warn!(file = %self.disk.target().display(), %error, "log lines lost");
            }
            next.lines_lost += lines;
            self.disk.undo(next.disk);
        }
    }
}

fn note(directory: &Path, position: &Position) -> io::Result<()> {
    let bytes = postcard::to_allocvec(position).map_err(io::Error::other)?;
    whole_file::replace(&directory.join(POSITION), &bytes, 0o644)
}

/// The last whole lines of a log that fit.
fn last_lines(log: &[u8], len_max: usize) -> &[u8] {
    // The byte before tells whether a line begins there.
    let Some(from) = log.len().checked_sub(len_max + 1) else { return log };
    let rest = log.get(from..).unwrap_or_default();
    let begins = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    rest.get(begins..).unwrap_or_default()
}

const POSITION: &str = "position";

#[cfg(test)]
mod tests;
