//! Lines of a child's output, taken from its pipe without waiting.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// One line of a child's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Name of the child.
    pub child: String,
    /// The line without its end.
    pub text: String,
}

/// Longest line in bytes; a longer one is cut into several.
const LINE_LEN_MAX: usize = 4096;

/// Most bytes that are taken at once, so that a child that floods its pipe does not keep the
/// supervisor from anything else: the pipe fills and the child waits.
const TAKE_LEN_MAX: usize = 64 << 10;

/// The reading end of one child's pipe.
#[derive(Debug)]
pub(super) struct Output {
    child: String,
    pipe: File,
    splitter: LineSplitter,
}

impl Output {
    pub(super) fn new(child: &str, pipe: OwnedFd) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let splitter = LineSplitter::default();
        Ok(Self { child: child.to_owned(), pipe: pipe.into(), splitter })
    }

    /// Takes what is there; returns false once nothing can come any more.
    pub(super) fn take(&mut self, lines: &mut Vec<Line>) -> bool {
        let mut chunk = [0; 4096];
        let mut taken = 0;
        let mut open = true;
        while taken < TAKE_LEN_MAX {
            match self.pipe.read(&mut chunk) {
                Ok(0) => {
                    open = false;
                    self.splitter.end();
                    break;
                }
                Ok(len) => {
                    taken += len;
                    self.splitter.push(chunk.get(..len).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    open = error.kind() == io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        let complete = std::mem::take(&mut self.splitter.lines);
        lines.extend(complete.into_iter().map(|text| Line { child: self.child.clone(), text }));
        open
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[derive(Debug, Default)]
struct LineSplitter {
    part: Vec<u8>,
    lines: Vec<String>,
}

impl LineSplitter {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.part.push(byte);
            }
            if byte == b'\n' || self.part.len() >= LINE_LEN_MAX {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = String::from_utf8_lossy(&self.part).trim_end().to_owned();
        self.part.clear();
        if !line.is_empty() {
            self.lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_bounded() {
        let mut splitter = LineSplitter::default();
        splitter.push(b"one\r\ntw");
        assert_eq!(splitter.lines, ["one"]);
        splitter.push(b"o\n\n");
        splitter.push(&[b'x'; LINE_LEN_MAX + 1]);
        splitter.end();
        assert_eq!(splitter.lines.len(), 4);
        assert_eq!(splitter.lines[1], "two");
        assert_eq!(splitter.lines[2].len(), LINE_LEN_MAX);
        assert_eq!(splitter.lines[3], "x");
    }

    #[test]
    fn the_last_line_is_taken_at_the_end() {
        let (ours, theirs) = nix::unistd::pipe().unwrap();
        let mut output = Output::new("c", ours).unwrap();
        let mut lines = Vec::new();
        assert!(output.take(&mut lines));
        assert!(lines.is_empty());
        nix::unistd::write(&theirs, b"a\nb").unwrap();
        drop(theirs);
        assert!(!output.take(&mut lines));
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
    }
}
