//! Memory of the daemons of several boards, over the time of an attack.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::board::{Board, daemons_below};
use crate::memory::pss_mb;
use crate::wait::pause;

/// Pause between two looks: the kernel walks all pages of a process for each.
const INTERVAL: Duration = Duration::from_millis(250);

/// The daemons of some boards.
#[derive(Clone, Debug)]
pub(super) struct MemoryWatch {
    boards: Vec<(String, PathBuf)>,
}

/// Megabytes of each board's daemons (PSS), with the board's name.
pub(super) type Memory = Vec<(String, f64)>;

/// A running thread that keeps the peaks.
#[derive(Debug)]
pub(super) struct Peaks {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

impl MemoryWatch {
    /// Watches these boards.
    pub(super) fn new<'a>(boards: impl Iterator<Item = &'a Board>) -> Self {
        let boards = boards.map(|board| (board.name.clone(), board.cgroup_path().to_owned()));
        Self { boards: boards.collect() }
    }

    /// What they take now.
    pub(super) fn now(&self) -> Memory {
        self.boards
            .iter()
            .map(|(name, cgroup)| {
                (name.clone(), pss_mb(&daemons_below(cgroup).unwrap_or_default()))
            })
            .collect()
    }

    /// Starts keeping the peaks.
    pub(super) fn peaks(&self) -> Peaks {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, watch) = (Arc::clone(&stop), self.clone());
        let thread = thread::spawn(move || {
            let mut peaks = watch.now();
            while !stopped.load(Ordering::Relaxed) {
                for ((_, peak), (_, found)) in peaks.iter_mut().zip(watch.now()) {
                    *peak = peak.max(found);
                }
                pause(INTERVAL);
            }
            peaks
        });
        Peaks { stop, thread }
    }
}

impl Peaks {
    /// Stops and returns the peaks.
    ///
    /// # Errors
    /// The thread has panicked.
    pub(super) fn stop(self) -> Result<Memory> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the memory watch panicked")
    }
}
