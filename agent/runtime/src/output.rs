//! A container's output on its way from its pipes to its log file.
//!
//! The runtime process appends records to small files in the run directory (RAM), the log writer
//! takes them from there and removes what it has written. Either may be killed at any time: what
//! was appended stays. Nothing here touches a disk.
//!
//! ```text
//! output/{id}/target      path of the log file
//!             0000.seg    records: stream u8 | time u64 | length u32 | bytes
//!             0001.seg
//!             ended       nothing will be appended any more
//!             position    how far the log writer came
//!             newest.log  newest lines, while the disk is to have no more of them
//! ```

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Which of a container's streams.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// The appending side, in the runtime process.
#[derive(Debug)]
pub(crate) struct OutputRing {
    directory: PathBuf,
    segments: VecDeque<Segment>,
    file: Option<File>,
    next: u64,
    budget: u64,
    lost: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    len: u64,
}

/// Parts that a budget is divided into; the oldest part is what goes first.
const SEGMENTS: u64 = 4;

/// Smallest budget in bytes: each segment must hold one read of a pipe.
const BUDGET_MIN: u64 = 128 * 1024;

/// Lines that the log writer keeps here instead of on the disk.
pub(crate) const NEWEST_LOG: &str = "newest.log";

/// Bytes in front of a record's data.
const HEADER_LEN: usize = 13;

impl OutputRing {
    /// Makes the directory of a new container.
    pub(crate) fn create(directory: PathBuf, target: &str, budget: u32) -> io::Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("target"), target)?;
        Ok(Self::new(directory, budget, VecDeque::new()))
    }

    /// Continues after an earlier runtime process.
    pub(crate) fn resume(directory: PathBuf, budget: u32) -> io::Result<Self> {
        let segments = segments(&directory)?
            .into_iter()
            .map(|number| {
                let len =
                    fs::metadata(segment_path(&directory, number)).map_or(0, |meta| meta.len());
                Segment { number, len }
            })
            .collect();
        Ok(Self::new(directory, budget, segments))
    }

    fn new(directory: PathBuf, budget: u32, segments: VecDeque<Segment>) -> Self {
        // A fresh segment: the last one may end in a part of a record. Time keeps the number
        // above that of any segment that was taken and removed in between.
        let next = segments.back().map_or(0, |last| last.number + 1);
        let written = fs::read(directory.join("next"))
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        Self {
            directory,
            segments,
            file: None,
            next: next.max(written),
            budget: u64::from(budget).max(BUDGET_MIN),
            lost: 0,
        }
    }

    /// Returns whether another read would not fit; looks first what was taken in between.
    pub(crate) fn full(&mut self, read_len: u64) -> bool {
        if self.held() + read_len <= self.budget {
            return false;
        }
        let directory = &self.directory;
        let current = self.next.checked_sub(1).filter(|_| self.file.is_some());
        self.segments.retain(|segment| {
            Some(segment.number) == current || segment_path(directory, segment.number).exists()
        });
        self.held() + read_len > self.budget
    }

    /// Drops the oldest segment; returns the bytes lost by it.
    pub(crate) fn drop_oldest(&mut self) -> u64 {
        let Some(segment) = self.segments.pop_front() else { return 0 };
        if self.segments.is_empty() {
            self.file = None;
        }
        let lost = match fs::remove_file(segment_path(&self.directory, segment.number)) {
            Ok(()) => segment.len,
            // It was taken after all.
            Err(_) => 0,
        };
        self.lost += lost;
        lost
    }

    /// Bytes dropped so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends what was read from a stream.
    pub(crate) fn append(&mut self, stream: Stream, at_us: u64, data: &[u8]) -> io::Result<()> {
        let Ok(len) = u32::try_from(data.len()) else {
            return Err(io::Error::other("a record is too long"));
        };
        let limit = self.budget / SEGMENTS;
        if self.segments.back().is_none_or(|last| last.len >= limit) {
            self.file = None;
        }
        if self.file.is_none() {
            let number = self.next;
            fs::write(self.directory.join("next"), (number + 1).to_le_bytes())?;
            self.file = Some(File::create(segment_path(&self.directory, number))?);
            self.next = number + 1;
            self.segments.push_back(Segment { number, len: 0 });
        }
        let mut record = Vec::with_capacity(HEADER_LEN + data.len());
        record.push(stream.code());
        record.extend_from_slice(&at_us.to_le_bytes());
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(data);
        if let Some(file) = &mut self.file {
            file.write_all(&record)?;
        }
        if let Some(last) = self.segments.back_mut() {
            last.len += u64::try_from(record.len()).unwrap_or(0);
        }
        Ok(())
    }

    /// Tells the log writer that nothing more comes.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.file = None;
        fs::write(self.directory.join("ended"), [])
    }

    fn held(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}

/// One record of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) stream: Stream,
    pub(crate) at_us: u64,
    pub(crate) data: Vec<u8>,
}

/// Returns the numbers of the segments in a directory, oldest first.
pub(crate) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns the path of a segment.
pub(crate) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.seg"))
}

/// Reads records from the start of `bytes` and returns how many bytes they took.
///
/// A record whose end is missing is left for later, unless `complete` says that nothing will be
/// added to the segment: then what is there of it counts.
pub(crate) fn read_records(bytes: &[u8], complete: bool) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut taken = 0;
    while let Some((record, len)) = read_record(bytes.get(taken..).unwrap_or_default(), complete) {
        records.push(record);
        taken += len;
    }
    if complete {
        taken = bytes.len();
    }
    (records, taken)
}

fn read_record(bytes: &[u8], complete: bool) -> Option<(Record, usize)> {
    let (&code, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let data = match rest.get(..len) {
        Some(whole) => whole,
        None if complete && !rest.is_empty() => rest,
        None => return None,
    };
    let record = Record {
        stream: Stream::from_code(code)?,
        at_us: u64::from_le_bytes(*time),
        data: data.to_vec(),
    };
    Some((record, HEADER_LEN + data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_back_also_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("web");
        let mut ring = OutputRing::create(directory.clone(), "/logs/web", 0).unwrap();
        ring.append(Stream::Stdout, 1, b"one\n").unwrap();
        drop(ring);
        let mut ring = OutputRing::resume(directory.clone(), 0).unwrap();
        ring.append(Stream::Stderr, 2, b"two\n").unwrap();
        let numbers = segments(&directory).unwrap();
        assert_eq!(numbers, [0, 1]);
        let all: Vec<Record> = numbers
            .iter()
            .flat_map(|&n| read_records(&fs::read(segment_path(&directory, n)).unwrap(), false).0)
            .collect();
        assert_eq!(all[0].data, b"one\n");
        assert_eq!((all[1].stream, all[1].at_us), (Stream::Stderr, 2));
    }

    #[test]
    fn a_full_ring_says_so_until_something_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("web");
        let mut ring = OutputRing::create(directory.clone(), "/logs/web", 0).unwrap();
        let chunk = vec![b'x'; 16 * 1024];
        while !ring.full(16 * 1024) {
            ring.append(Stream::Stdout, 1, &chunk).unwrap();
        }
        fs::remove_file(segment_path(&directory, 0)).unwrap();
        assert!(!ring.full(16 * 1024));
        while !ring.full(16 * 1024) {
            ring.append(Stream::Stdout, 1, &chunk).unwrap();
        }
        assert!(ring.drop_oldest() >= 32 * 1024);
        assert!(!ring.full(16 * 1024));
        assert!(ring.lost() > 0);
    }

    #[test]
    fn a_cut_record_waits_or_counts_as_far_as_it_goes() {
        let mut bytes = vec![1];
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(b"ab");
        assert_eq!(read_records(&bytes, false), (Vec::new(), 0));
        let (records, taken) = read_records(&bytes, true);
        assert_eq!((records[0].data.as_slice(), taken), (b"ab".as_slice(), bytes.len()));
    }
}
