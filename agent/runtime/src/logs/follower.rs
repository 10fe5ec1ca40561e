//! A reader of one log: from where its options say, to the end, and then what is added.

use std::io;

use super::line::Line;
use super::parts::{self, FileId, LogPart};
use super::tail::start_of_tail;
use super::window::Window;
use super::{LogFiles, LogOptions};

/// Reads a log in pieces; rotated files are part of it as long as they are kept.
#[derive(Debug)]
pub struct LogFollower {
    files: LogFiles,
    options: LogOptions,
    /// Bytes that may still be returned.
    left: Option<u64>,
    /// None as long as there is no file.
    window: Option<Window>,
    /// Where the disk's part ended when memory's was begun: there the disk goes on some day.
    disk_end: Option<(FileId, u64)>,
    in_line: bool,
}

impl LogFollower {
    /// Opens a log, rotated files included; one that is not there yet is empty.
    ///
    /// # Errors
    /// When a log file is there but cannot be read.
    pub fn open(files: &LogFiles, options: &LogOptions) -> io::Result<Self> {
        let mut parts = parts::open_all(files)?;
        let (index, at) = match options.tail_lines {
            Some(lines) => start_of_tail(&parts, lines)?,
            None => (parts.len().saturating_sub(1), 0),
        };
        let disk = parts.iter().find(|part| !part.memory);
        let disk_end = match disk {
            Some(part) => Some((part.id, part.file.metadata()?.len())),
            None => None,
        };
        let window = (index < parts.len()).then(|| Window::new(parts.swap_remove(index), at));
        Ok(Self {
            files: files.clone(),
            options: options.clone(),
            left: options.limit_bytes,
            window,
            disk_end,
            in_line: false,
        })
    }

    /// Returns the next piece, not longer than the window; an empty one is all that there is now.
    ///
    /// # Errors
    /// When the log file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        while piece.is_empty() && !self.finished() {
            let Some(window) = &mut self.window else {
                match parts::open_all(&self.files)?.pop() {
                    Some(oldest) => self.window = Some(Window::new(oldest, 0)),
                    None => break,
                }
                continue;
            };
            while let Some(line) = window.next_line() {
                if let Some(line) = Line::parse(line) {
                    decode(line, &self.options, &mut self.in_line, &mut piece);
                }
            }
            if piece.is_empty() && !window.fill()? && !self.go_to_successor()? {
                break;
            }
        }
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(0));
        }
        Ok(piece)
    }

    /// Whether the byte limit is used up: nothing more will come.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.left == Some(0)
    }

    /// Lets go of a file that rotation has removed, so that a reader that stands still does not
    /// keep it on the disk; reading goes on with the oldest file that is kept.
    pub fn release_removed(&mut self) {
        let part = self.window.as_ref().map(Window::part);
        if part.is_some_and(|part| !part.memory && part.removed()) {
            self.window = None;
            self.in_line = false;
        }
    }

    /// All of a file that grows no more was read: goes to the next younger one, if there is one.
    fn go_to_successor(&mut self) -> io::Result<bool> {
        let Some(window) = &mut self.window else { return Ok(false) };
        let own = window.part().id;
        if parts::youngest(&self.files)?.is_none_or(|youngest| youngest == own) {
            return Ok(false);
        }
        // What was added between the last look and the rotation.
        if window.fill()? {
            return Ok(true);
        }
        if !window.part().memory {
            self.disk_end = Some((own, window.end_of_lines()));
        }
        let from_memory = window.part().memory;
        let mut younger = parts::open_all(&self.files)?;
        if let Some(place) = younger.iter().position(|part| part.id == own) {
            younger.truncate(place);
        } else if from_memory {
            // Either the memory's own rotation removed it, or the disk goes on.
            let goes_on = disk_grew(&younger, self.disk_end)?;
            if goes_on || !younger.iter().any(|part| part.memory) {
                return Ok(self.go_on_with_disk(younger));
            }
            younger.retain(|part| part.memory);
        }
        // Without its own, all that are kept are younger.
        let Some(successor) = younger.pop() else { return Ok(false) };
        self.window = Some(Window::new(successor, 0));
        Ok(true)
    }

    /// Goes on where the disk's part ended, or with the oldest that is kept.
    fn go_on_with_disk(&mut self, mut parts: Vec<LogPart>) -> bool {
        let place = self
            .disk_end
            .and_then(|(id, at)| Some((parts.iter().position(|part| part.id == id)?, at)));
        let next = match place {
            Some((index, at)) => Some(Window::new(parts.swap_remove(index), at)),
            None => parts.pop().map(|oldest| Window::new(oldest, 0)),
        };
        let found = next.is_some();
        if next.is_some() {
            self.window = next;
        }
        found
    }

    /// Bytes of the log that are kept.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.window.as_ref().map_or(0, Window::held)
    }
}

/// Whether anything was written to the disk since its end was noted.
fn disk_grew(parts: &[LogPart], end: Option<(FileId, u64)>) -> io::Result<bool> {
    let Some(youngest) = parts.iter().find(|part| !part.memory) else { return Ok(false) };
    Ok(end != Some((youngest.id, youngest.file.metadata()?.len())))
}

/// Appends a line as the user wants to see it.
fn decode(line: Line<'_>, options: &LogOptions, in_line: &mut bool, piece: &mut Vec<u8>) {
    if options.since_us.is_some_and(|since| line.at_us < since) {
        return;
    }
    if options.timestamps && !*in_line {
        piece.extend_from_slice(line.time.as_bytes());
        piece.push(b' ');
    }
    piece.extend_from_slice(line.text);
    *in_line = line.partial;
    if !line.partial {
        piece.push(b'\n');
    }
}
