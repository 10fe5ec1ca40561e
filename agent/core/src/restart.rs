//! How long a container or a pull waits before the next try.
//!
//! Kubernetes' figures: the first restart is immediate, then 10 s, doubled up to 5 minutes, and
//! forgotten once a container has run for 10 minutes.

use bramble_shared::link::RestartPolicy;
use embassy_time::{Duration, Instant};

/// Shortest wait; the kubelet's `containerBackOffPeriod`.
const WAIT_MIN: Duration = Duration::from_secs(10);
/// Longest wait; the kubelet's `MaxContainerBackOff`.
pub const WAIT_MAX: Duration = Duration::from_secs(300);
/// A container that ran for twice the longest wait is taken for healthy.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Grows with each failure, shrinks to nothing after a long run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackOff {
    last: Option<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    wait: Duration,
    started: Instant,
}

impl BackOff {
    /// A back-off as it was before the agent restarted.
    #[must_use]
    pub fn resumed(wait_s: u64, started: Instant) -> Self {
        if wait_s == 0 {
            return Self::default();
        }
        Self { last: Some(Step { wait: Duration::from_secs(wait_s).min(WAIT_MAX), started }) }
    }

    /// How long to wait after an end at `now`.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.current(now).map_or(Duration::from_ticks(0), |step| step.wait)
    }

    /// Notes a start at `now`, so that the wait after its end is longer.
    pub fn note_start(&mut self, now: Instant) {
        let wait = self.current(now).map_or(WAIT_MIN, |step| (step.wait * 2).min(WAIT_MAX));
        self.last = Some(Step { wait, started: now });
    }

    /// The wait after the next end, in whole seconds; for the record that outlives the agent.
    #[must_use]
    pub fn wait_s(&self) -> u64 {
        self.last.map_or(0, |step| step.wait.as_secs())
    }

    fn current(&self, now: Instant) -> Option<Step> {
        self.last.filter(|step| now.saturating_duration_since(step.started) <= FORGET_AFTER)
    }
}

/// Back-off of image pulls: a failed pull always waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullBackOff {
    wait: Option<Duration>,
}

impl PullBackOff {
    /// Notes a failure and returns the wait until the next try.
    pub fn note_failure(&mut self) -> Duration {
        let wait = self.wait.map_or(WAIT_MIN, |wait| (wait * 2).min(WAIT_MAX));
        self.wait = Some(wait);
        wait
    }

    /// Forgets earlier failures.
    pub fn note_success(&mut self) {
        self.wait = None;
    }
}

/// Says whether a container that ended is started again.
#[must_use]
pub fn restarts(policy: RestartPolicy, exit_code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_nothing_to_five_minutes() {
        let mut back_off = BackOff::default();
        let mut now = Instant::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = back_off.wait(now);
            waits.push(wait.as_secs());
            now += wait;
            back_off.note_start(now);
            now += Duration::from_secs(1);
        }
        // The first start is not a restart, so the list begins with the wait before it.
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_makes_the_next_restart_immediate() {
        let mut back_off = BackOff::default();
        let start = Instant::from_secs(1);
        back_off.note_start(start);
        back_off.note_start(start + Duration::from_secs(20));
        let end = start + Duration::from_secs(20) + Duration::from_secs(601);
        assert_eq!(back_off.wait(end).as_secs(), 0);
    }

    #[test]
    fn a_resumed_back_off_goes_on_where_it_was() {
        let now = Instant::from_secs(5);
        let mut back_off = BackOff::resumed(40, now);
        assert_eq!(back_off.wait(now).as_secs(), 40);
        back_off.note_start(now);
        assert_eq!(back_off.wait_s(), 80);
    }

    #[test]
    fn only_failures_restart_under_on_failure() {
        assert!(!restarts(RestartPolicy::OnFailure, 0));
        assert!(restarts(RestartPolicy::OnFailure, 1));
        assert!(restarts(RestartPolicy::Always, 0));
        assert!(!restarts(RestartPolicy::Never, 1));
    }
}
