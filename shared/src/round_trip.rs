//! The time from a heartbeat to its acknowledgement, smoothed as TCP does it.

use embassy_time::Duration;

/// A sample moves the smoothed time by this part of the difference: RFC 6298's 1/8, which at ten
/// heartbeats a second forgets a stall within seconds.
const GAIN: u64 = 8;

/// A smoothed round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
}

impl RoundTrip {
    /// Without a sample.
    #[must_use]
    pub const fn new() -> Self {
        Self { smoothed: None }
    }

    /// Adds a sample; the first one counts in full.
    pub fn add(&mut self, sample: Duration) {
        let smoothed = self.smoothed.unwrap_or(sample).as_micros();
        let sample = sample.as_micros();
        self.smoothed = Some(Duration::from_micros(if sample >= smoothed {
            smoothed + (sample - smoothed) / GAIN
        } else {
            smoothed - (smoothed - sample) / GAIN
        }));
    }

    /// The smoothed time in microseconds, at most 71 minutes; none without a sample.
    #[must_use]
    pub fn micros(&self) -> Option<u32> {
        self.smoothed.map(|smoothed| u32::try_from(smoothed.as_micros()).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: &[u64]) -> Option<u32> {
        let mut round_trip = RoundTrip::new();
        for micros in samples {
            round_trip.add(Duration::from_micros(*micros));
        }
        round_trip.micros()
    }

    #[test]
    fn samples_count_by_an_eighth() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[800]), Some(800));
        assert_eq!(after(&[800, 1_600]), Some(900));
        assert_eq!(after(&[800, 0]), Some(700));
        assert_eq!(after(&[1 << 40, 1 << 40]), Some(u32::MAX));
    }

    #[test]
    fn a_stall_is_forgotten_within_five_seconds() {
        let samples: std::vec::Vec<u64> = core::iter::once(300_000).chain([400; 50]).collect();
        assert!(after(&samples).is_some_and(|micros| micros < 1_000));
    }
}
