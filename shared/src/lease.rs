//! Arithmetic of leases: when an agent must have stopped its singletons, and when the master may
//! start them elsewhere.
//!
//! ```text
//! agent : singletons stopped by  t_send + T_L + K
//!         or board reset by      t_send + T_L + W
//! master: may start them elsewhere at  last_ack_sent + T_R
//!         T_R >= (T_L + max(K, W)) * (1 + rho) / (1 - rho) + epsilon
//! ```
//!
//! Both sides count on their own clocks; only the error in the rate, rho, matters.

use embassy_time::{Duration, Instant};

/// The times that make a lease safe. Use [`LeaseProfile::check`] before trusting one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseProfile {
    /// T_L: how long an acknowledged heartbeat allows singletons to run.
    pub lease: Duration,
    /// K: from the kill of a control group until it is empty.
    pub kill: Duration,
    /// W: the hardware watchdog's time-out, as granted by the kernel.
    pub watchdog: Duration,
    /// Epsilon: for everything that is not modelled.
    pub epsilon: Duration,
    /// Rho: largest error in the rate of a raw clock, in millionths.
    pub rate_error_ppm: u32,
    /// T_R: when the master may start singletons elsewhere.
    pub replace: Duration,
}

/// Why a profile is unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseProfileError {
    /// A singleton could run twice.
    #[error(
        "replacing after {replace_ms} ms is unsafe: lease, kill and watchdog need {needed_ms} ms"
    )]
    ReplacesTooEarly {
        /// T_R, in milliseconds.
        replace_ms: u64,
        /// Least safe T_R, in milliseconds, rounded up.
        needed_ms: u64,
    },
    /// A clock that errs by a tenth or more is none.
    #[error("a clock rate error of {ppm} millionths is too large")]
    RateError {
        /// As configured.
        ppm: u32,
    },
}

impl LeaseProfile {
    /// For boards on one wired switch.
    pub const FAST: Self = Self {
        lease: Duration::from_millis(1_500),
        kill: Duration::from_millis(500),
        watchdog: Duration::from_millis(2_000),
        epsilon: Duration::from_millis(500),
        rate_error_ppm: 500,
        replace: Duration::from_millis(4_100),
    };

    /// For Wi-Fi and shared switches.
    pub const CONSERVATIVE: Self = Self {
        lease: Duration::from_millis(3_000),
        kill: Duration::from_millis(1_000),
        watchdog: Duration::from_millis(5_000),
        epsilon: Duration::from_millis(900),
        rate_error_ppm: 500,
        replace: Duration::from_millis(9_000),
    };

    /// Refuses a profile that breaks the inequality.
    ///
    /// # Errors
    ///
    /// Says which time would be safe.
    pub fn check(&self) -> Result<(), LeaseProfileError> {
        if self.rate_error_ppm >= 100_000 {
            return Err(LeaseProfileError::RateError { ppm: self.rate_error_ppm });
        }
        let needed = self.least_replace();
        if self.replace < needed {
            return Err(LeaseProfileError::ReplacesTooEarly {
                replace_ms: self.replace.as_millis(),
                needed_ms: needed.as_micros().div_ceil(1_000),
            });
        }
        Ok(())
    }

    /// When an agent's permission to run singletons ends; `sent` is when it sent the heartbeat
    /// that was acknowledged.
    #[must_use]
    pub fn valid_until(&self, sent: Instant) -> Instant {
        sent + self.lease
    }

    /// When the master may start a silent node's singletons elsewhere.
    #[must_use]
    pub fn replace_at(&self, last_ack_sent: Instant) -> Instant {
        last_ack_sent + self.replace
    }

    fn least_replace(&self) -> Duration {
        let ppm = u64::from(self.rate_error_ppm);
        let stopped = (self.lease + self.kill.max(self.watchdog)).as_micros();
        let stretched = stopped.saturating_mul(1_000_000 + ppm).div_ceil(1_000_000 - ppm);
        Duration::from_micros(stretched) + self.epsilon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_hold() {
        assert_eq!(LeaseProfile::FAST.check(), Ok(()));
        assert_eq!(LeaseProfile::CONSERVATIVE.check(), Ok(()));
    }

    #[test]
    fn a_watchdog_that_is_longer_than_wanted_is_refused() {
        let profile = LeaseProfile { watchdog: Duration::from_secs(15), ..LeaseProfile::FAST };
        assert_eq!(
            profile.check(),
            Err(LeaseProfileError::ReplacesTooEarly { replace_ms: 4_100, needed_ms: 17_017 })
        );
    }

    #[test]
    fn the_bound_itself_is_accepted_and_a_microsecond_less_is_not() {
        // (1.5 s + 2 s) * 1.0005 / 0.9995 + 0.5 s, rounded up.
        let bound = Duration::from_micros(4_003_502);
        let profile = LeaseProfile { replace: bound, ..LeaseProfile::FAST };
        assert_eq!(profile.check(), Ok(()));
        let less = LeaseProfile { replace: bound - Duration::from_micros(1), ..profile };
        assert!(less.check().is_err());
    }

    #[test]
    fn a_wild_clock_is_refused() {
        let profile = LeaseProfile { rate_error_ppm: 1_000_000, ..LeaseProfile::FAST };
        assert_eq!(profile.check(), Err(LeaseProfileError::RateError { ppm: 1_000_000 }));
    }

    #[test]
    fn the_wire_grants_the_fast_lease() {
        assert_eq!(LeaseProfile::FAST.lease.as_millis(), crate::limits::LEASE_MS);
    }
}
