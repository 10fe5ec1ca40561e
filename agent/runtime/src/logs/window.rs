//! Reads one log file forwards, a window at a time, and gives out its whole lines.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::line::PREFIX_LEN_MAX;
use super::parts::LogPart;
use crate::log_writer::TEXT_LEN_MAX;

/// Length of the window, in bytes. All that a reader that waits keeps of a log.
pub(super) const WINDOW_LEN: usize = 32 * 1024;
const _: () = assert!(
    WINDOW_LEN > TEXT_LEN_MAX + PREFIX_LEN_MAX + 1,
    "a window must hold the longest line that the log writer makes"
);

/// A place in a log file.
#[derive(Debug)]
pub(super) struct Window {
    part: LogPart,
    /// Where in the file the window ends.
    at: u64,
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that were given out.
    taken: usize,
    /// In a line that is longer than the window, so not the log writer's.
    skipping: bool,
}

impl Window {
    pub(super) fn new(part: LogPart, at: u64) -> Self {
        Self { part, at, buffer: Vec::new(), taken: 0, skipping: false }
    }

    pub(super) fn part(&self) -> &LogPart {
        &self.part
    }

    /// Reads on; returns whether there was anything.
    ///
    /// A log writer that was killed may cut the file back behind the window; it writes the same
    /// again, so nothing is read until the file is longer than it was.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.len() >= WINDOW_LEN {
            self.buffer.clear();
            self.skipping = true;
        }
        let kept = self.buffer.len();
        self.buffer.resize(WINDOW_LEN, 0);
        let room = self.buffer.get_mut(kept..).unwrap_or_default();
        let read = self.part.file.read_at(room, self.at);
        self.buffer.truncate(kept + read.as_ref().copied().unwrap_or(0));
        let len = read?;
        self.at = self.at.saturating_add(u64::try_from(len).unwrap_or(0));
        if self.buffer.is_empty() {
            // A log that is followed for days and says nothing needs no room.
            self.buffer = Vec::new();
        }
        Ok(len > 0)
    }

    /// The next whole line of the window, without its end.
    pub(super) fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let from = self.taken;
            let rest = self.buffer.get(from..)?;
            let end = from + rest.iter().position(|&byte| byte == b'\n')?;
            self.taken = end + 1;
            if !std::mem::take(&mut self.skipping) {
                return self.buffer.get(from..end);
            }
        }
    }

    /// Where in the file its lines that were given out end.
    pub(super) fn end_of_lines(&self) -> u64 {
        let waiting = self.buffer.len().saturating_sub(self.taken);
        self.at.saturating_sub(u64::try_from(waiting).unwrap_or(0))
    }

    /// Bytes of the log that are kept.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }
}
