//! Reads the log files of containers, for the agent.
//!
//! Knows the CRI log format and rotation; neither writes nor waits. A log is read in pieces through
//! one small window, so that a reader that stops costs no more than that, however long its log is.

mod follower;
mod line;
mod parts;
mod tail;
mod window;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::log_writer::read_days;
use crate::run_dir::RunDir;
pub use follower::LogFollower;

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

/// The places of one container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// What [`log_file`] returns.
    pub disk: PathBuf,
    /// Where the log writer keeps the newest lines of a pod whose budget is used up; see
    /// [`RunDir::newest_log`](crate::run_dir::RunDir::newest_log).
    pub memory: Option<PathBuf>,
}

/// The pods whose budget of logs is used up today, by uid.
#[must_use]
pub fn pods_without_budget(run_dir: &RunDir) -> BTreeSet<String> {
    let days = read_days(run_dir).into_iter().filter(|(_, day)| day.used_up);
    days.filter_map(|(folder, _)| Some(folder.rsplit_once('_')?.1.to_owned())).collect()
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

/// Reads the last `lines` lines of a log, at most about `len_max` bytes of them; a container that
/// wrote nothing has an empty one.
///
/// # Errors
/// When a log file is there but cannot be read.
pub fn read_end(files: &LogFiles, lines: u64, len_max: usize) -> io::Result<Vec<u8>> {
    let options = LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
    let mut follower = LogFollower::open(files, &options)?;
    let mut end = Vec::new();
    loop {
        let piece = follower.read()?;
        if piece.is_empty() {
            return Ok(end);
        }
        end.extend(piece);
        let surplus = end.len().saturating_sub(len_max);
        end.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
