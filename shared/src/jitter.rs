//! Spreads periodic work, so that a hundred boards that got power at once do not speak at once.
//!
//! A plain generator from a seed (splitmix64): not for secrets.

use embassy_time::Duration;

/// Source of jitter.
#[derive(Clone, Debug)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// The same seed gives the same jitter.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `duration` changed by at most a tenth of it, either way.
    pub fn around(&mut self, duration: Duration) -> Duration {
        let ticks = duration.as_ticks();
        let spread = ticks / 10;
        Duration::from_ticks(ticks - spread + self.next() % (2 * spread + 1))
    }

    /// Between the two, both included; `low` if they are in the wrong order.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.as_ticks().saturating_sub(low.as_ticks());
        Duration::from_ticks(low.as_ticks() + self.next() % width.saturating_add(1))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth_and_varies() {
        let mut jitter = Jitter::new(1);
        let (mut low, mut high) = (Duration::MAX, Duration::MIN);
        for _ in 0..1_000 {
            let value = jitter.around(Duration::from_millis(100));
            low = low.min(value);
            high = high.max(value);
        }
        assert!(low >= Duration::from_millis(90) && high <= Duration::from_millis(110));
        assert!(low < Duration::from_millis(92) && high > Duration::from_millis(108));
    }

    #[test]
    fn bounds_in_the_wrong_order_give_the_first() {
        let (two, one) = (Duration::from_ticks(2), Duration::from_ticks(1));
        assert_eq!(Jitter::new(1).between(two, one), two);
    }
}
