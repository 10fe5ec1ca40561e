//! Counters by which the rest of the agent proves that it moves, read by the heartbeat thread.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, Ordering};

use bramble_shared::heartbeat::Power;

use crate::vitals::Vitals;

/// Rounds of the loops that a live heartbeat thread must not lie about.
#[derive(Debug)]
pub(crate) struct Progress {
    pod_manager: AtomicU32,
    runtime: AtomicU32,
    acknowledged: AtomicBool,
    synced: AtomicBool,
    temperature: AtomicI32,
    power: AtomicI32,
    card_kib_per_day: AtomicI64,
}

/// A figure that is not known.
const UNKNOWN: i32 = i32::MIN;

impl Default for Progress {
    fn default() -> Self {
        Self {
            pod_manager: AtomicU32::default(),
            runtime: AtomicU32::default(),
            acknowledged: AtomicBool::default(),
            synced: AtomicBool::default(),
            temperature: AtomicI32::new(UNKNOWN),
            power: AtomicI32::new(UNKNOWN),
            card_kib_per_day: AtomicI64::new(UNKNOWN.into()),
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

    /// How the board is.
    pub(crate) fn note_vitals(&self, vitals: &Vitals) {
        let Vitals { temperature_celsius, power, card_kib_per_day } = vitals;
        let temperature = temperature_celsius.map_or(UNKNOWN, i32::from);
        self.temperature.store(temperature, Ordering::Relaxed);
        self.power.store(power.map_or(UNKNOWN, |power| power.0.into()), Ordering::Relaxed);
        let card = card_kib_per_day.map_or(UNKNOWN.into(), i64::from);
        self.card_kib_per_day.store(card, Ordering::Relaxed);
    }

    /// How the board is, as noted last.
    pub(crate) fn vitals(&self) -> Vitals {
        let power = u8::try_from(self.power.load(Ordering::Relaxed));
        Vitals {
            temperature_celsius: i8::try_from(self.temperature.load(Ordering::Relaxed)).ok(),
            power: power.ok().map(Power),
            card_kib_per_day: u32::try_from(self.card_kib_per_day.load(Ordering::Relaxed)).ok(),
        }
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
