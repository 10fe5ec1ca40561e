//! When the control loop runs although nothing changed.
//!
//! Pure: time is an argument. The moments stand still: whatever else wakes the loop meanwhile,
//! events and leases of nodes above all, does not put them off.

use embassy_time::{Duration, Instant};

/// Shortest wait for a deadline, lest one in the past makes us spin.
const WAKE_MIN: Duration = Duration::from_millis(20);
/// Longest wait for the next run of the controllers, whatever they say: deadlines are times of day,
/// and the clock may be set.
const IDLE: Duration = Duration::from_secs(30);

/// When scheduler and controllers run next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wake {
    controllers: Instant,
    scheduler: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The controllers.
    pub(super) controllers: bool,
    /// The scheduler.
    pub(super) scheduler: bool,
}

impl Wake {
    /// Nothing has run yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { controllers: now + IDLE, scheduler: None }
    }

    /// Takes in that the controllers have run and want to run again after `wait`.
    pub(super) fn controllers_ran(&mut self, now: Instant, wait: Option<Duration>) {
        self.controllers = now + wait.unwrap_or(IDLE).clamp(WAKE_MIN, IDLE);
    }

    /// Takes in that the scheduler has run and wants to run again after `wait`.
    pub(super) fn scheduler_ran(&mut self, now: Instant, wait: Option<Duration>) {
        self.scheduler = wait.map(|wait| now + wait.clamp(WAKE_MIN, IDLE));
    }

    /// The next moment. `controllers` says that they can run: they do not while what they decided is
    /// being done.
    pub(super) fn at(&self, controllers: bool) -> Option<Instant> {
        self.scheduler.into_iter().chain(controllers.then_some(self.controllers)).min()
    }

    /// What is to run at `now`.
    pub(super) fn due(&self, now: Instant) -> Due {
        Due {
            controllers: now >= self.controllers,
            scheduler: self.scheduler.is_some_and(|at| now >= at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn a_moment_stays_whatever_happens_before_it() {
        let mut wake = Wake::new(secs(100));
        assert_eq!(wake.at(true), Some(secs(130)));
        wake.controllers_ran(secs(100), Some(Duration::from_secs(10)));
        // Leases and events come every few seconds and concern no controller.
        for now in 101..110 {
            wake.scheduler_ran(secs(now), None);
            assert_eq!(wake.at(true), Some(secs(110)));
            assert!(!wake.due(secs(now)).controllers);
        }
        assert_eq!(wake.due(secs(110)), Due { controllers: true, scheduler: false });
    }

    #[test]
    fn scheduler_wakes_while_controllers_wait_for_their_writes() {
        let mut wake = Wake::new(secs(100));
        wake.controllers_ran(secs(100), Some(Duration::from_secs(1)));
        assert_eq!(wake.at(false), None);
        wake.scheduler_ran(secs(100), Some(Duration::from_secs(5)));
        assert_eq!(wake.at(false), Some(secs(105)));
        assert!(wake.due(secs(105)).scheduler);
    }

    #[test]
    fn what_is_past_does_not_spin_and_what_is_far_is_looked_at_before() {
        let mut wake = Wake::new(secs(100));
        wake.controllers_ran(secs(100), Some(Duration::from_ticks(0)));
        assert_eq!(wake.at(true), Some(secs(100) + WAKE_MIN));
        wake.controllers_ran(secs(100), Some(Duration::from_secs(300)));
        assert_eq!(wake.at(true), Some(secs(130)));
    }
}
