//! Failure detector for one node: from the gaps between its heartbeats to *dead*.
//!
//! *Dead* means "no evidence of life" and may be wrong; it never means that nothing runs there
//! (see [`crate::lease`]). Sends nothing and does not know who the node is.
//!
//! ```text
//!            suspect time-out          300 ms more
//!   Alive ---------------------> Suspect -------------> Dead
//!     ^                             |                     |
//!     +--------- heartbeat ---------+------ heartbeat ----+
//! ```

use embassy_time::{Duration, Instant};

use crate::gap_statistics::GapStatistics;

/// Time between suspicion and death, in milliseconds: room for direct and indirect probes.
pub const CONFIRM_MS: u64 = 300;

/// What is believed of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard of lately.
    Alive,
    /// Silent for longer than usual.
    Suspect {
        /// When the suspicion arose. Confirmation counts from here and not from the last
        /// heartbeat: after a pause of our own, what waits in the socket must be read first.
        since: Instant,
    },
    /// No evidence of life.
    Dead {
        /// When that was concluded.
        since: Instant,
    },
}

/// A change of what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Alive to suspect.
    Suspected,
    /// Suspect to dead.
    Died,
    /// Suspect to alive: the suspicion was wrong.
    Cleared,
    /// Dead to alive.
    Returned,
}

/// Failure detector for one boot of one node.
#[derive(Clone, Debug)]
pub struct FailureDetector {
    interval: Duration,
    gaps: GapStatistics,
    newest_sequence: u64,
    last_arrival: Instant,
    liveness: Liveness,
    /// 1 + score of our own health; every time-out is multiplied by it.
    multiplier: u32,
}

impl FailureDetector {
    /// A node that is believed to be alive as of `now`, with heartbeats every `interval`.
    #[must_use]
    pub const fn new(now: Instant, interval: Duration) -> Self {
        Self {
            interval,
            gaps: GapStatistics::new(),
            newest_sequence: 0,
            last_arrival: now,
            liveness: Liveness::Alive,
            multiplier: 1,
        }
    }

    /// What is believed as of the last call.
    #[must_use]
    pub const fn liveness(&self) -> Liveness {
        self.liveness
    }

    /// When the last new heartbeat came (or the detector was made).
    #[must_use]
    pub const fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// Sets the score of our own health; see [`crate::local_health`].
    pub fn set_local_health(&mut self, score: u8) {
        self.multiplier = 1 + u32::from(score);
    }

    /// Forgets gaps and sequences, for a new boot or incarnation, which is itself a sign of life.
    pub fn restart(&mut self, now: Instant) -> Option<Transition> {
        self.gaps = GapStatistics::new();
        self.newest_sequence = 0;
        self.last_arrival = now;
        self.believe_alive()
    }

    /// Takes an authenticated heartbeat. One that is not newer than all before is no evidence.
    pub fn handle_heartbeat(&mut self, now: Instant, sequence: u64) -> Option<Transition> {
        if sequence <= self.newest_sequence {
            return None;
        }
        // The first gap runs from the session's start and an outage is no gap between heartbeats.
        let counts = self.newest_sequence != 0 && !matches!(self.liveness, Liveness::Dead { .. });
        if counts {
            self.gaps.add(now.saturating_duration_since(self.last_arrival));
        }
        self.newest_sequence = sequence;
        self.last_arrival = self.last_arrival.max(now);
        self.believe_alive()
    }

    /// To be called at [`Self::poll_deadline`]; does nothing before. Call it again until it
    /// returns none.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Transition> {
        if now < self.poll_deadline()? {
            return None;
        }
        match self.liveness {
            Liveness::Alive => {
                self.liveness = Liveness::Suspect { since: now };
                Some(Transition::Suspected)
            }
            Liveness::Suspect { .. } => {
                self.liveness = Liveness::Dead { since: now };
                Some(Transition::Died)
            }
            Liveness::Dead { .. } => None,
        }
    }

    /// When [`Self::handle_timeout`] has something to do; none while dead.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        match self.liveness {
            Liveness::Alive => Some(self.last_arrival + self.suspect_after()),
            Liveness::Suspect { since } => {
                Some(since + Duration::from_millis(CONFIRM_MS) * self.multiplier)
            }
            Liveness::Dead { .. } => None,
        }
    }

    /// Silence that makes a node suspect: `clamp(mean + max(2H, 6 sigma), 3H, 6H)`, times our own
    /// lateness.
    #[must_use]
    pub fn suspect_after(&self) -> Duration {
        let mean = self.gaps.mean().unwrap_or(self.interval);
        let margin = (self.interval * 2).max(self.gaps.deviation() * 6);
        (mean + margin).clamp(self.interval * 3, self.interval * 6) * self.multiplier
    }

    fn believe_alive(&mut self) -> Option<Transition> {
        match core::mem::replace(&mut self.liveness, Liveness::Alive) {
            Liveness::Alive => None,
            Liveness::Suspect { .. } => Some(Transition::Cleared),
            Liveness::Dead { .. } => Some(Transition::Returned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// A detector with steady heartbeats, the last at 10 s.
    fn steady() -> FailureDetector {
        let mut detector = FailureDetector::new(at(0), H);
        for beat in 1..=100 {
            assert_eq!(detector.handle_heartbeat(at(beat * 100), beat), None);
        }
        detector
    }

    #[test]
    fn silence_is_suspect_after_three_intervals_and_dead_300_ms_later() {
        let mut detector = steady();
        assert_eq!(detector.handle_timeout(at(10_299)), None);
        assert_eq!(detector.poll_deadline(), Some(at(10_300)));
        assert_eq!(detector.handle_timeout(at(10_300)), Some(Transition::Suspected));
        assert_eq!(detector.handle_timeout(at(10_599)), None);
        assert_eq!(detector.handle_timeout(at(10_600)), Some(Transition::Died));
        assert_eq!(detector.poll_deadline(), None);
    }

    #[test]
    fn heartbeat_clears_a_suspicion_and_revives_the_dead() {
        let mut detector = steady();
        detector.handle_timeout(at(10_300));
        assert_eq!(detector.handle_heartbeat(at(10_400), 101), Some(Transition::Cleared));
        detector.handle_timeout(at(11_000));
        detector.handle_timeout(at(11_300));
        assert_eq!(detector.handle_heartbeat(at(20_000), 102), Some(Transition::Returned));
        assert_eq!(detector.liveness(), Liveness::Alive);
    }

    #[test]
    fn an_old_sequence_is_no_evidence() {
        let mut detector = steady();
        detector.handle_timeout(at(10_300));
        assert_eq!(detector.handle_heartbeat(at(10_400), 100), None);
        assert_eq!(detector.handle_timeout(at(10_600)), Some(Transition::Died));
    }

    #[test]
    fn restart_accepts_sequences_from_one_again() {
        let mut detector = steady();
        detector.handle_timeout(at(10_300));
        assert_eq!(detector.restart(at(10_350)), Some(Transition::Cleared));
        detector.handle_heartbeat(at(10_400), 1);
        assert_eq!(detector.last_arrival(), at(10_400));
    }

    #[test]
    fn jitter_widens_the_time_out_up_to_six_intervals() {
        let mut detector = FailureDetector::new(at(0), H);
        let mut now = 0;
        for beat in 1..=200 {
            now += if beat % 10 == 0 { 300 } else { 80 };
            detector.handle_heartbeat(at(now), beat);
        }
        let after = detector.suspect_after();
        assert!(after > H * 3 && after <= H * 6, "{after:?}");
        for beat in 201..=400 {
            now += if beat % 2 == 0 { 900 } else { 10 };
            detector.handle_heartbeat(at(now), beat);
        }
        assert_eq!(detector.suspect_after(), H * 6);
    }

    #[test]
    fn own_lateness_multiplies_the_time_outs() {
        let mut detector = steady();
        detector.set_local_health(2);
        assert_eq!(detector.poll_deadline(), Some(at(10_900)));
        detector.handle_timeout(at(10_900));
        assert_eq!(detector.poll_deadline(), Some(at(11_800)));
    }

    #[test]
    fn a_pause_of_our_own_kills_nobody_at_once() {
        let mut detector = steady();
        assert_eq!(detector.handle_timeout(at(60_000)), Some(Transition::Suspected));
        assert_eq!(detector.handle_timeout(at(60_000)), None);
        assert_eq!(detector.handle_heartbeat(at(60_001), 101), Some(Transition::Cleared));
    }

    #[test]
    fn one_lost_heartbeat_in_five_kills_nobody() {
        let mut detector = FailureDetector::new(at(0), H);
        for beat in (1..=1000_u64).filter(|beat| beat % 5 != 0) {
            let now = at(beat * 100);
            assert_ne!(detector.handle_timeout(now), Some(Transition::Died));
            detector.handle_heartbeat(now, beat);
        }
        assert_eq!(detector.liveness(), Liveness::Alive);
    }
}
