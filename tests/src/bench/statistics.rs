//! Percentiles of durations, and numbers as people read them.

use std::time::Duration;

/// A p99 of fewer samples would be a guess.
const P99_SAMPLES: usize = 300;

/// Measured durations.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Invariant: sorted.
    sorted: Vec<Duration>,
}

impl Samples {
    /// Takes measured durations in any order.
    #[must_use]
    pub fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    /// The duration that `percent` of them do not exceed (nearest rank); zero if there are none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// `p50 1.2 ms`.
    #[must_use]
    pub fn p50(&self) -> String {
        format!("p50 {}", milliseconds(self.percentile(50)))
    }

    /// `p50 1.2 ms, p99 3.4 ms`; the second only if there are enough samples for it.
    #[must_use]
    pub fn p50_p99(&self) -> String {
        let count = self.sorted.len();
        if count < P99_SAMPLES {
            return format!("{} ({count} samples, too few for a p99)", self.p50());
        }
        format!("{}, p99 {}", self.p50(), milliseconds(self.percentile(99)))
    }

    /// `52 ms (50 ms to 61 ms, n=5)`.
    #[must_use]
    pub fn median_and_spread(&self) -> String {
        format!(
            "{} ({} to {}, n={})",
            milliseconds(self.percentile(50)),
            milliseconds(self.percentile(0)),
            milliseconds(self.percentile(100)),
            self.sorted.len()
        )
    }
}

/// `1.23 ms` below ten, `12.3 ms` below a hundred, `123 ms` below ten seconds, else `12.3 s`.
#[must_use]
pub fn milliseconds(time: Duration) -> String {
    let value = time.as_secs_f64() * 1000.0;
    match value {
        value if value < 10.0 => format!("{value:.2} ms"),
        value if value < 100.0 => format!("{value:.1} ms"),
        value if value < 10_000.0 => format!("{value:.0} ms"),
        value => format!("{:.1} s", value / 1000.0),
    }
}

/// A count as a floating point number; those of the benchmarks are far below 2^32.
#[must_use]
pub fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Number of something per second.
#[must_use]
pub fn rate(count: usize, time: Duration) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX)) / time.as_secs_f64()
}

/// `1,234/s (1,200 to 1,300, n=3)`.
#[must_use]
pub fn median_rate(rates: &[f64]) -> String {
    let mut sorted = rates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let [Some(low), Some(middle), Some(high)] =
        [sorted.first(), sorted.get(sorted.len() / 2), sorted.last()]
    else {
        return "none".to_owned();
    };
    format!(
        "{}/s ({} to {}, n={})",
        thousands(*middle),
        thousands(*low),
        thousands(*high),
        sorted.len()
    )
}

/// A whole number with commas.
#[must_use]
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that suits them, in powers of ten.
#[must_use]
pub fn bytes(count: f64) -> String {
    match count {
        count if count < 1e3 => format!("{count:.0} B"),
        count if count < 1e6 => format!("{:.2} KB", count / 1e3),
        count => format!("{:.2} MB", count / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Samples, bytes, median_rate, milliseconds, thousands};

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples = Samples::new((1..=300).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.percentile(50), Duration::from_millis(150));
        assert_eq!(samples.percentile(99), Duration::from_millis(297));
        assert_eq!(samples.percentile(0), Duration::from_millis(1));
        assert_eq!(samples.percentile(100), Duration::from_millis(300));
        assert_eq!(samples.p50_p99(), "p50 150 ms, p99 297 ms");
    }

    #[test]
    fn few_samples_have_no_p99() {
        let samples = Samples::new(vec![Duration::from_millis(2); 299]);
        assert!(samples.p50_p99().contains("too few"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(milliseconds(Duration::from_micros(1_230)), "1.23 ms");
        assert_eq!(milliseconds(Duration::from_millis(9_999)), "9999 ms");
        assert_eq!(milliseconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(bytes(1_500.0), "1.50 KB");
        assert_eq!(median_rate(&[3.0, 1.0, 2.0]), "2/s (1 to 3, n=3)");
    }
}
