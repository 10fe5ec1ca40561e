//! The only place where the master reads a clock.
//!
//! Everything else takes time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time of day, in milliseconds since 1970; 0 when the clock stands before that.
pub(crate) fn time_of_day_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Steady time, for measuring how long something took.
pub(crate) fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    let now = Instant::now();
    now
}

/// Steady time of the runtime's timers.
pub(crate) fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::from_std(monotonic())
}

/// Time of day, in whole seconds since 1970.
pub(crate) fn time_of_day_s() -> i64 {
    i64::try_from(time_of_day_ms() / 1_000).unwrap_or(i64::MAX)
}

/// Time of day as the API writes it: RFC 3339 in UTC, whole seconds.
pub(crate) fn timestamp() -> String {
    bramble_api::timestamp::format(time_of_day_s())
}
