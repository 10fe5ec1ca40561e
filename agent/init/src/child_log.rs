//! Logs of the children: bounded files in memory, and warnings on the console.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bramble_runtime::supervisor::Line;

use crate::messages::say;

/// Longest log in bytes; one older file is kept beside it.
const LEN_MAX: u64 = 256 << 10;

/// Most warnings of one child on the console in a minute: it is there for people.
const WARNINGS_MAX: u32 = 10;

/// The logs of all children.
#[derive(Debug)]
pub(crate) struct ChildLogs {
    folder: PathBuf,
    logs: BTreeMap<String, ChildLog>,
}

#[derive(Debug)]
struct ChildLog {
    file: File,
    len: u64,
    warnings: Allowance,
}

impl ChildLogs {
    /// Keeps logs in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), logs: BTreeMap::new() }
    }

    /// Keeps lines, and shows those that are warnings. Logs that cannot be written are lost.
    pub(crate) fn keep(&mut self, lines: &[Line], now_ms: u64) {
        for line in lines {
            if self.write(line).is_err() {
                self.logs.remove(&line.child);
            }
            let Some(log) = self.logs.get_mut(&line.child) else { continue };
            if warning(&line.text) && log.warnings.take(now_ms) {
                say(&format!("{}: {}", line.child, line.text));
            }
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let path = self.folder.join(format!("{}.log", line.child));
        let full = self.logs.get(&line.child).is_some_and(|log| log.len >= LEN_MAX);
        if full {
            fs::rename(&path, self.folder.join(format!("{}.log.1", line.child)))?;
        }
        if full || !self.logs.contains_key(&line.child) {
            fs::create_dir_all(&self.folder)?;
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let warnings = self.logs.remove(&line.child).map(|log| log.warnings);
            let log = ChildLog { file, len: 0, warnings: warnings.unwrap_or_default() };
            self.logs.insert(line.child.clone(), log);
        }
        let Some(log) = self.logs.get_mut(&line.child) else { return Ok(()) };
        log.file.write_all(format!("{}\n", line.text).as_bytes())?;
        log.len += line.text.len() as u64 + 1;
        Ok(())
    }
}

/// Tells whether a line is more than information.
fn warning(line: &str) -> bool {
    let first = line.split_whitespace().take(3);
    line.starts_with("error:") || first.into_iter().any(|word| word == "WARN" || word == "ERROR")
}

/// So many in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allowance {
    since_ms: u64,
    taken: u32,
}

impl Allowance {
    fn take(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= 60_000 {
            *self = Self { since_ms: now_ms, taken: 0 };
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= WARNINGS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_from_information() {
        assert!(warning("2026-11-23T22:00:00.1Z  WARN lease lost"));
        assert!(warning("2026-11-23T22:00:00.1Z ERROR x"));
        assert!(warning("error: no such file"));
        assert!(!warning("2026-11-23T22:00:00.1Z  INFO a WARN in the text"));
        assert!(!warning("udhcpc: sending discover"));
    }

    #[test]
    fn a_flood_of_warnings_is_cut_and_comes_back() {
        let mut warnings = Allowance::default();
        let shown = (0..100).filter(|ms| warnings.take(*ms)).count();
        assert_eq!(shown, 10);
        assert!(warnings.take(60_000));
    }

    #[test]
    fn logs_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = ChildLogs::new(folder.path());
        let line = Line { child: "agent".to_owned(), text: "x".repeat(1023) };
        logs.keep(&vec![line; 600], 0);
        let len = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!(len("agent.log.1"), LEN_MAX);
        assert_eq!(len("agent.log"), 600 * 1024 - 2 * LEN_MAX);
    }
}
