//! When singletons may run, and what to do when they may not.
//!
//! Pure: time and the count of processes are arguments. All times are microseconds of
//! CLOCK_MONOTONIC_RAW.
//!
//! ```text
//!          renew                      over, processes left
//!   Valid <------ Over, nothing runs ----------------------> Stopping --+
//!     |              ^                                          |  ^    | kill again
//!     +--- over -----+<------------- empty --------------------+  +----+
//! ```
//!
//! A lease that comes back while singletons are being stopped does not stop the stopping: they
//! were half dead, and the master may have counted them out.

use std::collections::BTreeSet;

/// The lease of this node and the singletons that rely on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    valid_until_us: u64,
    grants: BTreeSet<String>,
    stopping: bool,
    /// Something may run although no grant of it is known: from before this process.
    unknown: bool,
    next_kill_us: u64,
    next_pet_us: u64,
}

/// What the fence does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stops the singletons' cgroup where it stands.
    Freeze,
    /// Kills everything in it.
    Kill,
    /// Tells the watchdog that all is well.
    Pet,
}

/// Furthest end of a lease that is believed, from now: longer than any profile grants.
pub const LEASE_AHEAD_MAX_US: u64 = 30_000_000;

/// Interval between two rounds of killing.
const KILL_INTERVAL_US: u64 = 5_000;

/// Interval between two pets: several within the shortest watchdog time of 1 s.
const PET_INTERVAL_US: u64 = 250_000;

impl Lease {
    /// Goes on with the lease that an earlier fence of this boot had heard of; 0 for none.
    #[must_use]
    pub fn resume(valid_until_us: u64, now_us: u64) -> Self {
        let believable = valid_until_us <= now_us.saturating_add(LEASE_AHEAD_MAX_US);
        Self {
            valid_until_us: if believable { valid_until_us } else { 0 },
            grants: BTreeSet::new(),
            stopping: false,
            unknown: true,
            next_kill_us: 0,
            next_pet_us: 0,
        }
    }

    /// Extends the lease; never shortens it. Returns false for an end that cannot be believed.
    pub fn renew(&mut self, valid_until_us: u64, now_us: u64) -> bool {
        if valid_until_us > now_us.saturating_add(LEASE_AHEAD_MAX_US) {
            return false;
        }
        self.valid_until_us = self.valid_until_us.max(valid_until_us);
        true
    }

    /// Grants the start of a singleton, or not.
    pub fn grant(&mut self, cgroup_path: &str, now_us: u64) -> bool {
        if !self.valid(now_us) || self.stopping {
            return false;
        }
        self.grants.insert(cgroup_path.to_owned());
        true
    }

    /// Forgets a singleton that has ended.
    pub fn release(&mut self, cgroup_path: &str) {
        self.grants.remove(cgroup_path);
    }

    /// Whether the lease is valid.
    #[must_use]
    pub fn valid(&self, now_us: u64) -> bool {
        now_us < self.valid_until_us
    }

    /// End of the lease.
    #[must_use]
    pub fn valid_until_us(&self) -> u64 {
        self.valid_until_us
    }

    /// Whether singletons are being stopped.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Cgroups of the singletons that may run.
    pub fn grants(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().map(String::as_str)
    }

    /// Whether [`Lease::on_time`] needs to know if singletons run; counting them costs.
    #[must_use]
    pub fn needs_count(&self, now_us: u64) -> bool {
        self.stopping || (!self.valid(now_us) && (self.unknown || !self.grants.is_empty()))
    }

    /// Says what to do now. `populated`: some process is in the singletons' cgroup.
    pub fn on_time(&mut self, now_us: u64, populated: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        let stop = self.stopping || !self.valid(now_us);
        if stop && populated {
            if !self.stopping {
                self.stopping = true;
                self.next_kill_us = now_us;
                actions.push(Action::Freeze);
            }
            if now_us >= self.next_kill_us {
                self.next_kill_us = now_us + KILL_INTERVAL_US;
                actions.push(Action::Kill);
            }
            // No pet: if they do not die in time, the board is reset.
            return actions;
        }
        if stop {
            // Nothing runs; whoever wants to start must ask again.
            self.stopping = false;
            self.unknown = false;
            self.grants.clear();
        }
        if now_us >= self.next_pet_us {
            self.next_pet_us = now_us + PET_INTERVAL_US;
            actions.push(Action::Pet);
        }
        actions
    }

    /// Returns when [`Lease::on_time`] wants to be called next, if ever.
    #[must_use]
    pub fn next_deadline_us(&self, now_us: u64, watchdog: bool) -> Option<u64> {
        if self.stopping {
            return Some(self.next_kill_us);
        }
        let pet = watchdog.then_some(self.next_pet_us);
        let watched = self.unknown || !self.grants.is_empty();
        let end = watched.then_some(self.valid_until_us.max(now_us));
        [pet, end].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_US: u64 = 1_500_000;

    fn held() -> Lease {
        let mut lease = Lease::resume(0, 0);
        assert_eq!(lease.on_time(0, false), [Action::Pet]);
        assert!(lease.renew(LEASE_US, 0));
        assert!(lease.grant("/s/db", 0));
        lease
    }

    #[test]
    fn nothing_is_granted_without_a_valid_lease() {
        let mut lease = Lease::resume(0, 0);
        assert!(!lease.grant("/s/db", 0));
        lease.renew(10, 0);
        assert!(lease.grant("/s/db", 9));
        assert!(!lease.grant("/s/db", 10));
    }

    #[test]
    fn singletons_are_frozen_and_killed_at_the_end_of_the_lease_and_not_before() {
        let mut lease = held();
        assert_eq!(lease.next_deadline_us(1, false), Some(LEASE_US));
        assert_eq!(lease.on_time(LEASE_US - 1, true), [Action::Pet]);
        assert_eq!(lease.on_time(LEASE_US, true), [Action::Freeze, Action::Kill]);
        assert_eq!(lease.on_time(LEASE_US + KILL_INTERVAL_US, true), [Action::Kill]);
    }

    #[test]
    fn the_watchdog_is_not_petted_while_a_singleton_outlives_the_lease() {
        let mut lease = held();
        lease.on_time(LEASE_US, true);
        for step in 1..1000 {
            let actions = lease.on_time(LEASE_US + step * KILL_INTERVAL_US, true);
            assert!(!actions.contains(&Action::Pet));
        }
        assert_eq!(lease.on_time(2 * LEASE_US + 1000 * KILL_INTERVAL_US, false), [Action::Pet]);
        assert_eq!(lease.grants().count(), 0);
    }

    #[test]
    fn a_board_without_singletons_is_petted_without_a_master() {
        let mut lease = Lease::resume(0, 0);
        for second in 0..100 {
            assert_eq!(lease.on_time(second * 1_000_000, false), [Action::Pet]);
        }
    }

    #[test]
    fn a_late_renewal_does_not_bring_half_dead_singletons_back() {
        let mut lease = held();
        lease.on_time(LEASE_US, true);
        assert!(lease.renew(2 * LEASE_US, LEASE_US + 1));
        assert!(!lease.grant("/s/other", LEASE_US + 1));
        let later = LEASE_US + KILL_INTERVAL_US;
        assert_eq!(lease.on_time(later, true), [Action::Kill]);
        assert_eq!(lease.on_time(later + 1, false), [Action::Pet]);
        assert!(lease.grant("/s/other", later + 2));
    }

    #[test]
    fn renewals_never_shorten_and_never_reach_too_far() {
        let mut lease = held();
        assert!(lease.renew(1, 0));
        assert_eq!(lease.valid_until_us(), LEASE_US);
        assert!(!lease.renew(LEASE_AHEAD_MAX_US + 1, 0));
        assert_eq!(lease.valid_until_us(), LEASE_US);
    }

    #[test]
    fn singletons_of_an_earlier_fence_are_stopped_when_its_lease_ends() {
        let mut lease = Lease::resume(100, 50);
        assert_eq!(lease.next_deadline_us(50, false), Some(100));
        assert!(lease.needs_count(100));
        assert_eq!(lease.on_time(100, true), [Action::Freeze, Action::Kill]);
        // After a reboot the clock starts again: an end far ahead is no lease.
        assert!(!Lease::resume(u64::MAX, 0).valid(0));
    }
}
