//! Reads the log files of containers, for the agent.
//!
//! Knows the CRI log format and rotation; neither writes nor waits. Following is polling: call
//! [`LogFollower::poll`] every now and then.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::log_writer::rotated_path;
use crate::timestamp;

/// Returns the log file of one run of a container: `{data}/logs/{ns}_{pod}_{uid}/{container}/{n}.log`.
#[must_use]
pub fn log_file(
    data: &Path,
    namespace: &str,
    pod: &str,
    uid: &str,
    container: &str,
    restart: u32,
) -> PathBuf {
    log_directory(data, namespace, pod, uid).join(container).join(format!("{restart}.log"))
}

/// Returns the directory of all log files of a pod.
#[must_use]
pub fn log_directory(data: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    data.join("logs").join(format!("{namespace}_{pod}_{uid}"))
}

/// Which part of a log is wanted, in the words of Kubernetes' API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines of this time or later, in microseconds since 1970.
    pub since_us: Option<u64>,
    /// Most bytes to return.
    pub limit_bytes: Option<u64>,
    /// Puts the time in front of each line.
    pub timestamps: bool,
}

/// Reads a log as the user wants to see it; a container that wrote nothing has an empty one.
///
/// # Errors
/// When a log file is there but cannot be read.
pub fn read(file: &Path, options: &LogOptions) -> io::Result<Vec<u8>> {
    LogFollower::open(file, options)?.poll()
}

/// Reads a log from where its options say, and then what is added to it.
#[derive(Debug)]
pub struct LogFollower {
    path: PathBuf,
    options: LogOptions,
    /// The first of it, already decoded.
    ready: Vec<u8>,
    left: Option<u64>,
    file: Option<File>,
    /// Bytes that do not make a whole log line yet.
    rest: Vec<u8>,
    in_line: bool,
}

/// Most rotated files that are looked for.
const ROTATED_MAX: u32 = 16;

impl LogFollower {
    /// Opens a log, rotated files included.
    ///
    /// # Errors
    /// When a log file is there but cannot be read.
    pub fn open(path: &Path, options: &LogOptions) -> io::Result<Self> {
        let mut follower = Self {
            path: path.to_owned(),
            options: options.clone(),
            ready: Vec::new(),
            left: options.limit_bytes,
            file: None,
            rest: Vec::new(),
            in_line: false,
        };
        follower.ready = follower.read_from_start()?;
        Ok(follower)
    }

    /// Returns what was added since the last call, decoded.
    ///
    /// # Errors
    /// When the log file cannot be read.
    pub fn poll(&mut self) -> io::Result<Vec<u8>> {
        let mut decoded = std::mem::take(&mut self.ready);
        loop {
            let added = self.read_added()?;
            let lines = self.decode(&added);
            decoded.extend(lines);
            // All of a rotated file was read, so its successor is next.
            if !self.switch_to_successor()? {
                break;
            }
        }
        if let Some(left) = &mut self.left {
            decoded.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= u64::try_from(decoded.len()).unwrap_or(0).min(*left);
        }
        Ok(decoded)
    }

    /// Whether the byte limit is used up: nothing more will come.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.left == Some(0)
    }

    fn read_from_start(&mut self) -> io::Result<Vec<u8>> {
        self.file = open_if_there(&self.path)?;
        let mut current = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut current)?;
        }
        let whole = current.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.rest = current.split_off(whole);
        let wanted = self.options.tail_lines;
        let mut pieces = vec![current];
        for number in 1..=ROTATED_MAX {
            let enough = wanted.is_some_and(|lines| {
                pieces.iter().map(|piece| whole_lines(piece)).sum::<u64>() > lines
            });
            if enough {
                break;
            }
            match fs::read(rotated_path(&self.path, number)) {
                Ok(piece) => pieces.push(piece),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        pieces.reverse();
        let all = pieces.concat();
        let from = wanted.map_or(0, |lines| start_of_tail(&all, lines));
        let mut decoded = Vec::new();
        for line in all.get(from..).unwrap_or_default().split_inclusive(|&byte| byte == b'\n') {
            self.decode_line(line, &mut decoded);
        }
        Ok(decoded)
    }

    fn read_added(&mut self) -> io::Result<Vec<u8>> {
        if self.file.is_none() {
            self.file = open_if_there(&self.path)?;
        }
        let mut added = Vec::new();
        if let Some(file) = &mut self.file {
            let (at, len) = (file.stream_position()?, file.metadata()?.len());
            if len < at {
                // Cut back by a log writer that was killed; it writes the same again, so what
                // was shown once is skipped until the file is longer.
                return Ok(added);
            }
            file.read_to_end(&mut added)?;
        }
        Ok(added)
    }

    fn switch_to_successor(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let Some(mut current) = open_if_there(&self.path)? else { return Ok(false) };
        if current.metadata()?.ino() == file.metadata()?.ino() {
            return Ok(false);
        }
        current.seek(SeekFrom::Start(0))?;
        self.file = Some(current);
        self.rest.clear();
        Ok(true)
    }

    fn decode(&mut self, added: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(added);
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        let mut decoded = Vec::new();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.decode_line(line, &mut decoded);
        }
        decoded
    }

    /// Decodes `time stream tag text`; anything else is not ours and left out.
    fn decode_line(&mut self, line: &[u8], decoded: &mut Vec<u8>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let (Some(time), Some(_stream), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        let time = std::str::from_utf8(time).unwrap_or_default();
        let Some(at_us) = timestamp::parse(time) else { return };
        if self.options.since_us.is_some_and(|since| at_us < since) {
            return;
        }
        if self.options.timestamps && !self.in_line {
            decoded.extend_from_slice(time.as_bytes());
            decoded.push(b' ');
        }
        decoded.extend_from_slice(text);
        self.in_line = tag == b"P";
        if !self.in_line {
            decoded.push(b'\n');
        }
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a log line is the end of what the container wrote as one line.
fn ends_line(line: &[u8]) -> bool {
    line.splitn(4, |&byte| byte == b' ').nth(2) != Some(b"P")
}

fn whole_lines(piece: &[u8]) -> u64 {
    let lines = piece.split_inclusive(|&byte| byte == b'\n').filter(|line| ends_line(line));
    u64::try_from(lines.count()).unwrap_or(u64::MAX)
}

/// Returns where the last `lines` lines begin.
fn start_of_tail(log: &[u8], lines: u64) -> usize {
    let mut start = log.len();
    let mut seen = 0;
    for line in log.split_inclusive(|&byte| byte == b'\n').rev() {
        if ends_line(line) {
            if seen == lines {
                break;
            }
            seen += 1;
        }
        start -= line.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1970-01-01T00:00:01.000000000Z stdout F one\n\
        1970-01-01T00:00:02.000000000Z stdout P tw\n\
        1970-01-01T00:00:02.000000000Z stdout F o\n\
        1970-01-01T00:00:03.000000000Z stderr F three\n";

    fn check(options: &LogOptions, expected: &str) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        fs::write(&path, LOG).unwrap();
        assert_eq!(String::from_utf8(read(&path, options).unwrap()).unwrap(), expected);
    }

    #[test]
    fn tail_since_limit_and_timestamps() {
        let all = LogOptions::default();
        check(&all, "one\ntwo\nthree\n");
        check(&LogOptions { tail_lines: Some(2), ..all.clone() }, "two\nthree\n");
        check(&LogOptions { tail_lines: Some(0), ..all.clone() }, "");
        check(&LogOptions { tail_lines: Some(9), ..all.clone() }, "one\ntwo\nthree\n");
        check(&LogOptions { since_us: Some(2_000_000), ..all.clone() }, "two\nthree\n");
        check(&LogOptions { limit_bytes: Some(5), ..all.clone() }, "one\nt");
        check(
            &LogOptions { timestamps: true, tail_lines: Some(2), ..all },
            "1970-01-01T00:00:02.000000000Z two\n1970-01-01T00:00:03.000000000Z three\n",
        );
    }

    #[test]
    fn tail_reaches_into_rotated_files() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        fs::write(rotated_path(&path, 2), "1970-01-01T00:00:00.000000000Z stdout F zero\n")
            .unwrap();
        fs::write(rotated_path(&path, 1), LOG).unwrap();
        fs::write(&path, "1970-01-01T00:00:04.000000000Z stdout F four\n").unwrap();
        let options = LogOptions { tail_lines: Some(3), ..LogOptions::default() };
        assert_eq!(read(&path, &options).unwrap(), b"two\nthree\nfour\n");
        let options = LogOptions { tail_lines: Some(99), ..LogOptions::default() };
        assert_eq!(read(&path, &options).unwrap(), b"zero\none\ntwo\nthree\nfour\n");
    }

    #[test]
    fn following_goes_on_over_a_rotation_and_over_half_lines() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        let mut follower = LogFollower::open(&path, &LogOptions::default()).unwrap();
        assert_eq!(follower.poll().unwrap(), b"");
        let (head, tail) = LOG.split_at(60);
        fs::write(&path, head).unwrap();
        assert_eq!(follower.poll().unwrap(), b"one\n");
        fs::write(&path, LOG).unwrap();
        fs::rename(&path, rotated_path(&path, 1)).unwrap();
        fs::write(&path, "1970-01-01T00:00:04.000000000Z stdout F four\n").unwrap();
        assert_eq!(follower.poll().unwrap(), b"two\nthree\nfour\n");
        assert!(!tail.is_empty());
        assert_eq!(follower.poll().unwrap(), b"");
    }
}
