//! How far our own judgement can be trusted: a process that is late itself must not call others
//! dead (Lifeguard's local health).
//!
//! Does not measure: whoever sleeps says how late it woke.

use embassy_time::Duration;

/// Highest score: time-outs are multiplied by at most 9.
pub const SCORE_MAX: u8 = 8;
/// Timely wake-ups in a row that lower the score by one: two seconds of heartbeats.
const TIMELY_TO_RECOVER: u8 = 20;

/// Score of our own lateness; every time-out is multiplied by 1 + score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalHealth {
    score: u8,
    timely: u8,
}

impl LocalHealth {
    /// Notes that we woke `lag` later than we wanted; more than one heartbeat interval is a fault.
    pub fn observe_timer_lag(&mut self, lag: Duration, interval: Duration) {
        if lag > interval {
            // A pause of several seconds is worth more than one small delay.
            let faults = lag.as_ticks() / interval.as_ticks().max(1);
            let faults = u8::try_from(faults).unwrap_or(SCORE_MAX);
            self.score = self.score.saturating_add(faults).min(SCORE_MAX);
            self.timely = 0;
        } else if self.score > 0 {
            self.timely += 1;
            if self.timely >= TIMELY_TO_RECOVER {
                self.score -= 1;
                self.timely = 0;
            }
        }
    }

    /// 0 (well) to [`SCORE_MAX`].
    #[must_use]
    pub const fn score(self) -> u8 {
        self.score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: Duration = Duration::from_millis(100);

    #[test]
    fn lateness_raises_and_timeliness_lowers_the_score() {
        let mut health = LocalHealth::default();
        health.observe_timer_lag(Duration::from_millis(99), H);
        assert_eq!(health.score(), 0);
        health.observe_timer_lag(Duration::from_millis(350), H);
        assert_eq!(health.score(), 3);
        for _ in 0..20 {
            health.observe_timer_lag(Duration::from_millis(1), H);
        }
        assert_eq!(health.score(), 2);
    }

    #[test]
    fn score_is_bounded() {
        let mut health = LocalHealth::default();
        health.observe_timer_lag(Duration::from_secs(3600), H);
        assert_eq!(health.score(), SCORE_MAX);
    }
}
