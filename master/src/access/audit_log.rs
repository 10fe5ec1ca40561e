//! The audit log: the newest lines in memory, and all of them in a file if one is wanted.
//!
//! A thread of its own writes the file, so that no request waits for the card. What comes while it is
//! far behind is counted and lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bramble_master_core::access::audit::{Request, Ring};
use tracing::warn;

/// Bytes of the lines in memory: some 400 of them.
const RING_LEN_MAX: usize = 256 * 1024;
/// Lines that wait for the file.
const WAITING_MAX: usize = 1_024;
/// Bytes of the file before it becomes the older one, which takes the place of the one before.
const FILE_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Why the file cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("could not open the audit log `{}`", path.display())]
pub(crate) struct OpenAuditLogError {
    path: PathBuf,
    source: io::Error,
}

/// The audit log.
#[derive(Debug)]
pub(crate) struct AuditLog {
    ring: Mutex<Ring>,
    file: Option<SyncSender<String>>,
}

impl AuditLog {
    /// Begins; goes on where a file ends that is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or there are no more threads.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, OpenAuditLogError> {
        let file = path.map(begin).transpose()?;
        Ok(Self { ring: Mutex::new(Ring::new(RING_LEN_MAX)), file })
    }

    /// Adds a request, if it is worth it.
    pub(crate) fn add(&self, request: &Request) {
        if !request.worth_a_line() {
            return;
        }
        let mut line = request.to_json().to_string();
        self.lock().push(&line);
        let Some(file) = &self.file else { return };
        line.push('\n');
        if let Err(TrySendError::Full(_)) = file.try_send(line) {
            warn!("the audit log's file is too slow, a line is lost");
        }
    }

    /// The newest lines, the oldest first.
    pub(crate) fn text(&self) -> String {
        self.lock().text()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A line is whole or not there.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(path: &Path) -> Result<SyncSender<String>, OpenAuditLogError> {
    let failed = |source| OpenAuditLogError { path: path.to_path_buf(), source };
    let mut out = Out::open(path).map_err(failed)?;
    let (sender, lines): (_, Receiver<String>) = sync_channel(WAITING_MAX);
    let write = move || {
        for line in lines {
            if let Err(error) = out.write(&line) {
                warn!(%error, "the audit log's file could not be written");
            }
        }
    };
    thread::Builder::new().name("audit".to_owned()).spawn(write).map_err(failed)?;
    Ok(sender)
}

/// The file, with its length.
#[derive(Debug)]
struct Out {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Out {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, len })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let line_len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.len.saturating_add(line_len) > FILE_LEN_MAX {
            let mut older = self.path.as_os_str().to_owned();
            older.push(".1");
            fs::rename(&self.path, older)?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.len = self.len.saturating_add(line_len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bramble_master_core::access::attributes::Attributes;

    use super::*;

    #[test]
    fn file_is_appended_to_and_gives_way_when_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "before\n").unwrap();
        let mut out = Out::open(&path).unwrap();
        out.write("one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\none\n");
        out.len = FILE_LEN_MAX;
        out.write("two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let older = fs::read_to_string(folder.path().join("audit.log.1")).unwrap();
        assert_eq!(older, "before\none\n");
    }

    #[test]
    fn answered_reads_leave_no_line() {
        let log = AuditLog::open(None).unwrap();
        let request = |verb: &str| Request {
            asked: Attributes::of_path(verb, "/a"),
            code: 200,
            ..Request::default()
        };
        log.add(&request("get"));
        assert_eq!(log.text(), "");
        log.add(&request("post"));
        assert_eq!(log.text().lines().count(), 1);
    }
}
