//! Counters by which the rest of the agent proves that it moves, read by the heartbeat thread.

use std::sync::atomic::{AtomicU32, Ordering};

/// Rounds of the loops that a live heartbeat thread must not lie about.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pod_manager: AtomicU32,
    runtime: AtomicU32,
}

impl Progress {
    /// The pod manager's loop went round.
    pub(crate) fn note_pod_manager(&self) {
        self.pod_manager.fetch_add(1, Ordering::Relaxed);
    }

    /// The runtime process said something.
    pub(crate) fn note_runtime(&self) {
        self.runtime.fetch_add(1, Ordering::Relaxed);
    }

    /// Rounds of the pod manager, wrapping.
    pub(crate) fn pod_manager_rounds(&self) -> u32 {
        self.pod_manager.load(Ordering::Relaxed)
    }

    /// Signs of life of the runtime process, wrapping.
    pub(crate) fn runtime_rounds(&self) -> u32 {
        self.runtime.load(Ordering::Relaxed)
    }
}
