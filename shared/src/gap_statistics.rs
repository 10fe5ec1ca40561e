//! Mean and spread of the gaps between the last 256 arrivals.
//!
//! Integer arithmetic over a ring; sums are kept, so that an arrival costs the same at any time.

use embassy_time::Duration;

/// Arrivals that are remembered: 25 s of heartbeats.
pub const GAPS_MAX: usize = 256;
/// A longer gap counts as this long; keeps the sum of squares below 2^64.
const GAP_MICROS_MAX: u64 = 10_000_000;
const _: () = assert!(
    (GAPS_MAX as u64) * (GAPS_MAX as u64) < u64::MAX / GAP_MICROS_MAX / GAP_MICROS_MAX,
    "count * sum of squares must fit"
);

/// Gaps between the last arrivals.
#[derive(Clone, Debug)]
pub struct GapStatistics {
    /// In microseconds, oldest first.
    gaps: heapless::Deque<u32, GAPS_MAX>,
    sum: u64,
    sum_of_squares: u64,
}

impl Default for GapStatistics {
    fn default() -> Self {
        Self::new()
    }
}

impl GapStatistics {
    /// Without an arrival.
    #[must_use]
    pub const fn new() -> Self {
        Self { gaps: heapless::Deque::new(), sum: 0, sum_of_squares: 0 }
    }

    /// Adds a gap and forgets the oldest one if there are too many.
    pub fn add(&mut self, gap: Duration) {
        if self.gaps.is_full()
            && let Some(oldest) = self.gaps.pop_front()
        {
            self.sum -= u64::from(oldest);
            self.sum_of_squares -= u64::from(oldest).pow(2);
        }
        let micros = u32::try_from(gap.as_micros().min(GAP_MICROS_MAX)).unwrap_or(u32::MAX);
        if self.gaps.push_back(micros).is_ok() {
            self.sum += u64::from(micros);
            self.sum_of_squares += u64::from(micros).pow(2);
        }
    }

    /// Mean gap; none before the first.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count()).map(Duration::from_micros)
    }

    /// Standard deviation of the gaps; 0 before the second.
    #[must_use]
    pub fn deviation(&self) -> Duration {
        let count = self.count();
        let spread = count * self.sum_of_squares - self.sum.pow(2);
        Duration::from_micros(spread.isqrt().checked_div(count).unwrap_or_default())
    }

    fn count(&self) -> u64 {
        u64::try_from(self.gaps.len()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_those_of_the_textbook() {
        let mut gaps = GapStatistics::new();
        assert_eq!(gaps.mean(), None);
        for ms in [2, 4, 4, 4, 5, 5, 7, 9] {
            gaps.add(Duration::from_millis(ms));
        }
        assert_eq!(gaps.mean(), Some(Duration::from_millis(5)));
        assert_eq!(gaps.deviation(), Duration::from_millis(2));
    }

    #[test]
    fn only_the_last_256_count() {
        let mut gaps = GapStatistics::new();
        gaps.add(Duration::from_secs(3600));
        for _ in 0..256 {
            gaps.add(Duration::from_millis(100));
        }
        assert_eq!(gaps.mean(), Some(Duration::from_millis(100)));
        assert_eq!(gaps.deviation(), Duration::from_millis(0));
    }

    #[test]
    fn longest_gaps_overflow_nothing() {
        let mut gaps = GapStatistics::new();
        for _ in 0..300 {
            gaps.add(Duration::MAX);
        }
        assert_eq!(gaps.mean(), Some(Duration::from_secs(10)));
    }
}
