//! Moves the output of one container to its log file.
//!
//! Each step reads records, writes lines, notes how far it came, and only then removes what it
//! read. If it is killed in between, the note is older than the file: the file is cut back to
//! the length in the note, and the step is done again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lines::OpenLines;
use crate::output::{read_records, segment_path, segments};
use crate::whole_file;

/// One container's output on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    directory: PathBuf,
    directory_inode: u64,
    target: PathBuf,
    position: Position,
    file: Option<File>,
}

/// How far the log writer came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The segment that is read, and how far.
    segment: u64,
    offset: u64,
    /// The log file, and its length after the last step.
    file_inode: u64,
    file_len: u64,
    open_lines: OpenLines,
    /// Lines that the disk did not take.
    lines_lost: u64,
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

impl Transfer {
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        let target = PathBuf::from(fs::read_to_string(directory.join("target"))?);
        let position = match fs::read(directory.join(POSITION)) {
            Ok(bytes) => postcard::from_bytes(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::default(),
            Err(error) => return Err(error),
        };
        let directory_inode = fs::metadata(&directory)?.ino();
        Ok(Self { directory, directory_inode, target, position, file: None })
    }

    /// Whether the directory is still the one that was opened.
    pub(super) fn current(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|meta| meta.ino() == self.directory_inode)
    }

    /// Moves what is there, within a bound.
    pub(super) fn step(&mut self, file_len_max: u64, files_max: u32) -> io::Result<Step> {
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
            self.write(&mut next, &log, lines, file_len_max, files_max);
            self.note(&next)?;
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

    /// Writes lines to the log file; a disk that does not take them loses them.
    fn write(
        &mut self,
        next: &mut Position,
        log: &[u8],
        lines: u64,
        file_len_max: u64,
        files_max: u32,
    ) {
        if log.is_empty() {
            return;
        }
        match self.try_write(next, log, file_len_max, files_max) {
            Ok(()) => {}
            Err(error) => {
                if next.lines_lost == 0 {
                    tracing::warn!(file = %self.target.display(), %error, "log lines lost");
                }
                next.lines_lost += lines;
                if let Some(file) = &self.file {
                    let _kept = file.set_len(next.file_len);
                }
                self.file = None;
            }
        }
    }

    fn try_write(
        &mut self,
        next: &mut Position,
        log: &[u8],
        file_len_max: u64,
        files_max: u32,
    ) -> io::Result<()> {
        let len = u64::try_from(log.len()).unwrap_or(u64::MAX);
        self.open_file(next)?;
        if next.file_len > 0 && next.file_len.saturating_add(len) > file_len_max {
            self.file = None;
            rotate(&self.target, files_max)?;
            self.open_file(next)?;
            // Without this note a successor would take the new file for a stranger's.
            let mut rotated = self.position.clone();
            (rotated.file_inode, rotated.file_len) = (next.file_inode, next.file_len);
            self.note(&rotated)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(log, next.file_len)?;
        next.file_len += len;
        Ok(())
    }

    /// Opens the log file and cuts off what an unfinished step left there.
    fn open_file(&mut self, next: &mut Position) -> io::Result<()> {
        let on_disk = fs::metadata(&self.target).ok().map(|meta| meta.ino());
        if self.file.is_some() && on_disk == Some(next.file_inode) {
            return Ok(());
        }
        if let Some(parent) = self.target.parent() {
            fs::create_dir_all(parent)?;
        }
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&self.target)?;
        let meta = file.metadata()?;
        if meta.ino() == next.file_inode {
            if meta.len() > next.file_len {
                file.set_len(next.file_len)?;
            }
            next.file_len = next.file_len.min(meta.len());
        } else {
            // New, or written by somebody else: nothing of it is ours to cut.
            (next.file_inode, next.file_len) = (meta.ino(), meta.len());
            let mut found = self.position.clone();
            (found.file_inode, found.file_len) = (meta.ino(), meta.len());
            self.note(&found)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn note(&self, position: &Position) -> io::Result<()> {
        let bytes = postcard::to_allocvec(position).map_err(io::Error::other)?;
        whole_file::replace(&self.directory.join(POSITION), &bytes, 0o644)
    }
}

const POSITION: &str = "position";

/// Shifts `0.log` to `0.log.1` and so on; the oldest goes.
fn rotate(target: &Path, files_max: u32) -> io::Result<()> {
    let older = files_max.saturating_sub(1);
    if older == 0 {
        return fs::remove_file(target);
    }
    for number in (1..older).rev() {
        match fs::rename(rotated_path(target, number), rotated_path(target, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(target, rotated_path(target, 1))
}

/// Returns the path of a rotated log file; 1 is the youngest.
pub(crate) fn rotated_path(target: &Path, number: u32) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{OutputRing, Stream};

    struct Bench {
        root: tempfile::TempDir,
        ring: OutputRing,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let target = root.path().join("logs/web/0.log");
            let ring =
                OutputRing::create(root.path().join("out"), target.to_str().unwrap(), 0).unwrap();
            Self { root, ring }
        }

        fn say(&mut self, text: &str) {
            self.ring.append(Stream::Stdout, 0, text.as_bytes()).unwrap();
        }

        fn open(&self) -> Transfer {
            Transfer::open(self.root.path().join("out")).unwrap()
        }

        fn texts(&self) -> Vec<String> {
            let target = self.root.path().join("logs/web/0.log");
            let mut all = String::new();
            for number in (1..5).rev() {
                all += &fs::read_to_string(rotated_path(&target, number)).unwrap_or_default();
            }
            all += &fs::read_to_string(&target).unwrap_or_default();
            all.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
        }
    }

    #[test]
    fn lines_arrive_once_and_the_output_goes_when_it_has_ended() {
        let mut bench = Bench::new();
        let mut transfer = bench.open();
        bench.say("a\nb");
        assert!(!transfer.step(1000, 3).unwrap().finished);
        bench.say("c\nd");
        transfer.step(1000, 3).unwrap();
        assert_eq!(bench.texts(), ["a", "bc"]);
        bench.ring.end().unwrap();
        assert!(transfer.step(1000, 3).unwrap().finished);
        assert_eq!(bench.texts(), ["a", "bc", "d"]);
        assert!(!bench.root.path().join("out").exists());
    }

    #[test]
    fn a_successor_repeats_nothing_even_if_the_note_was_not_written() {
        let mut bench = Bench::new();
        bench.say("a\nb");
        bench.open().step(1000, 3).unwrap();
        let noted = fs::read(bench.root.path().join("out/position")).unwrap();
        bench.say("c\nd\n");
        bench.open().step(1000, 3).unwrap();
        // Killed after the lines were written and before the note was.
        fs::write(bench.root.path().join("out/position"), noted).unwrap();
        bench.say("e\n");
        bench.open().step(1000, 3).unwrap();
        assert_eq!(bench.texts(), ["a", "bc", "d", "e"]);
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let mut bench = Bench::new();
        let mut transfer = bench.open();
        for number in 0..6 {
            bench.say(&format!("{number}\n"));
            transfer.step(60, 3).unwrap();
        }
        assert_eq!(bench.texts(), ["3", "4", "5"]);
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_lines_and_blocks_nobody() {
        let mut bench = Bench::new();
        fs::write(bench.root.path().join("logs"), "in the way").unwrap();
        let mut transfer = bench.open();
        bench.say("a\nb\n");
        assert!(!transfer.step(1000, 3).unwrap().more);
        assert_eq!(transfer.position.lines_lost, 2);
        fs::remove_file(bench.root.path().join("logs")).unwrap();
        bench.say("c\n");
        transfer.step(1000, 3).unwrap();
        assert_eq!(bench.texts(), ["c"]);
    }
}
