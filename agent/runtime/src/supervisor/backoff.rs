//! How long to wait before a child is started again.

/// Growing pauses for a child that keeps ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

/// A child that ran this long in milliseconds was healthy.
const HEALTHY_MS: u64 = 10_000;

/// First pause after a quick end, in milliseconds; the very first restart does not wait.
const FIRST_PAUSE_MS: u64 = 50;

/// Longest pause in milliseconds: a board must come back soon once the cause is gone.
const PAUSE_MAX_MS: u64 = 5_000;

impl Backoff {
    /// Returns the pause in milliseconds after a run of `ran_ms`.
    pub(super) fn after_run(&mut self, ran_ms: u64) -> u64 {
        if ran_ms >= HEALTHY_MS {
            self.failures = 0;
        }
        let pause = match self.failures.checked_sub(1) {
            None => 0,
            Some(doublings) => {
                FIRST_PAUSE_MS.saturating_mul(1 << doublings.min(16)).min(PAUSE_MAX_MS)
            }
        };
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_over_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..10).map(|_| backoff.after_run(1)).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after_run(HEALTHY_MS), 0);
        assert_eq!(backoff.after_run(1), 50);
    }
}
