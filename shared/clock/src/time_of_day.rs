//! The time of day: for people and certificates, never for decisions about liveness.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 on a board whose clock stands before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
pub fn time_of_day_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The standard library's form of a time of day, for crates that want it.
#[must_use]
pub fn from_unix_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_day_is_after_this_was_written() {
        assert!(time_of_day_ms() > 1_700_000_000_000);
    }

    #[test]
    fn conversion_keeps_milliseconds() {
        let elapsed = from_unix_ms(1_234).duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(elapsed.as_millis(), 1_234);
    }
}
