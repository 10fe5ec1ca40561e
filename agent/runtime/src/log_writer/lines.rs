//! Turns what a container wrote into lines of the CRI log format.
//!
//! Pure. `time stream F text` is a whole line, `time stream P text` a part of one.

use serde::{Deserialize, Serialize};

use crate::output::Stream;
use crate::timestamp;

/// The beginnings of lines that have not ended yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenLines {
    stdout: OpenLine,
    stderr: OpenLine,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OpenLine {
    at_us: u64,
    text: Vec<u8>,
}

/// Longest text of one log line in bytes, as other runtimes have it; longer ones are split.
pub(crate) const TEXT_LEN_MAX: usize = 16 * 1024;

impl OpenLines {
    /// Appends to `log` the lines that `data` completes; returns how many.
    pub(super) fn push(
        &mut self,
        stream: Stream,
        at_us: u64,
        mut data: &[u8],
        log: &mut Vec<u8>,
    ) -> u64 {
        let line = self.of(stream);
        let mut count = 0;
        while !data.is_empty() {
            if line.text.is_empty() {
                line.at_us = at_us;
            }
            let room = TEXT_LEN_MAX - line.text.len().min(TEXT_LEN_MAX);
            let head = data.get(..room.min(data.len())).unwrap_or(data);
            if let Some(end) = head.iter().position(|&byte| byte == b'\n') {
                line.text.extend_from_slice(head.get(..end).unwrap_or_default());
                line.write(stream, 'F', log);
                count += 1;
                data = data.get(end + 1..).unwrap_or_default();
            } else if data.get(room) == Some(&b'\n') {
                // The line fits exactly.
                line.text.extend_from_slice(head);
                line.write(stream, 'F', log);
                count += 1;
                data = data.get(room + 1..).unwrap_or_default();
            } else {
                line.text.extend_from_slice(head);
                data = data.get(head.len()..).unwrap_or_default();
                if line.text.len() >= TEXT_LEN_MAX && !data.is_empty() {
                    line.write(stream, 'P', log);
                }
            }
        }
        count
    }

    /// Appends what never got its line end, as parts: who reads the log gets what was written, to
    /// the byte. Returns how many.
    pub(super) fn finish(&mut self, log: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = self.of(stream);
            if !line.text.is_empty() {
                line.write(stream, 'P', log);
                count += 1;
            }
        }
        count
    }

    fn of(&mut self, stream: Stream) -> &mut OpenLine {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl OpenLine {
    fn write(&mut self, stream: Stream, tag: char, log: &mut Vec<u8>) {
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let time = timestamp::format(self.at_us);
        log.extend_from_slice(format!("{time} {name} {tag} ").as_bytes());
        log.append(&mut self.text);
        log.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], finish: bool, expected: &[(&str, usize)]) {
        let (mut lines, mut log) = (OpenLines::default(), Vec::new());
        for piece in pieces {
            lines.push(Stream::Stdout, 0, piece, &mut log);
        }
        if finish {
            lines.finish(&mut log);
        }
        let text = String::from_utf8(log).unwrap();
        let found: Vec<(&str, usize)> = text
            .lines()
            .map(|line| {
                let rest = line.strip_prefix("1970-01-01T00:00:00.000000000Z stdout ").unwrap();
                (&rest[..1], rest.len() - 2)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pieces_become_lines() {
        check(&[b"ab", b"c\nde\n", b"f"], false, &[("F", 3), ("F", 2)]);
        check(&[b"ab", b"c\n\n"], true, &[("F", 3), ("F", 0)]);
        check(&[b"abc"], true, &[("P", 3)]);
    }

    #[test]
    fn long_lines_are_split_and_a_line_of_the_bound_is_not() {
        let bound = vec![b'x'; TEXT_LEN_MAX];
        check(&[&bound, b"\n"], false, &[("F", TEXT_LEN_MAX)]);
        check(&[&[bound.as_slice(), b"\n"].concat()], false, &[("F", TEXT_LEN_MAX)]);
        check(&[&bound, b"y\n"], false, &[("P", TEXT_LEN_MAX), ("F", 1)]);
        check(&[&[bound.as_slice(), b"y"].concat()], true, &[("P", TEXT_LEN_MAX), ("P", 1)]);
    }

    #[test]
    fn streams_do_not_mix() {
        let (mut lines, mut log) = (OpenLines::default(), Vec::new());
        lines.push(Stream::Stdout, 0, b"out", &mut log);
        lines.push(Stream::Stderr, 0, b"err\n", &mut log);
        lines.push(Stream::Stdout, 0, b"put\n", &mut log);
        let text = String::from_utf8(log).unwrap();
        assert!(text.lines().next().unwrap().ends_with("stderr F err"));
        assert!(text.lines().nth(1).unwrap().ends_with("stdout F output"));
    }
}
