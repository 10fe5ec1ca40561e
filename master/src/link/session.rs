//! One node's session: hello, welcome, then desired state out and reports in, until either ends.
//!
//! All of it is one task, so that its end ends everything. Level-based: a session that breaks
//! loses nothing, since the next one sends all that is needed.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bramble_api::Status;
use bramble_master_core::membership::Hearing;
use bramble_shared::heartbeat_receiver::ReceiverSession;
use bramble_shared::limits::{HEARTBEAT_INTERVAL_MS, HELLO_LEN_MAX, REPORT_LEN_MAX};
use bramble_shared::link::{
    Accepted, HEARTBEAT_EXPORTER_LABEL, Hello, LINK_VERSION, ToAgent, ToMaster, TokenReply, Welcome,
};
use bramble_shared::seal::SessionKeys;
use futures_util::io::{AsyncReadExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use yamux::{ConnectionError, Stream};

use super::budget::Cost;
use super::diff::Sent;
use super::framed::{self, FrameReader, ReadFrameError, WriteFrameError};
use super::registration::{Board, RegisterError, Registered};
use super::reports::Reports;
use super::time_told::TimeTold;
use super::tokens;
use super::{NodeLink, bounds, mux};
use crate::clock;
use crate::heartbeat::Reservation;
use crate::pki::{SignError, certificate_key_sha256};
use crate::telemetry::Chain;
use crate::token::{NodeAccess, TokenError};

/// Epoch of the heartbeat keys; raised when all keys must be dealt anew.
const KEY_EPOCH: u16 = 1;
/// Time that an agent has from its connection to its hello.
const HELLO: Duration = Duration::from_secs(10);
/// Time between pings.
const PING: Duration = Duration::from_secs(5);
/// Longest wait of a board that says hello too often: agents give a dial up after 5 s.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(1);
/// Answers that wait to be written; nothing more is read of a node that does not take them.
const ANSWERS_MAX: usize = 16;
/// Pause between two looks whether an earlier boot of the node has fallen silent.
const LOOK: Duration = Duration::from_millis(50);
/// Looks before a board is sent away. 3 s: a node is dead after 0.65 s, and later if we are busy.
const LOOKS_MAX: u32 = 60;
/// Silence after which the connection is given up: heartbeats notice a dead node long before.
const SILENCE: Duration = Duration::from_secs(20);

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The agent said no hello in time.
    #[error("the agent did not say hello")]
    NoHello,
    /// The agent's words were no frames.
    #[error("could not read from the agent")]
    Read(#[from] ReadFrameError),
    /// The agent could not be reached.
    #[error("could not write to the agent")]
    Write(#[from] WriteFrameError),
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[from] ConnectionError),
    /// TLS would not yield heartbeat keys.
    #[error("could not derive heartbeat keys")]
    Keys(#[source] rustls::Error),
    /// It was silent, and another one of that node or from there came.
    #[error("the agent did not say hello before another link of its kind came")]
    CrowdedOut,
    /// There is no place for another heartbeat session.
    #[error("too many heartbeat sessions")]
    TooMany,
    /// The agent speaks other versions.
    #[error("the agent speaks link versions {min} to {max}, this master speaks {LINK_VERSION}")]
    Version { min: u16, max: u16 },
    /// The board may not be this node.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The board's certificate does not count any more.
    #[error(
        "this board's certificate for node `{node}` was revoked; `bramble node replace {node}` and a \
         new token let it join again"
    )]
    Revoked { node: String },
    /// Two boards use the certificate.
    #[error(
        "two boards use the certificate of node `{node}`, so neither is believed; unplug the one that \
         is a copy and run `bramble node replace {node}`, or end the access of both with `bramble \
         node revoke {node}`"
    )]
    Quarantined { node: String },
    /// Another boot was heard a moment ago.
    #[error("another boot of node `{node}` is not known to be silent yet; try again")]
    StillHeard { node: String },
    /// What is written down of the node could not be read.
    #[error("could not read the Node object")]
    Present(#[source] Status),
    /// The key of the board's certificate could not be looked up.
    #[error("could not check the board's certificate")]
    Key(#[from] TokenError),
    /// The certificate is damaged.
    #[error("could not read the board's certificate")]
    Certificate(#[from] SignError),
    /// The agent has not answered for a while.
    #[error("the agent has not answered for {} s", SILENCE.as_secs())]
    Silent,
}

impl SessionError {
    /// Whether an administrator should hear that somebody has the node's certificate.
    fn suspicious(&self) -> bool {
        matches!(
            self,
            Self::Revoked { .. }
                | Self::Quarantined { .. }
                | Self::Register(RegisterError::OtherBoard { .. } | RegisterError::Address { .. })
        )
    }

    /// Whether the same refusal comes again and again, and was told already.
    pub(super) fn repeated(&self) -> bool {
        self.suspicious() || matches!(self, Self::StillHeard { .. } | Self::CrowdedOut)
    }

    /// Whether the other side went away without a word, as it does when its power fails.
    pub(super) fn lost(&self) -> bool {
        let gone = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        };
        let mut cause = self.source();
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(gone) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Serves one connection to its end, and says why it ended.
pub(super) async fn serve(
    link: &NodeLink,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    node: &str,
) -> Result<&'static str, SessionError> {
    // Before anything is kept for it.
    let mut pending = link.pending.enter(node, peer.ip());
    let reservation = link.heartbeats.reserve().ok_or(SessionError::TooMany)?;
    let keys = export_keys(&stream, &reservation)?;
    let public_key = public_key(&stream)?;
    // Small frames must not wait for larger ones to be acknowledged.
    let _ = stream.get_ref().0.set_nodelay(true);
    let (opener, mut streams, mux) = mux::accept(stream.compat());
    let mut crowded_out = std::mem::replace(&mut pending.stopped, closed());
    let talk = async {
        let hello = timeout(HELLO, async {
            let control = streams.recv().await.ok_or(SessionError::NoHello)?;
            let (reader, writer) = control.split();
            let mut reader = FrameReader::with_len_max(reader, HELLO_LEN_MAX);
            let hello = reader.read::<Hello>().await?.ok_or(SessionError::NoHello)?;
            Ok::<_, SessionError>((bounds::hello(&hello), reader, writer))
        });
        let hello = tokio::select! {
            hello = hello => hello,
            _ = &mut crowded_out => return Err(SessionError::CrowdedOut),
        };
        let (hello, mut reader, mut writer) = hello.map_err(|_| SessionError::NoHello)??;
        drop(pending);
        reader.set_len_max(REPORT_LEN_MAX);
        let admitted = admit(link, &hello, peer, node, &public_key).await;
        let registered = match admitted {
            Ok(registered) => registered,
            Err(error) => {
                let reason = Chain(&error).to_string();
                if error.suspicious() {
                    link.tell_refusal(node, "LinkRefused", &reason).await;
                }
                framed::write(&mut writer, &Welcome::Refused { reason }).await?;
                // The refusal must leave before the connection does.
                let _ = timeout(Duration::from_secs(1), reader.read::<ToMaster>()).await;
                return Err(error);
            }
        };
        let entry = link.active.enter(node, opener.clone()).await;
        let session = Session { link, node, public_key: &public_key, registered, peer };
        session.run(&hello, keys, reservation, reader, writer, entry).await
    };
    tokio::select! {
        ended = talk => ended,
        ended = mux.run() => ended.map(|()| "the agent closed it").map_err(SessionError::from),
    }
}

/// One direction each: agent to master, then master to agent.
fn export_keys(
    stream: &TlsStream<TcpStream>,
    reservation: &Reservation,
) -> Result<SessionKeys, SessionError> {
    let context = reservation.index().0.to_le_bytes();
    let connection = stream.get_ref().1;
    let exported = connection
        .export_keying_material([0; 64], HEARTBEAT_EXPORTER_LABEL, Some(&context))
        .map_err(SessionError::Keys)?;
    Ok(SessionKeys::from_exported(&exported))
}

/// SHA-256 of the public key in the certificate that the agent has shown.
fn public_key(stream: &TlsStream<TcpStream>) -> Result<[u8; 32], SessionError> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let missing = || SignError::Pem("there is none".to_owned());
    Ok(certificate_key_sha256(certificates.first().ok_or_else(missing)?)?)
}

async fn check_key(
    link: &NodeLink,
    node: &str,
    public_key: &[u8; 32],
) -> Result<NodeAccess, SessionError> {
    let access = link.tokens.access(node, public_key, clock::time_of_day_ms()).await?;
    if access.speaks { Ok(access) } else { Err(SessionError::Revoked { node: node.to_owned() }) }
}

async fn admit(
    link: &NodeLink,
    hello: &Hello,
    peer: SocketAddr,
    node: &str,
    public_key: &[u8; 32],
) -> Result<Registered, SessionError> {
    let access = check_key(link, node, public_key).await?;
    let (min, max) = (hello.version_min, hello.version_max);
    if !(min..=max).contains(&LINK_VERSION) {
        return Err(SessionError::Version { min, max });
    }
    // Hellos are written down, so a board that redials all the time has to wait.
    let cost = Cost { durable: 1, ..Cost::default() };
    tokio::time::sleep(link.spend(node, cost).min(HELLO_WAIT_MAX)).await;
    check_boot(link, hello, node).await?;
    let any_board = access.new_board || access.permitted;
    let contacts = link.heartbeats.contacts();
    let board = Board { hello, peer: peer.ip(), any_board, contacts: &contacts };
    let registered = link.registration.register(node, &board).await?;
    if access.new_board || registered.other_board {
        link.tokens.settle(node).await?;
    }
    Ok(registered)
}

/// Waits until no other boot of the node is heard: before that, nothing of it is written down.
async fn check_boot(link: &NodeLink, hello: &Hello, node: &str) -> Result<(), SessionError> {
    let present = link.registration.present(node).await.map_err(SessionError::Present)?;
    let Some(present) = present else { return Ok(()) };
    link.heartbeats.ensure_node(present.id, node, present.quarantined);
    for _ in 0..LOOKS_MAX {
        match link.heartbeats.hear(present.id, hello.boot_id) {
            Hearing::Welcome => return Ok(()),
            Hearing::Quarantined => {
                return Err(SessionError::Quarantined { node: node.to_owned() });
            }
            Hearing::Wait => tokio::time::sleep(LOOK).await,
        }
    }
    Err(SessionError::StillHeard { node: node.to_owned() })
}

struct Session<'a> {
    link: &'a NodeLink,
    node: &'a str,
    public_key: &'a [u8; 32],
    registered: Registered,
    peer: SocketAddr,
}

impl Session<'_> {
    async fn run(
        &self,
        hello: &Hello,
        keys: SessionKeys,
        reservation: Reservation,
        reader: FrameReader<ReadHalf<Stream>>,
        mut writer: WriteHalf<Stream>,
        mut entry: super::active::Entry,
    ) -> Result<&'static str, SessionError> {
        let Self { link, node, registered, peer, .. } = self;
        let local = peer.ip().is_loopback()
            || registered.address == link.facts.master_address
            || peer.ip() == IpAddr::V4(link.facts.master_address);
        link.heartbeats.add_node(registered.id, node, local, false);
        let receiver = ReceiverSession {
            session: reservation.index(),
            key_epoch: KEY_EPOCH,
            keys,
            boot_id: hello.boot_id,
            incarnation: hello.incarnation,
        };
        reservation.install(&receiver, registered.id);
        // Keys outlive the session, so whatever ended it before they were there must be seen now.
        if let Err(error) = self.check().await {
            link.heartbeats.forget_keys(registered.id);
            link.active.leave(node, &entry);
            return Err(error);
        }
        let accepted = self.welcome(&receiver);
        let told = TimeTold::new(accepted.time_of_day_ms, clock::monotonic());
        framed::write(&mut writer, &Welcome::Accepted(Box::new(accepted))).await?;
        tracing::info!(%node, %peer, id = registered.id.0, "node linked");
        let reports = Reports {
            objects: &link.objects,
            events: &link.events,
            node,
            address: registered.address,
            pod_range: registered.pod_range,
            heartbeats: &link.heartbeats,
            id: registered.id,
        };
        let (answer, answers) = mpsc::channel(ANSWERS_MAX);
        let mut stopped = std::mem::replace(&mut entry.stopped, closed());
        let ended = tokio::select! {
            ended = self.send(writer, &reports, told, answers) => ended,
            ended = self.receive(reader, &reports, &answer) => ended,
            _ = &mut stopped => Ok("replaced, or its Node object was deleted"),
        };
        link.active.leave(node, &entry);
        ended
    }

    /// Fails if the node's access was ended since it was admitted.
    async fn check(&self) -> Result<(), SessionError> {
        let Self { link, node, public_key, registered, .. } = self;
        check_key(link, node, public_key).await?;
        if link.heartbeats.quarantined(registered.id) {
            return Err(SessionError::Quarantined { node: (*node).to_owned() });
        }
        Ok(())
    }

    fn welcome(&self, receiver: &ReceiverSession) -> Accepted {
        let Self { link, registered, .. } = self;
        Accepted {
            version: LINK_VERSION,
            cluster: link.identity.cluster_id.clone(),
            node: registered.id,
            term: link.heartbeats.term(),
            session: receiver.session,
            key_epoch: receiver.key_epoch,
            heartbeat_port: link.facts.heartbeat_port,
            heartbeat_ms: u32::try_from(HEARTBEAT_INTERVAL_MS).unwrap_or(u32::MAX),
            lease_ms: link.heartbeats.lease_ms(),
            time_of_day_ms: clock::time_of_day_ms(),
            pod_range: registered.pod_range,
            cluster_range: link.facts.cluster_range,
            service_range: link.facts.service_range,
            dns: link.facts.dns,
            domain: link.facts.domain.clone(),
        }
    }

    /// Sends desired state: all of it, `Synced`, and then what changes. Tells the time beside it.
    async fn send(
        &self,
        mut writer: WriteHalf<Stream>,
        reports: &Reports<'_>,
        mut told: TimeTold,
        mut answers: mpsc::Receiver<TokenReply>,
    ) -> Result<&'static str, SessionError> {
        let mut revisions = self.link.desired.subscribe();
        let mut sent = Sent::new(self.node, self.registered.id);
        let mut synced = false;
        let mut ping = interval(PING);
        let mut pings = 0;
        loop {
            let revision = *revisions.borrow_and_update();
            if revision > 0 {
                let difference = sent.update(&self.link.desired.lock());
                for change in difference.changes {
                    framed::write(&mut writer, &ToAgent::Change(change)).await?;
                }
                for (name, uid, why) in difference.refused {
                    reports.refuse_pod(&name, &uid, &why.to_string()).await;
                }
                if !synced {
                    framed::write(&mut writer, &ToAgent::Synced { revision }).await?;
                    synced = true;
                }
            }
            tokio::select! {
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return Ok("the master stops");
                    }
                }
                Some(reply) = answers.recv() => {
                    framed::write(&mut writer, &ToAgent::Token(reply)).await?;
                }
                _ = ping.tick() => {
                    pings += 1;
                    framed::write(&mut writer, &ToAgent::Ping(pings)).await?;
                    let time_of_day_ms = clock::time_of_day_ms();
                    if told.due(time_of_day_ms, clock::monotonic()) {
                        let time = ToAgent::TimeOfDay(time_of_day_ms);
                        framed::write(&mut writer, &time).await?;
                    }
                }
            }
        }
    }

    /// Stores what the agent reports, in its order.
    async fn receive(
        &self,
        mut reader: FrameReader<ReadHalf<Stream>>,
        reports: &Reports<'_>,
        answer: &mpsc::Sender<TokenReply>,
    ) -> Result<&'static str, SessionError> {
        loop {
            let message = timeout(SILENCE, reader.read::<ToMaster>()).await;
            let Some(message) = message.map_err(|_| SessionError::Silent)?? else {
                return Ok("the agent closed it");
            };
            if let ToMaster::Token(request) = &message {
                let reply = tokens::answer(&self.link.account_tokens, self.node, request).await;
                // Whoever writes has ended, and this session with it.
                let _ = answer.send(reply).await;
            }
            let cost = reports.store(&message, &self.link.budgets).await;
            // Read no faster than it may speak: TCP does the rest.
            tokio::time::sleep(self.link.spend(self.node, cost)).await;
        }
    }
}

/// A receiver that never resolves to anything but "closed"; stands in for one that was taken.
fn closed() -> oneshot::Receiver<()> {
    oneshot::channel().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_without_power_is_lost_and_one_that_talks_nonsense_is_not() {
        let broken = |kind: io::ErrorKind| {
            SessionError::Connection(ConnectionError::Io(io::Error::new(kind, "x")))
        };
        assert!(broken(io::ErrorKind::UnexpectedEof).lost());
        assert!(broken(io::ErrorKind::ConnectionReset).lost());
        assert!(!broken(io::ErrorKind::InvalidData).lost());
        assert!(!SessionError::Connection(ConnectionError::TooManyStreams).lost());
        assert!(!SessionError::NoHello.lost());
    }
}
