//! When a node is told the time again: now and then, since boards' crystals drift, and when the
//! master's own clock was set.

use std::time::{Duration, Instant};

/// Time between two times.
const AGAIN: Duration = Duration::from_secs(600);
/// The clock was set if it is so far from where it would have run to by itself, in milliseconds.
const STEP_MS: u64 = 2_000;

/// What a node was told last, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeTold {
    time_of_day_ms: u64,
    at: Instant,
}

impl TimeTold {
    /// A node was told this.
    pub(super) const fn new(time_of_day_ms: u64, at: Instant) -> Self {
        Self { time_of_day_ms, at }
    }

    /// Tells whether the node has to be told this time; then it counts as told.
    pub(super) fn due(&mut self, time_of_day_ms: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let expected_ms = self.time_of_day_ms.saturating_add(elapsed_ms);
        let due = elapsed >= AGAIN || expected_ms.abs_diff(time_of_day_ms) > STEP_MS;
        if due {
            *self = Self::new(time_of_day_ms, now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_every_ten_minutes() {
        let start = crate::clock::monotonic();
        let mut told = TimeTold::new(1_000_000, start);
        let due: Vec<u64> = (1..=1_300)
            .filter(|second| {
                told.due(1_000_000 + second * 1_000, start + Duration::from_secs(*second))
            })
            .collect();
        assert_eq!(due, [600, 1_200]);
    }

    #[test]
    fn a_clock_that_was_set_is_told_at_once_and_once() {
        let start = crate::clock::monotonic();
        let mut told = TimeTold::new(1_000_000, start);
        let mut due =
            |time_of_day_ms, second| told.due(time_of_day_ms, start + Duration::from_secs(second));
        assert!(!due(1_005_000 + STEP_MS, 5));
        assert!(due(1_010_001 + STEP_MS, 10));
        assert!(!due(1_015_001 + STEP_MS, 15));
        // Back, to long ago.
        assert!(due(20, 20));
        assert!(!due(5_020, 25));
    }
}
