//! The agent's side of the heartbeat: when to send, what an acknowledgement grants, and when the
//! session is worth nothing any more.
//!
//! Has no socket and no clock. It outlives sessions: sequence, lease, term and the set of
//! unreachable nodes go on while [`HeartbeatSender::start_session`] replaces keys.

use embassy_time::{Duration, Instant};

use crate::ack::Ack;
use crate::heartbeat::{HEARTBEAT_LEN_MAX, Heartbeat, Report};
use crate::ids::{BootId, Incarnation, SessionIndex};
use crate::jitter::Jitter;
use crate::node_set::NodeSet;
use crate::round_trip::RoundTrip;
use crate::seal::{OpenError, Opener, Sealer, SessionKeys};
use crate::wire::{DecodeBodyError, PacketKind};

/// Silence of the master after which the agent dials anew, in milliseconds.
pub const REDIAL_AFTER_MS: u64 = 500;
/// Heartbeats whose send time is remembered: 6.4 s, more than any lease.
const SENT_MAX: usize = 64;

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct SenderIdentity {
    /// The board's boot.
    pub boot_id: BootId,
    /// The agent's start on this board.
    pub incarnation: Incarnation,
}

/// What the node link's welcome and its TLS session say about heartbeats.
#[derive(Clone, Debug)]
pub struct SenderSession {
    /// Index in the master's table.
    pub session: SessionIndex,
    /// Epoch of the keys.
    pub key_epoch: u16,
    /// Keys from the TLS exporter.
    pub keys: SessionKeys,
    /// Time between heartbeats.
    pub interval: Duration,
    /// The leader's term.
    pub term: u64,
}

/// Something that the rest of the agent should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// Singletons may run until this instant; only ever moves forward.
    LeaseUntil(Instant),
    /// The master has not answered for [`REDIAL_AFTER_MS`]: drop the link and dial again.
    /// Repeated until it answers.
    Redial,
    /// The set of nodes that get no traffic has changed.
    Unreachable(NodeSet),
}

/// Why a datagram was not taken. Worth a counter, never a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleAckError {
    /// There is no session.
    #[error("no heartbeat session")]
    NoSession,
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is authentic, but no acknowledgement.
    #[error(transparent)]
    Body(#[from] DecodeBodyError),
    /// It comes from a deposed leader.
    #[error("term {found} is older than {newest}")]
    OldTerm {
        /// Its term.
        found: u64,
        /// Newest term that was seen.
        newest: u64,
    },
}

/// Sends heartbeats and reads their acknowledgements.
#[derive(Debug)]
pub struct HeartbeatSender {
    identity: SenderIdentity,
    jitter: Jitter,
    session: Option<Session>,
    sequence: u64,
    sent: heapless::Deque<(u64, Instant), SENT_MAX>,
    round_trip: RoundTrip,
    term: u64,
    lease_until: Option<Instant>,
    unreachable: NodeSet,
    unreachable_version: u64,
    events: heapless::Deque<SenderEvent, 4>,
}

#[derive(Debug)]
struct Session {
    sealer: Sealer,
    opener: Opener,
    interval: Duration,
    last_ack: u64,
    send_at: Instant,
    redial_at: Instant,
    /// A heartbeat is due and was not yet asked for.
    due: bool,
    lag: Duration,
}

impl HeartbeatSender {
    /// A sender without session.
    #[must_use]
    pub const fn new(identity: SenderIdentity, seed: u64) -> Self {
        Self {
            identity,
            jitter: Jitter::new(seed),
            session: None,
            sequence: 0,
            sent: heapless::Deque::new(),
            round_trip: RoundTrip::new(),
            term: 0,
            lease_until: None,
            unreachable: NodeSet::EMPTY,
            unreachable_version: 0,
            events: heapless::Deque::new(),
        }
    }

    /// Goes on under new keys; the first heartbeat is due at once.
    pub fn start_session(&mut self, now: Instant, session: &SenderSession) {
        let SenderSession { session: index, key_epoch, keys, interval, term } = session;
        self.enter_term(*term);
        self.session = Some(Session {
            sealer: Sealer::new(&keys.to_master, PacketKind::Heartbeat, *index, *key_epoch),
            opener: Opener::new(&keys.to_agent, PacketKind::Ack, *index, *key_epoch),
            interval: *interval,
            last_ack: 0,
            send_at: now,
            redial_at: now + Duration::from_millis(REDIAL_AFTER_MS),
            due: false,
            lag: Duration::from_ticks(0),
        });
    }

    /// When singletons must have been stopped; none before the first lease.
    #[must_use]
    pub const fn lease_until(&self) -> Option<Instant> {
        self.lease_until
    }

    /// Nodes that get no traffic.
    #[must_use]
    pub const fn unreachable(&self) -> NodeSet {
        self.unreachable
    }

    /// Newest term that was seen.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Takes a datagram from the master.
    ///
    /// # Errors
    ///
    /// It is no fresh acknowledgement of this session by the leader; nothing has changed then.
    pub fn handle_input(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<(), HandleAckError> {
        let session = self.session.as_mut().ok_or(HandleAckError::NoSession)?;
        let opened = session.opener.open(datagram)?;
        let ack = Ack::decode(opened.body)?;
        if ack.term < self.term {
            return Err(HandleAckError::OldTerm { found: ack.term, newest: self.term });
        }
        session.last_ack = session.last_ack.max(opened.counter);
        session.redial_at = now + Duration::from_millis(REDIAL_AFTER_MS);
        self.enter_term(ack.term);
        self.take_unreachable(&ack);
        self.take_sent(now, &ack);
        Ok(())
    }

    /// To be called at [`Self::poll_deadline`]; does nothing before.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        if now >= session.send_at {
            session.lag = now.saturating_duration_since(session.send_at);
            session.due = true;
            let next = session.send_at + self.jitter.around(session.interval);
            // After a pause the missed heartbeats are left out: a burst would prove nothing.
            session.send_at =
                if next > now { next } else { now + self.jitter.around(session.interval) };
        }
        if now >= session.redial_at {
            session.redial_at = now + Duration::from_millis(REDIAL_AFTER_MS);
            self.round_trip = RoundTrip::new();
            self.push_event(SenderEvent::Redial);
        }
    }

    /// Writes the heartbeat that is due into `buffer` (at least
    /// [`crate::limits::DATAGRAM_LEN_MAX`] bytes) and returns its length. `now` must be read
    /// right before the packet goes out: the lease counts from it.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        report: &Report,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let session = self.session.as_mut().filter(|session| session.due)?;
        let sequence = self.sequence + 1;
        let lag_ms = u16::try_from(session.lag.as_millis()).unwrap_or(u16::MAX);
        let heartbeat = Heartbeat {
            sequence,
            boot_id: self.identity.boot_id,
            incarnation: self.identity.incarnation,
            sent_at: now.as_micros(),
            last_ack: session.last_ack,
            report: Report {
                timer_lag_ms: lag_ms,
                round_trip_us: self.round_trip.micros(),
                ..*report
            },
        };
        let mut body = [0; HEARTBEAT_LEN_MAX];
        let sealed = session.sealer.seal(heartbeat.encode(&mut body)?, buffer).ok()?;
        session.due = false;
        self.sequence = sequence;
        if self.sent.is_full() {
            self.sent.pop_front();
        }
        // Cannot fail: room was just made.
        let _ = self.sent.push_back((sequence, now));
        Some(sealed.len)
    }

    /// When [`Self::handle_timeout`] has something to do; none without a session.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.session.as_ref().map(|session| session.send_at.min(session.redial_at))
    }

    /// Next thing that the rest of the agent should know.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    fn enter_term(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            // Versions count within a term.
            self.unreachable_version = 0;
        }
    }

    fn take_unreachable(&mut self, ack: &Ack) {
        if ack.unreachable_version <= self.unreachable_version {
            return;
        }
        self.unreachable_version = ack.unreachable_version;
        if self.unreachable != ack.unreachable {
            self.unreachable = ack.unreachable;
            self.push_event(SenderEvent::Unreachable(ack.unreachable));
        }
    }

    /// What follows from when the heartbeat was sent that this acknowledges.
    fn take_sent(&mut self, now: Instant, ack: &Ack) {
        let sent = self.sent.iter().find(|(sequence, _)| *sequence == ack.sequence);
        let Some((_, sent)) = sent else { return };
        self.round_trip.add(now.saturating_duration_since(*sent));
        if ack.lease_ms == 0 {
            return;
        }
        let until = *sent + Duration::from_millis(u64::from(ack.lease_ms));
        if self.lease_until.is_none_or(|current| until > current) {
            self.lease_until = Some(until);
            self.push_event(SenderEvent::LeaseUntil(until));
        }
    }

    /// All events are levels: an older one of the same kind is out of date.
    fn push_event(&mut self, event: SenderEvent) {
        let same =
            |other: &SenderEvent| core::mem::discriminant(other) == core::mem::discriminant(&event);
        if let Some(older) = self.events.iter_mut().find(|older| same(older)) {
            *older = event;
        } else {
            // Cannot fail: there are fewer kinds than places.
            let _ = self.events.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat_receiver::{Grant, HeartbeatReceiver, ReceiverSession};
    use crate::ids::NodeId;

    const IDENTITY: SenderIdentity =
        SenderIdentity { boot_id: BootId([1; 16]), incarnation: Incarnation(2) };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn keys() -> SessionKeys {
        SessionKeys::from_exported(&[3; 64])
    }

    fn started() -> (HeartbeatSender, HeartbeatReceiver) {
        let mut sender = HeartbeatSender::new(IDENTITY, 3);
        let (session, key_epoch) = (SessionIndex(4), 1);
        sender.start_session(
            at(0),
            &SenderSession {
                session,
                key_epoch,
                keys: keys(),
                interval: Duration::from_millis(100),
                term: 7,
            },
        );
        let receiver = HeartbeatReceiver::new(&ReceiverSession {
            session,
            key_epoch,
            keys: keys(),
            boot_id: IDENTITY.boot_id,
            incarnation: IDENTITY.incarnation,
        });
        (sender, receiver)
    }

    const GRANT: Grant =
        Grant { term: 7, lease_ms: 1_500, unreachable_version: 0, unreachable: NodeSet::EMPTY };

    /// One heartbeat at `sent`; its acknowledgement comes at `answered`.
    fn exchange(
        (sender, receiver): &mut (HeartbeatSender, HeartbeatReceiver),
        sent: Instant,
        answered: Instant,
        grant: &Grant,
    ) -> Result<(), HandleAckError> {
        let mut packet = [0; 512];
        sender.handle_timeout(sent);
        let len = sender.poll_transmit(sent, &Report::default(), &mut packet).unwrap();
        let heartbeat = receiver.handle_input(&mut packet[..len]).unwrap();
        let mut reply = [0; 512];
        let reply_len = receiver.acknowledge(&heartbeat, grant, &mut reply).unwrap();
        assert!(reply_len <= len);
        sender.handle_input(answered, &mut reply[..reply_len])
    }

    #[test]
    fn lease_counts_from_the_send_time() {
        let mut pair = started();
        exchange(&mut pair, at(10), at(200), &GRANT).unwrap();
        assert_eq!(pair.0.lease_until(), Some(at(1_510)));
        assert_eq!(pair.0.poll_event(), Some(SenderEvent::LeaseUntil(at(1_510))));
        assert_eq!(pair.0.poll_event(), None);
    }

    /// The round trip that the next heartbeat tells.
    fn told_round_trip(
        (sender, receiver): &mut (HeartbeatSender, HeartbeatReceiver),
        now: Instant,
    ) -> Option<u32> {
        let mut packet = [0; 512];
        sender.handle_timeout(now);
        let len = sender.poll_transmit(now, &Report::default(), &mut packet).unwrap();
        receiver.handle_input(&mut packet[..len]).unwrap().report.round_trip_us
    }

    #[test]
    fn a_heartbeat_tells_the_round_trip_until_nobody_answers() {
        let mut pair = started();
        assert_eq!(told_round_trip(&mut pair, at(0)), None);
        exchange(&mut pair, at(200), at(203), &GRANT).unwrap();
        assert_eq!(told_round_trip(&mut pair, at(400)), Some(3_000));
        assert_eq!(told_round_trip(&mut pair, at(703)), None);
    }

    #[test]
    fn heartbeats_leave_every_100_ms_give_or_take_a_tenth() {
        let (mut sender, _) = started();
        let mut packet = [0; 512];
        assert_eq!(sender.poll_deadline(), Some(at(0)));
        assert!(sender.poll_transmit(at(0), &Report::default(), &mut packet).is_none());
        sender.handle_timeout(at(0));
        assert!(sender.poll_transmit(at(0), &Report::default(), &mut packet).is_some());
        assert!(sender.poll_transmit(at(0), &Report::default(), &mut packet).is_none());
        let mut last = at(0);
        for _ in 0..4 {
            let next = sender.poll_deadline().unwrap();
            let gap = next.duration_since(last).as_millis();
            assert!((90..=110).contains(&gap), "{gap}");
            sender.handle_timeout(next);
            assert!(sender.poll_transmit(next, &Report::default(), &mut packet).is_some());
            last = next;
        }
    }

    #[test]
    fn a_pause_sends_one_heartbeat_and_tells_its_lag() {
        let mut pair = started();
        exchange(&mut pair, at(0), at(1), &GRANT).unwrap();
        let (sender, receiver) = &mut pair;
        sender.handle_timeout(at(5_000));
        let mut packet = [0; 512];
        let len = sender.poll_transmit(at(5_000), &Report::default(), &mut packet).unwrap();
        let heartbeat = receiver.handle_input(&mut packet[..len]).unwrap();
        assert!(heartbeat.report.timer_lag_ms > 4_000);
        assert_eq!(heartbeat.last_ack, 1);
        assert!(sender.poll_transmit(at(5_000), &Report::default(), &mut packet).is_none());
        assert!(sender.poll_deadline().unwrap() > at(5_000));
    }

    #[test]
    fn half_a_second_of_silence_asks_for_a_redial() {
        let mut pair = started();
        exchange(&mut pair, at(0), at(100), &GRANT).unwrap();
        while pair.0.poll_event().is_some() {}
        pair.0.handle_timeout(at(599));
        assert_eq!(pair.0.poll_event(), None);
        pair.0.handle_timeout(at(600));
        assert_eq!(pair.0.poll_event(), Some(SenderEvent::Redial));
        pair.0.handle_timeout(at(1_100));
        assert_eq!(pair.0.poll_event(), Some(SenderEvent::Redial));
    }

    #[test]
    fn lower_terms_are_refused() {
        let mut pair = started();
        let error = exchange(&mut pair, at(0), at(1), &Grant { term: 6, ..GRANT }).unwrap_err();
        assert_eq!(error, HandleAckError::OldTerm { found: 6, newest: 7 });
        assert_eq!(pair.0.lease_until(), None);
    }

    #[test]
    fn newest_version_of_the_unreachable_set_wins() {
        let mut pair = started();
        let set = |node| [NodeId(node)].into_iter().collect::<NodeSet>();
        let version = |unreachable_version, node| Grant {
            unreachable_version,
            unreachable: set(node),
            ..GRANT
        };
        exchange(&mut pair, at(0), at(1), &version(5, 1)).unwrap();
        exchange(&mut pair, at(200), at(201), &version(4, 2)).unwrap();
        assert_eq!(pair.0.unreachable(), set(1));
        exchange(&mut pair, at(400), at(401), &Grant { term: 8, ..version(1, 3) }).unwrap();
        assert_eq!(pair.0.unreachable(), set(3));
    }

    #[test]
    fn a_new_session_keeps_the_lease_and_the_sequence() {
        let mut pair = started();
        exchange(&mut pair, at(0), at(1), &GRANT).unwrap();
        let (mut sender, _) = pair;
        let session = SenderSession {
            session: SessionIndex(9),
            key_epoch: 1,
            keys: SessionKeys::from_exported(&[9; 64]),
            interval: Duration::from_millis(100),
            term: 7,
        };
        sender.start_session(at(50), &session);
        assert_eq!(sender.lease_until(), Some(at(1_500)));
        let mut packet = [0; 512];
        sender.handle_timeout(at(50));
        let len = sender.poll_transmit(at(50), &Report::default(), &mut packet).unwrap();
        let mut receiver = HeartbeatReceiver::new(&ReceiverSession {
            session: session.session,
            key_epoch: 1,
            keys: session.keys,
            boot_id: IDENTITY.boot_id,
            incarnation: IDENTITY.incarnation,
        });
        assert_eq!(receiver.handle_input(&mut packet[..len]).unwrap().sequence, 2);
    }
}
