//! Heartbeat sessions by index: what a datagram's header names is found without a search.
//!
//! A node has at most two sessions at a time: the one in use, and a newer one that is not
//! confirmed by a heartbeat yet. Keys outlive their TCP connection.

use bramble_shared::heartbeat::Heartbeat;
use bramble_shared::heartbeat_receiver::{HeartbeatReceiver, ReceiverSession};
use bramble_shared::ids::{NodeId, SessionIndex};
use bramble_shared::limits::NODES_MAX;
use bramble_shared::wire::{Header, PacketKind};

/// Two sessions for each node, and as many that are being set up.
pub(super) const SESSIONS_MAX: usize = 4 * NODES_MAX;

/// Sessions by index.
#[derive(Debug, Default)]
pub(super) struct SessionTable {
    places: Vec<Place>,
    /// Counts installations, so that the newer of two sessions is known.
    installed: u64,
}

#[derive(Debug)]
enum Place {
    Free,
    Reserved,
    Used(Box<Session>),
}

#[derive(Debug)]
struct Session {
    node: NodeId,
    receiver: HeartbeatReceiver,
    number: u64,
    confirmed: bool,
}

impl SessionTable {
    /// Takes the lowest free place; none if the table is full.
    pub(super) fn reserve(&mut self) -> Option<SessionIndex> {
        let free = self.places.iter().position(|place| matches!(place, Place::Free));
        let index = free.unwrap_or(self.places.len());
        if index >= SESSIONS_MAX {
            return None;
        }
        match self.places.get_mut(index) {
            Some(place) => *place = Place::Reserved,
            None => self.places.push(Place::Reserved),
        }
        u32::try_from(index).ok().map(SessionIndex)
    }

    /// Gives a place back.
    pub(super) fn release(&mut self, index: SessionIndex) {
        if let Some(place) = self.place(index) {
            *place = Place::Free;
        }
    }

    /// Puts a session into its reserved place. Of older sessions of that node only the newest
    /// confirmed one stays.
    pub(super) fn install(&mut self, session: &ReceiverSession, node: NodeId) {
        self.installed += 1;
        let number = self.installed;
        let receiver = HeartbeatReceiver::new(session);
        self.free_sessions(|other| other.node == node && !other.confirmed);
        if let Some(place) = self.place(session.session) {
            *place = Place::Used(Box::new(Session { node, receiver, number, confirmed: false }));
        }
    }

    /// Forgets all keys of a node.
    pub(super) fn revoke(&mut self, node: NodeId) {
        self.free_sessions(|session| session.node == node);
    }

    /// Opens a datagram in place: the node, its session and the heartbeat. Cheapest checks first.
    pub(super) fn open(
        &mut self,
        datagram: &mut [u8],
    ) -> Option<(NodeId, &mut HeartbeatReceiver, Heartbeat)> {
        let header = Header::decode(datagram).ok()?;
        if header.kind != PacketKind::Heartbeat {
            return None;
        }
        let Place::Used(session) = self.place(header.session)? else { return None };
        let heartbeat = session.receiver.handle_input(datagram).ok()?;
        let (node, number) = (session.node, session.number);
        if !std::mem::replace(&mut session.confirmed, true) {
            self.free_sessions(|other| other.node == node && other.number < number);
        }
        let Place::Used(session) = self.place(header.session)? else { return None };
        Some((node, &mut session.receiver, heartbeat))
    }

    fn place(&mut self, index: SessionIndex) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(index.0).ok()?)
    }

    fn free_sessions(&mut self, mut which: impl FnMut(&Session) -> bool) {
        for place in &mut self.places {
            if matches!(place, Place::Used(session) if which(session)) {
                *place = Place::Free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bramble_shared::heartbeat::Report;
    use bramble_shared::heartbeat_sender::{HeartbeatSender, SenderIdentity, SenderSession};
    use bramble_shared::ids::{BootId, Incarnation};
    use bramble_shared::seal::SessionKeys;
    use embassy_time::{Duration, Instant};

    use super::*;

    const NODE: NodeId = NodeId(3);

    /// A new session of the node and its agent's side.
    fn session(table: &mut SessionTable, key: u8) -> HeartbeatSender {
        let index = table.reserve().unwrap();
        let keys = SessionKeys::from_exported(&[key; 64]);
        let (boot_id, incarnation) = (BootId([1; 16]), Incarnation(1));
        let receiver = ReceiverSession {
            session: index,
            key_epoch: 1,
            keys: keys.clone(),
            boot_id,
            incarnation,
        };
        table.install(&receiver, NODE);
        let mut sender = HeartbeatSender::new(SenderIdentity { boot_id, incarnation }, 0);
        let interval = Duration::from_millis(100);
        sender.start_session(
            Instant::from_millis(0),
            &SenderSession { session: index, key_epoch: 1, keys, interval, term: 1 },
        );
        sender
    }

    fn accepted(table: &mut SessionTable, sender: &mut HeartbeatSender, ms: u64) -> bool {
        let now = Instant::from_millis(ms);
        sender.handle_timeout(now);
        let mut packet = [0; 512];
        let len = sender.poll_transmit(now, &Report::default(), &mut packet).unwrap();
        table.open(&mut packet[..len]).is_some_and(|(node, ..)| node == NODE)
    }

    #[test]
    fn old_keys_are_good_until_the_new_ones_are_used() {
        let mut table = SessionTable::default();
        let mut old = session(&mut table, 1);
        assert!(accepted(&mut table, &mut old, 0));
        let mut new = session(&mut table, 2);
        assert!(accepted(&mut table, &mut old, 200));
        assert!(accepted(&mut table, &mut new, 200));
        assert!(!accepted(&mut table, &mut old, 400));
    }

    #[test]
    fn sessions_that_are_never_used_do_not_pile_up() {
        let mut table = SessionTable::default();
        let mut first = session(&mut table, 1);
        assert!(accepted(&mut table, &mut first, 0));
        for key in 2..20 {
            session(&mut table, key);
        }
        assert!(table.places.len() <= 4, "{}", table.places.len());
        assert!(accepted(&mut table, &mut first, 200));
    }

    #[test]
    fn a_revoked_node_is_not_heard() {
        let mut table = SessionTable::default();
        let mut sender = session(&mut table, 1);
        table.revoke(NODE);
        assert!(!accepted(&mut table, &mut sender, 0));
    }

    #[test]
    fn the_table_is_bounded_and_places_come_back() {
        let mut table = SessionTable::default();
        for _ in 0..SESSIONS_MAX {
            table.reserve().unwrap();
        }
        assert_eq!(table.reserve(), None);
        table.release(SessionIndex(7));
        assert_eq!(table.reserve(), Some(SessionIndex(7)));
    }

    #[test]
    fn junk_is_dropped() {
        let mut table = SessionTable::default();
        session(&mut table, 1);
        for len in [0, 1, 31, 32, 100, 512, 513] {
            assert!(table.open(&mut vec![0x11; len]).is_none());
        }
    }
}
