//! The master's side of one heartbeat session: opens heartbeats and makes acknowledgements.
//!
//! Does not judge liveness (see [`crate::detector`]) and has no socket.

use crate::ack::{ACK_LEN_MAX, Ack};
use crate::heartbeat::Heartbeat;
use crate::ids::{BootId, Incarnation, SessionIndex};
use crate::node_set::NodeSet;
use crate::seal::{OpenError, Opener, SealError, Sealer, SessionKeys};
use crate::wire::{DecodeBodyError, PacketKind};

/// What the node link established.
#[derive(Clone, Debug)]
pub struct ReceiverSession {
    /// Index in the table of sessions.
    pub session: SessionIndex,
    /// Epoch of the keys.
    pub key_epoch: u16,
    /// Keys from the TLS exporter.
    pub keys: SessionKeys,
    /// Boot that said hello.
    pub boot_id: BootId,
    /// Incarnation that said hello.
    pub incarnation: Incarnation,
}

/// What an acknowledgement gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The leader's term.
    pub term: u64,
    /// Lease in milliseconds.
    pub lease_ms: u32,
    /// Version of `unreachable`.
    pub unreachable_version: u64,
    /// Nodes that get no traffic now.
    pub unreachable: NodeSet,
}

/// Why a datagram is no heartbeat. Worth a counter, never a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleHeartbeatError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is authentic, but no heartbeat.
    #[error(transparent)]
    Body(#[from] DecodeBodyError),
    /// It names another boot or incarnation than the one that said hello.
    #[error("the heartbeat is of another boot or incarnation than its session")]
    OtherIncarnation,
}

/// One heartbeat session.
#[derive(Debug)]
pub struct HeartbeatReceiver {
    opener: Opener,
    sealer: Sealer,
    boot_id: BootId,
    incarnation: Incarnation,
}

impl HeartbeatReceiver {
    /// A session that has seen nothing.
    #[must_use]
    pub fn new(session: &ReceiverSession) -> Self {
        let ReceiverSession { session: index, key_epoch, keys, boot_id, incarnation } = session;
        Self {
            opener: Opener::new(&keys.to_master, PacketKind::Heartbeat, *index, *key_epoch),
            sealer: Sealer::new(&keys.to_agent, PacketKind::Ack, *index, *key_epoch),
            boot_id: *boot_id,
            incarnation: *incarnation,
        }
    }

    /// Opens a datagram, in place.
    ///
    /// # Errors
    ///
    /// It is no fresh heartbeat of this session; it must get no reply.
    pub fn handle_input(&mut self, datagram: &mut [u8]) -> Result<Heartbeat, HandleHeartbeatError> {
        let opened = self.opener.open(datagram)?;
        let heartbeat = Heartbeat::decode(opened.body)?;
        if heartbeat.boot_id != self.boot_id || heartbeat.incarnation != self.incarnation {
            return Err(HandleHeartbeatError::OtherIncarnation);
        }
        Ok(heartbeat)
    }

    /// Writes the sealed acknowledgement into `out` and returns its length, which is at most the
    /// heartbeat's.
    ///
    /// # Errors
    ///
    /// The buffer is too small, or the counters are used up.
    pub fn acknowledge(
        &mut self,
        heartbeat: &Heartbeat,
        grant: &Grant,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let ack = Ack {
            sequence: heartbeat.sequence,
            term: grant.term,
            lease_ms: grant.lease_ms,
            unreachable_version: grant.unreachable_version,
            unreachable: grant.unreachable,
        };
        let mut body = [0; ACK_LEN_MAX];
        let body = ack.encode(&mut body).ok_or(SealError::TooLong { len: ACK_LEN_MAX })?;
        self.sealer.seal(body, out).map(|sealed| sealed.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::{HEARTBEAT_LEN_MAX, Report};

    #[test]
    fn another_incarnation_under_the_same_keys_is_refused() {
        let keys = SessionKeys::from_exported(&[5; 64]);
        let mut receiver = HeartbeatReceiver::new(&ReceiverSession {
            session: SessionIndex(1),
            key_epoch: 1,
            keys: keys.clone(),
            boot_id: BootId([1; 16]),
            incarnation: Incarnation(1),
        });
        let mut sealer = Sealer::new(&keys.to_master, PacketKind::Heartbeat, SessionIndex(1), 1);
        let mut check = |boot, incarnation, expected: Option<HandleHeartbeatError>| {
            let heartbeat = Heartbeat {
                sequence: 1,
                boot_id: BootId([boot; 16]),
                incarnation: Incarnation(incarnation),
                sent_at: 0,
                last_ack: 0,
                report: Report::default(),
            };
            let (mut body, mut packet) = ([0; HEARTBEAT_LEN_MAX], [0; 512]);
            let body = heartbeat.encode(&mut body).unwrap();
            let len = sealer.seal(body, &mut packet).unwrap().len;
            assert_eq!(receiver.handle_input(&mut packet[..len]).err(), expected);
        };
        check(1, 1, None);
        check(2, 1, Some(HandleHeartbeatError::OtherIncarnation));
        check(1, 2, Some(HandleHeartbeatError::OtherIncarnation));
    }
}
