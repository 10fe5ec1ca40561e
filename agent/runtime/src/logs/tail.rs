//! Finds where the last lines of a log begin, reading backwards from its end.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::line::Line;
use super::parts::LogPart;
use super::window::WINDOW_LEN;

/// Returns where the last `lines` lines begin: which of `parts` (youngest first), and where in it.
///
/// A line is what the container wrote as one, so lines of the file that are parts of another
/// one do not count.
pub(super) fn start_of_tail(parts: &[LogPart], lines: u64) -> io::Result<(usize, u64)> {
    let mut search = Search { wanted: lines, seen: 0 };
    let mut start = (0, 0);
    for (index, part) in parts.iter().enumerate() {
        if let Some(at) = search.backwards(part)? {
            // The end of this file is where the next younger one begins.
            return Ok((index, at));
        }
        start = (index, 0);
    }
    Ok(start)
}

struct Search {
    wanted: u64,
    seen: u64,
}

impl Search {
    /// Goes through one file; returns where the wanted lines begin, if that is in it.
    fn backwards(&mut self, part: &LogPart) -> io::Result<Option<u64>> {
        let mut end = part.file.metadata()?.len();
        let mut block = vec![0; WINDOW_LEN];
        // What has no line end yet is still being written and comes after every whole line.
        let mut after_last_line = true;
        while end > 0 {
            let from = end.saturating_sub(u64::try_from(block.len()).unwrap_or(end));
            let len = usize::try_from(end - from).unwrap_or(block.len());
            let bytes = block.get_mut(..len).unwrap_or_default();
            part.file.read_exact_at(bytes, from)?;
            if after_last_line {
                match bytes.iter().rposition(|&byte| byte == b'\n') {
                    Some(last) => {
                        after_last_line = false;
                        end = from + u64::try_from(last + 1).unwrap_or(0);
                        if self.wanted == 0 {
                            return Ok(Some(end));
                        }
                        continue;
                    }
                    None => end = from,
                }
                continue;
            }
            // The first line of the block may have begun before it.
            let whole = match bytes.iter().position(|&byte| byte == b'\n') {
                Some(first) if from > 0 && first + 1 < len => first + 1,
                // A line that is longer than the block is not the log writer's.
                _ => 0,
            };
            let mut start = end;
            let lines = bytes.get(whole..).unwrap_or_default();
            for line in lines.split_inclusive(|&byte| byte == b'\n').rev() {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                if Line::parse(text).is_some_and(|line| !line.partial) {
                    if self.seen == self.wanted {
                        return Ok(Some(start));
                    }
                    self.seen += 1;
                }
                start -= u64::try_from(line.len()).unwrap_or(start);
            }
            end = start;
        }
        Ok(None)
    }
}
