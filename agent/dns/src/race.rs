//! One question to several resolvers: the first is asked, and the others beside it when it is slow.
//!
//! ```text
//!  0 ms  ask the first      300 ms  ask the second, too      600 ms  the third      900 ms  the first again ...
//!  "could not": ask the next at once;  good answer: done;  4 s: given up
//! ```

use embassy_time::{Duration, Instant};

/// Time that a resolver has before the next is asked beside it: a home router asks a far one.
const HEDGE: Duration = Duration::from_millis(300);
/// Time for the whole question: clients wait for 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// Packets to each resolver: one may be lost.
const ROUNDS: usize = 2;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this resolver, and do not wait.
    Ask(usize),
    /// Wait for an answer until then.
    Wait(Instant),
    /// Nobody answers.
    GiveUp,
}

/// The state of one question.
#[derive(Clone, Debug)]
pub struct Race {
    servers: usize,
    first: usize,
    asked: usize,
    failed: Vec<bool>,
    next_at: Instant,
    ends: Instant,
}

impl Race {
    /// A question to so many resolvers, of which `first` is asked first.
    #[must_use]
    pub fn new(servers: usize, first: usize, now: Instant) -> Self {
        let failed = vec![false; servers];
        Self { servers, first, asked: 0, failed, next_at: now, ends: now + PATIENCE }
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant) -> Step {
        if now >= self.ends || self.failed.iter().all(|failed| *failed) {
            return Step::GiveUp;
        }
        while self.asked < self.servers * ROUNDS && now >= self.next_at {
            let server = (self.first + self.asked) % self.servers;
            self.asked += 1;
            if !self.failed.get(server).is_some_and(|failed| *failed) {
                self.next_at = now + HEDGE;
                return Step::Ask(server);
            }
        }
        let more = self.asked < self.servers * ROUNDS;
        Step::Wait(if more { self.next_at.min(self.ends) } else { self.ends })
    }

    /// A resolver said that it could not answer: the next is asked at once.
    pub fn failed(&mut self, server: usize, now: Instant) {
        if let Some(failed) = self.failed.get_mut(server) {
            *failed = true;
            self.next_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_slow_resolver_is_joined_by_the_next() {
        let mut race = Race::new(2, 1, at(0));
        assert_eq!(race.step(at(0)), Step::Ask(1));
        assert_eq!(race.step(at(0)), Step::Wait(at(300)));
        assert_eq!(race.step(at(300)), Step::Ask(0));
        assert_eq!(race.step(at(600)), Step::Ask(1), "the packet may have been lost");
        assert_eq!(race.step(at(900)), Step::Ask(0));
        assert_eq!(race.step(at(900)), Step::Wait(at(4000)));
        assert_eq!(race.step(at(4000)), Step::GiveUp);
    }

    #[test]
    fn a_failure_brings_the_next_at_once() {
        let mut race = Race::new(2, 0, at(0));
        assert_eq!(race.step(at(0)), Step::Ask(0));
        race.failed(0, at(10));
        assert_eq!(race.step(at(10)), Step::Ask(1));
        assert_eq!(race.step(at(10)), Step::Wait(at(310)));
        assert_eq!(race.step(at(310)), Step::Ask(1), "who could not is not asked again");
        race.failed(1, at(320));
        assert_eq!(race.step(at(320)), Step::GiveUp);
    }

    #[test]
    fn without_resolvers_it_is_given_up() {
        assert_eq!(Race::new(0, 0, at(0)).step(at(0)), Step::GiveUp);
    }
}
