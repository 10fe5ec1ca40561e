//! Decides what is said about our own name on one network, and when (RFC 6762, 6 to 9).
//!
//! ```text
//!  Probing (3 questions) --nobody objects--> Announcing (2 times) --> Settled
//!     ^         |                                  |                     |
//!     |         +------- another machine has the name -------------------+
//!     +--- after a minute --- Yielded <--+
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};

use embassy_time::{Duration, Instant};

use super::message;

/// Questions before a name is ours.
const PROBES: u8 = 3;
/// Time between them.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// Times that it is told to everybody.
const ANNOUNCEMENTS: u8 = 2;
/// Time between them; also the shortest time between two answers to everybody.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(1000);
/// Time after which a name that another machine has is tried again.
const YIELD: Duration = Duration::from_secs(60);
/// Port of those that speak multicast DNS themselves.
const PORT: u16 = 5353;

/// Who gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Nobody: there is only something to tell.
    Nobody,
    /// Everybody.
    Everybody,
    /// Who asked.
    Asker(SocketAddrV4),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// What is sent.
    pub(super) packet: Vec<u8>,
    /// To whom.
    pub(super) to: Destination,
    /// Another machine has the name, at this address.
    pub(super) conflict: Option<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Probing { sent: u8, next: Instant },
    Announcing { sent: u8, next: Instant },
    Settled,
    Yielded { until: Instant },
}

/// Speaks for one name on one network.
#[derive(Debug)]
pub(super) struct Responder {
    name: String,
    address: Ipv4Addr,
    /// All addresses of this board: two cables into one network are no conflict.
    own: Vec<Ipv4Addr>,
    state: State,
    told_at: Option<Instant>,
}

impl Responder {
    /// Begins to probe.
    pub(super) fn new(name: &str, address: Ipv4Addr, own: Vec<Ipv4Addr>, now: Instant) -> Self {
        let state = State::Probing { sent: 0, next: now };
        Self { name: name.to_owned(), address, own, state, told_at: None }
    }

    /// The name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Probing { next, .. } | State::Announcing { next, .. } => Some(next),
            State::Yielded { until } => Some(until),
            State::Settled => None,
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Output> {
        if self.poll_deadline().is_none_or(|at| now < at) {
            return None;
        }
        match self.state {
            State::Probing { sent, .. } if sent < PROBES => {
                self.state = State::Probing { sent: sent + 1, next: now + PROBE_INTERVAL };
                everybody(message::probe(&self.name, self.address).ok()?)
            }
            State::Probing { .. } => self.announce(now, 1),
            State::Announcing { sent, .. } => self.announce(now, sent + 1),
            State::Yielded { .. } => {
                self.state = State::Probing { sent: 0, next: now };
                self.handle_timeout(now)
            }
            State::Settled => None,
        }
    }

    fn announce(&mut self, now: Instant, sent: u8) -> Option<Output> {
        self.state = if sent < ANNOUNCEMENTS {
            State::Announcing { sent, next: now + ANNOUNCE_INTERVAL }
        } else {
            State::Settled
        };
        self.told_at = Some(now);
        everybody(message::announcement(&self.name, self.address).ok()?)
    }

    /// Takes a packet that came from `from`.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        packet: &[u8],
        from: SocketAddrV4,
    ) -> Option<Output> {
        let heard = message::read(packet, &self.name)?;
        let foreign = |addresses: &[Ipv4Addr]| {
            addresses.iter().copied().find(|address| !self.own.contains(address))
        };
        if heard.answer {
            let other = foreign(&heard.given)?;
            return self.contested(now, other);
        }
        match self.state {
            State::Probing { .. } => {
                // Two boards probe at once: the higher address wins (RFC 6762, 8.2).
                if foreign(&heard.proposed).is_some_and(|other| other > self.address) {
                    self.state = State::Probing { sent: 0, next: now + ANNOUNCE_INTERVAL };
                }
                None
            }
            State::Yielded { .. } => None,
            State::Announcing { .. } | State::Settled => self.answer(now, &heard, from),
        }
    }

    fn contested(&mut self, now: Instant, other: Ipv4Addr) -> Option<Output> {
        match self.state {
            State::Probing { .. } => {
                self.state = State::Yielded { until: now + YIELD };
                let to = Destination::Nobody;
                Some(Output { packet: Vec::new(), to, conflict: Some(other) })
            }
            // It was ours: ask who else has it (RFC 6762, 9).
            State::Announcing { .. } | State::Settled => {
                self.state = State::Probing { sent: 0, next: now };
                None
            }
            State::Yielded { .. } => None,
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        heard: &message::Heard,
        from: SocketAddrV4,
    ) -> Option<Output> {
        if !heard.asked || heard.given.contains(&self.address) {
            return None;
        }
        if from.port() != PORT {
            let packet = message::legacy_answer(&self.name, self.address, heard.id, heard.any);
            let to = Destination::Asker(from);
            return Some(Output { packet: packet.ok()?, to, conflict: None });
        }
        let packet = message::announcement(&self.name, self.address).ok()?;
        // Who probes must hear at once that the name is taken, however often it was told.
        if heard.alone || !heard.proposed.is_empty() {
            return Some(Output { packet, to: Destination::Asker(from), conflict: None });
        }
        if self.told_at.is_some_and(|at| now < at + ANNOUNCE_INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        everybody(packet)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it ends functions that may have nothing to say")]
fn everybody(packet: Vec<u8>) -> Option<Output> {
    Some(Output { packet, to: Destination::Everybody, conflict: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "pi-1.local";
    const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn from(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(OTHER, port)
    }

    /// Lets time pass; returns when packets were sent.
    fn pass(responder: &mut Responder, until_ms: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(deadline) = responder.poll_deadline().filter(|due| *due <= at(until_ms)) {
            if responder.handle_timeout(deadline).is_some() {
                sent.push(deadline.as_millis());
            }
        }
        sent
    }

    fn settled() -> Responder {
        let mut responder = Responder::new(NAME, OURS, vec![OURS], at(0));
        pass(&mut responder, 5_000);
        responder
    }

    #[test]
    fn name_is_probed_three_times_and_announced_twice() {
        let mut responder = Responder::new(NAME, OURS, vec![OURS], at(0));
        assert_eq!(pass(&mut responder, 60_000), [0, 250, 500, 750, 1750]);
        assert_eq!(responder.poll_deadline(), None);
    }

    #[test]
    fn questions_are_answered_to_whom_they_came_from() {
        let mut responder = settled();
        let question = message::question(NAME, 9).unwrap();
        let output = responder.handle_input(at(5_000), &question, from(40_000)).unwrap();
        assert_eq!(output.to, Destination::Asker(from(40_000)));
        assert_eq!(message::answer_to(&output.packet, NAME, 9), Some(OURS));
        let output = responder.handle_input(at(5_000), &question, from(PORT)).unwrap();
        assert_eq!(output.to, Destination::Everybody);
        // Everybody has just heard it.
        assert_eq!(responder.handle_input(at(5_500), &question, from(PORT)), None);
        assert!(responder.handle_input(at(6_100), &question, from(PORT)).is_some());
        let other = message::question("pi-2.local", 9).unwrap();
        assert_eq!(responder.handle_input(at(9_000), &other, from(40_000)), None);
        assert_eq!(responder.handle_input(at(9_000), b"junk", from(40_000)), None);
    }

    #[test]
    fn nothing_is_answered_before_the_name_is_ours() {
        let mut responder = Responder::new(NAME, OURS, vec![OURS], at(0));
        let question = message::question(NAME, 9).unwrap();
        assert_eq!(responder.handle_input(at(10), &question, from(40_000)), None);
    }

    #[test]
    fn a_name_that_another_machine_has_is_left_to_it() {
        let mut responder = Responder::new(NAME, OURS, vec![OURS], at(0));
        pass(&mut responder, 300);
        let taken = message::announcement(NAME, OTHER).unwrap();
        let output = responder.handle_input(at(300), &taken, from(PORT)).unwrap();
        assert_eq!((output.to, output.conflict), (Destination::Nobody, Some(OTHER)));
        assert_eq!(pass(&mut responder, 60_000), [0; 0]);
        assert_eq!(pass(&mut responder, 61_000).first(), Some(&60_300));
    }

    #[test]
    fn two_cables_into_one_network_are_no_conflict() {
        let mut responder = Responder::new(NAME, OURS, vec![OURS, OTHER], at(0));
        let ours = message::announcement(NAME, OTHER).unwrap();
        assert_eq!(responder.handle_input(at(100), &ours, from(PORT)), None);
        assert_eq!(pass(&mut responder, 60_000).len(), 5);
    }

    #[test]
    fn the_higher_address_wins_when_two_probe_at_once() {
        let mut responder = Responder::new(NAME, OURS, vec![OURS], at(0));
        pass(&mut responder, 100);
        let rival = message::probe(NAME, OTHER).unwrap();
        assert_eq!(responder.handle_input(at(100), &rival, from(PORT)), None);
        assert_eq!(pass(&mut responder, 2_000).first(), Some(&1_100));
        // And the winner defends it at once.
        let mut winner = settled();
        let output = winner.handle_input(at(5_000), &rival, from(PORT)).unwrap();
        assert_eq!(output.to, Destination::Asker(from(PORT)));
    }
}
