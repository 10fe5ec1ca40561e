//! The only place that reads clocks in this crate.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Returns the wall-clock time in microseconds since 1970; only ever shown, never compared.
#[must_use]
pub fn wall_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Returns CLOCK_MONOTONIC_RAW in microseconds: no daemon slews it, so leases are counted on it.
#[must_use]
pub fn raw_us() -> u64 {
    read_us(ClockId::CLOCK_MONOTONIC_RAW)
}

/// Returns CLOCK_MONOTONIC in milliseconds, for back-off and time-outs.
#[must_use]
pub fn monotonic_ms() -> u64 {
    read_us(ClockId::CLOCK_MONOTONIC) / 1000
}

fn read_us(clock: ClockId) -> u64 {
    // Both clocks exist on every kernel that has cgroups.
    clock_gettime(clock).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds * 1_000_000 + nanos / 1000
    })
}
