//! The log writer: moves containers' output from RAM to log files, in batches.
//!
//! The only process of this crate that writes to a disk, so the only one that a slow, full or
//! failing card can hold up. It knows the files of [`crate::output`], not the runtime process.
//! Killed at any time, it goes on where it was: how far it came is noted beside the output, with
//! the length that the log file had then, so that nothing is repeated and nothing left out.

mod budget;
mod chain;
mod lines;
mod silence;
mod transfer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::budget::Budgets;
pub(crate) use self::budget::Day;
use self::chain::Bounds;
pub(crate) use self::chain::rotated_path;
pub(crate) use self::lines::TEXT_LEN_MAX;
use self::transfer::{Means, Transfer};
use crate::clock::{monotonic_ms, wall_us};
use crate::process::die_with_parent;
use crate::run_dir::RunDir;
use crate::whole_file;

/// Configuration of the log writer.
#[derive(Clone, Debug)]
pub struct LogWriterConfig {
    /// The run directory.
    pub run_dir: RunDir,
    /// Length in bytes at which a log file is rotated; Kubernetes' default is 10 MiB.
    pub file_len_max: u64,
    /// Most files per container, the current one included; Kubernetes' default of 5 is much for
    /// a card, so bramble keeps 3.
    pub files_max: u32,
    /// Most bytes that the containers of one pod may have written in a day; what comes after is
    /// counted, and the newest of it kept in memory. None for no bound.
    pub budget_per_day: Option<u64>,
}

impl LogWriterConfig {
    /// Returns the defaults: 3 files of 10 MiB, and no budget.
    #[must_use]
    pub fn new(run_dir: RunDir) -> Self {
        Self { run_dir, file_len_max: 10 * 1024 * 1024, files_max: 3, budget_per_day: None }
    }
}

/// Why the log writer ended.
#[derive(Debug, thiserror::Error)]
pub enum RunLogWriterError {
    /// Something that it cannot work without failed.
    #[error("could not {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Runs the log writer until SIGTERM; what is in RAM by then is written first.
///
/// # Errors
/// When its socket or signals are not to be had.
pub fn run_log_writer(config: &LogWriterConfig) -> Result<(), RunLogWriterError> {
    let failed = |what| move |source| RunLogWriterError::Io { what, source };
    let mut writer = LogWriter::open(config).map_err(failed("start the log writer"))?;
    loop {
        let more = writer.transfer_all();
        if !writer.wait(more).map_err(failed("wait for output"))? {
            writer.transfer_all();
            return Ok(());
        }
    }
}

struct LogWriter {
    config: LogWriterConfig,
    socket: UnixDatagram,
    signals: SignalFd,
    transfers: BTreeMap<String, Transfer>,
    budgets: Budgets,
    noted: Noted,
}

/// The budgets as a successor and the agent find them.
#[derive(Debug, Default)]
struct Noted {
    days: BTreeMap<String, Day>,
    at_ms: u64,
}

/// Longest time for which what was written is not noted, in milliseconds: what a log writer that
/// is killed gives its pods for nothing.
const NOTE_INTERVAL_MS: u64 = 1_000;

/// Longest time between two looks at the output, should a wake be lost, in milliseconds.
const LOOK_INTERVAL_MS: u16 = 5_000;

impl LogWriter {
    fn open(config: &LogWriterConfig) -> io::Result<Self> {
        let _named = nix::sys::prctl::set_name(c"bramble-logs");
        die_with_parent()?;
        config.run_dir.create()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let path = config.run_dir.log_writer_socket();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        let days = read_days(&config.run_dir);
        let noted = Noted { days: days.clone(), at_ms: monotonic_ms() };
        let budgets = Budgets::new(config.budget_per_day, days);
        let config = config.clone();
        Ok(Self { config, socket, signals, transfers: BTreeMap::new(), budgets, noted })
    }

    /// Waits until there may be something to do; returns false at SIGTERM.
    fn wait(&mut self, more: bool) -> io::Result<bool> {
        let timeout = if more { 0 } else { LOOK_INTERVAL_MS };
        let mut fds = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut wakes = [0; 8];
        while self.socket.recv(&mut wakes).is_ok() {}
        Ok(!matches!(self.signals.read_signal(), Ok(Some(_))))
    }

    /// Moves what is there, some of each container; returns whether there is more.
    fn transfer_all(&mut self) -> bool {
        let mut ids: Vec<String> = fs::read_dir(self.config.run_dir.output())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort_unstable();
        self.transfers.retain(|id, transfer| ids.binary_search(id).is_ok() && transfer.current());
        let LogWriterConfig { file_len_max, files_max, .. } = self.config;
        let bounds = Bounds { file_len_max, files_max };
        let mut more = false;
        for id in ids {
            if !self.transfers.contains_key(&id) {
                let directory = self.config.run_dir.output().join(&id);
                match Transfer::open(directory) {
                    Ok(transfer) => drop(self.transfers.insert(id.clone(), transfer)),
                    // Half made; the wake for it will come.
                    Err(error) => {
                        tracing::debug!(id, %error, "output not readable yet");
                        continue;
                    }
                }
            }
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            let mut means = Means {
                bounds,
                budgets: &mut self.budgets,
                now_ms: monotonic_ms(),
                now_us: wall_us(),
            };
            match transfer.step(&mut means) {
                Ok(step) => {
                    more |= step.more;
                    if step.finished {
                        self.transfers.remove(&id);
                    }
                }
                Err(error) => {
                    tracing::warn!(id, %error, "output not moved");
                    self.transfers.remove(&id);
                }
            }
        }
        self.note_days();
        more
    }

    /// Keeps what was written, at once if a budget was used up or is there again.
    fn note_days(&mut self) {
        let days = self.budgets.days();
        let used_up = |days: &BTreeMap<String, Day>| -> Vec<String> {
            days.iter().filter(|(_, day)| day.used_up).map(|(group, _)| group.clone()).collect()
        };
        let now_ms = monotonic_ms();
        let soon = now_ms.saturating_sub(self.noted.at_ms) < NOTE_INTERVAL_MS;
        if *days == self.noted.days || soon && used_up(days) == used_up(&self.noted.days) {
            return;
        }
        self.noted = Noted { days: days.clone(), at_ms: now_ms };
        if let Err(error) = write_days(&self.config.run_dir, days) {
            tracing::warn!(%error, "what pods have written of their logs was not noted");
        }
    }
}

fn write_days(run_dir: &RunDir, days: &BTreeMap<String, Day>) -> io::Result<()> {
    let bytes = postcard::to_allocvec(days).map_err(io::Error::other)?;
    whole_file::replace(&run_dir.log_budgets(), &bytes, 0o600)
}

/// What was noted last; nothing if it cannot be read.
pub(crate) fn read_days(run_dir: &RunDir) -> BTreeMap<String, Day> {
    let bytes = whole_file::read(&run_dir.log_budgets()).ok().flatten().unwrap_or_default();
    postcard::from_bytes(&bytes).unwrap_or_default()
}

/// Notes pods, by their log folders, as a log writer whose budgets are used up does; for tests of
/// who reads it.
#[doc(hidden)]
pub fn note_used_up(run_dir: &RunDir, folders: &[&str]) {
    let mut budgets = Budgets::new(Some(0), BTreeMap::new());
    for folder in folders {
        budgets.take(folder, 1, 0);
    }
    let _noted = write_days(run_dir, budgets.days());
}
