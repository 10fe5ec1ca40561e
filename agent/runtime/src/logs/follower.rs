//! A reader of one log: from where its options say, to the end, and then what is added.

use std::io;
use std::path::{Path, PathBuf};

use super::LogOptions;
use super::line::Line;
use super::parts::{self, LogPart};
use super::tail::start_of_tail;
use super::window::Window;

/// Reads a log in pieces; rotated files are part of it as long as they are kept.
#[derive(Debug)]
pub struct LogFollower {
    path: PathBuf,
    options: LogOptions,
    /// Bytes that may still be returned.
    left: Option<u64>,
    /// None as long as there is no file.
    window: Option<Window>,
    in_line: bool,
}

impl LogFollower {
    /// Opens a log, rotated files included; one that is not there yet is empty.
    ///
    /// # Errors
    /// When a log file is there but cannot be read.
    pub fn open(path: &Path, options: &LogOptions) -> io::Result<Self> {
        let mut parts = parts::open_all(path)?;
        let start = match options.tail_lines {
            Some(lines) => start_of_tail(&parts, lines)?,
            None => (parts.len().saturating_sub(1), 0),
        };
        let (index, at) = start;
        let window = (index < parts.len()).then(|| Window::new(parts.swap_remove(index), at));
        Ok(Self {
            path: path.to_owned(),
            options: options.clone(),
            left: options.limit_bytes,
            window,
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
                match self.oldest()? {
                    Some(part) => self.window = Some(Window::new(part, 0)),
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
        if self.window.as_ref().is_some_and(|window| window.part().removed()) {
            self.window = None;
            self.in_line = false;
        }
    }

    /// All of a rotated file was read: goes to the next younger one, if there is one.
    fn go_to_successor(&mut self) -> io::Result<bool> {
        let Some(window) = &mut self.window else { return Ok(false) };
        let inode = window.part().inode;
        match parts::inode_at(&self.path)? {
            Some(current) if current != inode => {}
            Some(_) | None => return Ok(false),
        }
        // What was added between the last look and the rotation.
        if window.fill()? {
            return Ok(true);
        }
        let mut younger: Vec<LogPart> = parts::open_all(&self.path)?;
        if let Some(own) = younger.iter().position(|part| part.inode == inode) {
            younger.truncate(own);
        }
        // Without its own, all that are kept are younger.
        let Some(successor) = younger.pop() else { return Ok(false) };
        self.window = Some(Window::new(successor, 0));
        Ok(true)
    }

    fn oldest(&self) -> io::Result<Option<LogPart>> {
        Ok(parts::open_all(&self.path)?.pop())
    }

    /// Bytes of the log that are kept.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.window.as_ref().map_or(0, Window::held)
    }
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
