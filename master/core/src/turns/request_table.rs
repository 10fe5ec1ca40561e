//! Who may have requests worked on, and how many.
//!
//! A request takes seats by what it costs at most, most of all memory: a small one takes one, the
//! largest body nearly all that an identity has. Who has none left waits, and when too many of one
//! identity wait already, its next one is refused. Long requests (watches, logs that are followed)
//! give their seats back once they have begun, and are counted by themselves.

use std::collections::{BTreeMap, VecDeque};

use super::Identity;

/// Seats of all. Two of the largest requests, whose objects take 100 MB each while they are worked
/// on, are what a board of 512 MB bears; of small ones, enough for a group commit to pay.
pub const SEATS: u32 = 128;
/// Of these, for one identity; a request that needs more has them alone.
pub const SEATS_OF_IDENTITY: u32 = 64;
/// Requests of one identity that wait; each costs its head, some KB.
pub const WAITING_OF_IDENTITY_MAX: usize = 128;
/// Long requests of one identity: a client library watches some ten kinds.
pub const LONG_OF_IDENTITY_MAX: usize = 512;

/// A request's number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// What becomes of a request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It may begin.
    Begin,
    /// It has to wait until [`RequestTable::end`] or [`RequestTable::go_on_long`] names it.
    Wait,
    /// Its identity has too many already; it is not counted.
    Refuse,
}

/// All requests that wait or are being worked on.
#[derive(Debug, Default)]
pub struct RequestTable {
    next: u64,
    requests: BTreeMap<RequestId, Request>,
    flows: BTreeMap<Identity, Flow>,
    taken: u32,
}

#[derive(Debug)]
struct Request {
    identity: Identity,
    /// Seats that it has or, while it waits, needs.
    seats: u32,
    waits: bool,
    long: bool,
}

#[derive(Debug, Default)]
struct Flow {
    taken: u32,
    waiting: VecDeque<RequestId>,
    long: usize,
}

impl RequestTable {
    /// Takes in a request that needs so many seats while it is worked on.
    pub fn enter(&mut self, identity: &Identity, seats: u32, long: bool) -> (RequestId, Entry) {
        let id = RequestId(self.next);
        self.next += 1;
        let taken = self.taken;
        let flow = self.flows.entry(identity.clone()).or_default();
        if long && flow.long >= LONG_OF_IDENTITY_MAX
            || flow.waiting.len() >= WAITING_OF_IDENTITY_MAX
        {
            return (id, Entry::Refuse);
        }
        let begins = flow.waiting.is_empty() && flow.has_room(seats, taken);
        if begins {
            flow.taken += seats;
            self.taken += seats;
        } else {
            flow.waiting.push_back(id);
        }
        flow.long += usize::from(long);
        let request = Request { identity: identity.clone(), seats, waits: !begins, long };
        self.requests.insert(id, request);
        (id, if begins { Entry::Begin } else { Entry::Wait })
    }

    /// Notes that a request is answered but goes on, as a watch does: its seats are free.
    /// Returns who may begin.
    pub fn go_on_long(&mut self, id: RequestId) -> Vec<RequestId> {
        let Some(request) = self.requests.get_mut(&id) else { return Vec::new() };
        let seats = std::mem::take(&mut request.seats);
        if let Some(flow) = self.flows.get_mut(&request.identity) {
            flow.taken -= seats;
            self.taken -= seats;
        }
        self.seat_waiting()
    }

    /// Notes that a request has ended, or was given up while it waited. Returns who may begin.
    pub fn end(&mut self, id: RequestId) -> Vec<RequestId> {
        let Some(request) = self.requests.remove(&id) else { return Vec::new() };
        if let Some(flow) = self.flows.get_mut(&request.identity) {
            flow.long -= usize::from(request.long);
            if request.waits {
                flow.waiting.retain(|waiting| *waiting != id);
            } else {
                flow.taken -= request.seats;
                self.taken -= request.seats;
            }
            if flow.taken == 0 && flow.long == 0 && flow.waiting.is_empty() {
                self.flows.remove(&request.identity);
            }
        }
        self.seat_waiting()
    }

    /// Whether nobody has a seat.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.taken == 0
    }

    /// Gives seats to those who wait, first to who has the fewest. When there are too few for
    /// that one they are kept, lest small requests keep out a large one for ever.
    fn seat_waiting(&mut self) -> Vec<RequestId> {
        let mut begin = Vec::new();
        loop {
            let next = self
                .flows
                .values_mut()
                .filter_map(|flow| {
                    let id = *flow.waiting.front()?;
                    let seats = self.requests.get(&id)?.seats;
                    flow.fits_own(seats).then_some((flow, id, seats))
                })
                .min_by_key(|(flow, id, _)| (flow.taken, *id));
            let Some((flow, id, seats)) = next else { break };
            if !fits(seats, self.taken, SEATS) {
                break;
            }
            flow.waiting.pop_front();
            flow.taken += seats;
            self.taken += seats;
            if let Some(request) = self.requests.get_mut(&id) {
                request.waits = false;
            }
            begin.push(id);
        }
        begin
    }
}

impl Flow {
    const fn fits_own(&self, seats: u32) -> bool {
        fits(seats, self.taken, SEATS_OF_IDENTITY)
    }

    const fn has_room(&self, seats: u32, taken: u32) -> bool {
        self.fits_own(seats) && fits(seats, taken, SEATS)
    }
}

/// Whether there are so many seats left; who needs more than there are may have them alone.
const fn fits(seats: u32, taken: u32, all: u32) -> bool {
    taken == 0 || taken.saturating_add(seats) <= all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Identity {
        Identity::User(name.into())
    }

    fn enter(table: &mut RequestTable, name: &str, seats: u32) -> (RequestId, Entry) {
        table.enter(&user(name), seats, false)
    }

    #[test]
    fn large_requests_of_one_identity_are_worked_on_one_by_one_and_others_go_on() {
        let mut table = RequestTable::default();
        let large: Vec<_> = (0..60).map(|_| enter(&mut table, "burst", 48)).collect();
        assert_eq!(large[0].1, Entry::Begin);
        assert!(large[1..].iter().all(|(_, entry)| *entry == Entry::Wait));
        assert_eq!(enter(&mut table, "other", 1).1, Entry::Begin);
        assert_eq!(enter(&mut table, "other", 48).1, Entry::Begin);
        for pair in large.windows(2) {
            assert_eq!(table.end(pair[0].0), [pair[1].0]);
        }
    }

    #[test]
    fn small_requests_are_worked_on_together_up_to_a_bound() {
        let mut table = RequestTable::default();
        let mut entries = std::iter::repeat_with(|| enter(&mut table, "admin", 1).1);
        let seats = usize::try_from(SEATS_OF_IDENTITY).unwrap();
        assert!(entries.by_ref().take(seats).all(|entry| entry == Entry::Begin));
        let waiting = entries.by_ref().take(WAITING_OF_IDENTITY_MAX);
        assert!(waiting.into_iter().all(|entry| entry == Entry::Wait));
        assert_eq!(entries.next(), Some(Entry::Refuse));
        assert_eq!(enter(&mut table, "other", 1).1, Entry::Begin);
    }

    #[test]
    fn request_larger_than_all_seats_runs_alone() {
        let mut table = RequestTable::default();
        let (first, entry) = enter(&mut table, "a", SEATS + 1);
        assert_eq!(entry, Entry::Begin);
        let (second, entry) = enter(&mut table, "b", 1);
        assert_eq!(entry, Entry::Wait);
        assert_eq!(table.end(first), [second]);
    }

    #[test]
    fn who_has_least_is_seated_first_and_a_large_request_is_not_kept_out() {
        let mut table = RequestTable::default();
        let a = enter(&mut table, "a", 60).0;
        let b = enter(&mut table, "b", 60).0;
        let (large, entry) = enter(&mut table, "c", 48);
        assert_eq!(entry, Entry::Wait);
        let (small, entry) = enter(&mut table, "a", 5);
        assert_eq!(entry, Entry::Wait);
        // Four seats would do for it, but they are kept for the one who waits with none.
        let (tiny, entry) = enter(&mut table, "a", 1);
        assert_eq!(entry, Entry::Wait);
        assert_eq!(table.end(b), [large]);
        assert_eq!(table.end(a), [small, tiny]);
    }

    #[test]
    fn watches_give_their_seats_back_and_are_bounded_by_themselves() {
        let mut table = RequestTable::default();
        for _ in 0..LONG_OF_IDENTITY_MAX {
            let (id, entry) = table.enter(&user("admin"), 8, true);
            assert_eq!(entry, Entry::Begin);
            assert_eq!(table.go_on_long(id), []);
        }
        assert!(table.is_idle());
        assert_eq!(table.enter(&user("admin"), 8, true).1, Entry::Refuse);
        assert_eq!(enter(&mut table, "admin", 1).1, Entry::Begin);
        assert_eq!(table.enter(&user("other"), 8, true).1, Entry::Begin);
    }

    #[test]
    fn request_given_up_while_it_waits_leaves_its_place() {
        let mut table = RequestTable::default();
        let first = enter(&mut table, "a", 64).0;
        let gone = enter(&mut table, "a", 1).0;
        let last = enter(&mut table, "a", 1).0;
        assert_eq!(table.end(gone), []);
        assert_eq!(table.end(first), [last]);
        assert_eq!(table.end(last), []);
        assert_eq!(table.end(last), []);
        assert!(table.flows.is_empty() && table.requests.is_empty() && table.is_idle());
    }
}
