//! Whose work is done next.
//!
//! Each identity has a queue of its own. The next piece is that of the identity that has the fewest
//! pieces in the works, and of these, of the one that has used the least time. Who comes after a
//! pause begins with as much as the others have at least, so that a pause saves up nothing. A new
//! identity's piece thus waits for what is being worked on at that moment, and for nothing else.

use std::collections::{BTreeMap, VecDeque};

use embassy_time::Duration;

use super::Identity;

/// Pieces of work that wait for a thread.
#[derive(Debug)]
pub struct FairQueue<T> {
    flows: BTreeMap<Identity, Flow<T>>,
    /// Time that was used by whoever had its last turn: nobody counts as having used less.
    floor: Duration,
    /// Counts turns, so that of two who have used the same the one goes first that waits longer.
    turns: u64,
}

#[derive(Debug)]
struct Flow<T> {
    waiting: VecDeque<T>,
    /// Pieces that are being worked on.
    running: usize,
    used: Duration,
    last_turn: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { flows: BTreeMap::new(), floor: Duration::from_ticks(0), turns: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Puts a piece at the end of its identity's queue.
    pub fn push(&mut self, identity: &Identity, piece: T) {
        if let Some(flow) = self.flows.get_mut(identity) {
            if flow.waiting.is_empty() && flow.running == 0 {
                flow.used = flow.used.max(self.floor);
            }
            flow.waiting.push_back(piece);
        } else {
            let waiting = VecDeque::from([piece]);
            let flow = Flow { waiting, running: 0, used: self.floor, last_turn: self.turns };
            self.flows.insert(identity.clone(), flow);
        }
    }

    /// Takes the piece whose turn it is. [`Self::done`] must follow.
    pub fn pop(&mut self) -> Option<(Identity, T)> {
        let ready = self.flows.iter_mut().filter(|(_, flow)| !flow.waiting.is_empty());
        let (identity, flow) = ready.min_by_key(|(_, it)| (it.running, it.used, it.last_turn))?;
        let piece = flow.waiting.pop_front()?;
        flow.running += 1;
        self.turns += 1;
        flow.last_turn = self.turns;
        self.floor = self.floor.max(flow.used);
        Some((identity.clone(), piece))
    }

    /// Notes that a piece of this identity was worked on for so long.
    pub fn done(&mut self, identity: &Identity, time: Duration) {
        if let Some(flow) = self.flows.get_mut(identity) {
            flow.running = flow.running.saturating_sub(1);
            flow.used += time;
        }
        // What was used beyond the floor is remembered until the others have caught up.
        let floor = self.floor;
        self.flows
            .retain(|_, flow| !flow.waiting.is_empty() || flow.running > 0 || flow.used > floor);
    }

    /// Whether nothing waits and nothing is being worked on.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flows.values().all(|flow| flow.waiting.is_empty() && flow.running == 0)
    }

    /// Takes everything that waits.
    pub fn drain(&mut self) -> Vec<T> {
        self.flows.values_mut().flat_map(|flow| flow.waiting.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Identity {
        Identity::User(name.into())
    }

    /// Threads that work in virtual time; a piece is its name and how long it takes.
    #[derive(Default)]
    struct Threads {
        queue: FairQueue<(&'static str, u64)>,
        now: u64,
        running: Vec<(u64, Identity, (&'static str, u64))>,
        /// Pieces that have ended, with the time.
        ended: Vec<(&'static str, u64)>,
    }

    impl Threads {
        fn push(&mut self, name: &'static str, ms: u64) {
            self.queue.push(&user(name), (name, ms));
        }

        /// Works with two threads until everything is done, or until that time.
        fn work_until(&mut self, end: u64) {
            loop {
                while self.running.len() < 2 {
                    let Some((identity, piece)) = self.queue.pop() else { break };
                    self.running.push((self.now + piece.1, identity, piece));
                }
                self.running.sort_by_key(|(at, ..)| *at);
                match self.running.first() {
                    Some((at, ..)) if *at <= end => {}
                    Some(_) | None => break,
                }
                let (at, identity, piece) = self.running.remove(0);
                self.now = at;
                self.queue.done(&identity, Duration::from_millis(piece.1));
                self.ended.push((piece.0, at));
            }
            self.now = end;
        }

        fn ends_of(&self, name: &str) -> Vec<u64> {
            self.ended.iter().filter(|(it, _)| *it == name).map(|(_, at)| *at).collect()
        }
    }

    #[test]
    fn burst_delays_others_by_what_is_running_only() {
        let mut threads = Threads::default();
        for _ in 0..60 {
            threads.push("burst", 1_000);
        }
        threads.work_until(500);
        threads.push("other", 1);
        threads.work_until(100_000);
        assert_eq!(threads.ends_of("other"), [1_001]);
        assert_eq!(threads.ends_of("burst").len(), 60);
    }

    #[test]
    fn time_is_shared_by_time_and_not_by_pieces() {
        let mut threads = Threads::default();
        for _ in 0..50 {
            threads.push("heavy", 100);
            threads.push("third", 100);
        }
        for _ in 0..1_000 {
            threads.push("light", 1);
        }
        threads.work_until(1_500);
        // A third of two threads' time is its share, give or take a piece of another's.
        let light = threads.ends_of("light").len();
        assert!((900..=1_000).contains(&light), "{light}");
        let (heavy, third) = (threads.ends_of("heavy").len(), threads.ends_of("third").len());
        assert!(heavy.abs_diff(third) <= 1, "{heavy} and {third}");
    }

    #[test]
    fn pause_saves_up_nothing() {
        let mut threads = Threads::default();
        threads.push("early", 1);
        threads.work_until(10);
        for _ in 0..100 {
            threads.push("steady", 100);
        }
        threads.work_until(2_000);
        for _ in 0..100 {
            threads.push("early", 100);
        }
        threads.work_until(3_000);
        let (early, steady) = (threads.ends_of("early").len(), threads.ends_of("steady").len());
        assert!((9..=11).contains(&(early - 1)), "{early}");
        assert!((48..=52).contains(&steady), "{steady}");
    }

    #[test]
    fn one_identity_has_its_pieces_done_in_order_and_leaves_nothing_behind() {
        let mut queue = FairQueue::default();
        let one = user("one");
        for piece in 0..5 {
            queue.push(&one, piece);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, piece)| piece).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert!(!queue.is_idle());
        for _ in 0..5 {
            queue.done(&one, Duration::from_ticks(0));
        }
        assert!(queue.is_idle() && queue.flows.is_empty());
    }
}
