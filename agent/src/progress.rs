//! Counters by which the rest of the agent proves that it moves, read by the heartbeat thread.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// Rounds of the loops that a live heartbeat thread must not lie about.
#[derive(Debug)]
pub(crate) struct Progress {
    pod_manager: AtomicU32,
    runtime: AtomicU32,
    acknowledged: AtomicBool,
    synced: AtomicBool,
    temperature: AtomicI32,
    throttled: AtomicBool,
}

/// A temperature that is not known.
const UNKNOWN: i32 = i32::MIN;

impl Default for Progress {
    fn default() -> Self {
        Self {
            pod_manager: AtomicU32::default(),
            runtime: AtomicU32::default(),
            acknowledged: AtomicBool::default(),
            synced: AtomicBool::default(),
            temperature: AtomicI32::new(UNKNOWN),
            throttled: AtomicBool::default(),
        }
    }
}

impl Progress {
    /// A heartbeat was acknowledged.
    pub(crate) fn note_acknowledged(&self) {
        self.acknowledged.store(true, Ordering::Relaxed);
    }

    /// The pod manager has all that the node needs.
    pub(crate) fn note_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// Whether the node has been Ready since this process started.
    pub(crate) fn was_ready(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed) && self.synced.load(Ordering::Relaxed)
    }

    /// How hot the board is, in degrees Celsius, and whether it slows itself down.
    pub(crate) fn note_vitals(&self, temperature: Option<i8>, throttled: bool) {
        self.temperature.store(temperature.map_or(UNKNOWN, i32::from), Ordering::Relaxed);
        self.throttled.store(throttled, Ordering::Relaxed);
    }

    /// The processor's temperature in degrees Celsius, if it is known.
    pub(crate) fn temperature(&self) -> Option<i8> {
        i8::try_from(self.temperature.load(Ordering::Relaxed)).ok()
    }

    /// Whether the board slows itself down.
    pub(crate) fn throttled(&self) -> bool {
        self.throttled.load(Ordering::Relaxed)
    }

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
