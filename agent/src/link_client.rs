//! The node link: dials the master for ever, brings its changes in and takes statuses out.
//!
//! Knows nothing of pods. A broken link changes nothing on the node: the pod manager is told and
//! goes on; the heartbeat keys of the last session stay good.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::heartbeat_sender::SenderSession;
use bramble_shared::ids::{BootId, Incarnation};
use bramble_shared::link::{
    Accepted, BootReport, Change, HEARTBEAT_EXPORTER_LABEL, Hello, LINK_ALPN, LINK_VERSION,
    NodeFacts, StreamRequest, ToAgent, ToMaster, Welcome,
};
use bramble_shared::seal::SessionKeys;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use crate::boot_report;
use crate::heartbeat::{Heartbeat, Keyed};
use crate::identity::{Identity, LoadIdentityError};
use crate::join::server_name;
use crate::logs::serve_logs;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::pages;
use crate::random::random_below;
use crate::shared_tls::SharedTls;
use crate::streams;
use crate::tls;
use crate::upgrade::serve_upgrade;

/// Longest wait for a connection, its handshake and the welcome.
const DIAL_TIME_MAX: Duration = Duration::from_secs(5);
/// Messages to the master that may wait; a link that is slower is dropped and dialled again,
/// after which everything is sent anew.
const WAITING_MAX: usize = 1024;

/// Interval at which a changed boot report is looked for.
const BOOT_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Streams at a time: the control stream and what people ask of this node.
pub(crate) const STREAMS_MAX: usize = 128;

/// What the link tells the pod manager.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A session begins; messages go to this outbox.
    Welcomed(Box<Accepted>, Outbox),
    /// Desired state has changed.
    Change(Change),
    /// All that the node needs has been sent.
    Synced,
    /// The session has ended.
    Closed,
}

/// What the agent says of itself at every dial.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) boot_id: BootId,
    pub(crate) serial: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) facts: NodeFacts,
}

/// Why a session did not come about or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The configured address cannot be used.
    #[error("server `{server}` must have the form HOST:PORT")]
    Server { server: String },
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// TLS could not be set up.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
    /// Nobody answers, or the connection broke.
    #[error("no connection to the master")]
    Connection(#[source] io::Error),
    /// Too slow.
    #[error("the master did not answer in time")]
    Slow,
    /// The multiplexer gave up.
    #[error("the link's streams broke")]
    Streams(#[source] yamux::ConnectionError),
    /// A frame is malformed.
    #[error("the master sent what cannot be understood")]
    Frame(#[source] bramble_shared::frame::DecodeFrameError),
    /// The master says no.
    #[error("the master refused this node: {reason}")]
    Refused { reason: String },
    /// The master has ended the session.
    #[error("the master has closed the link")]
    Closed,
    /// More is to be told than it takes.
    #[error("the master does not keep up with what this node tells it")]
    Overrun,
    /// No acknowledgement of heartbeats.
    #[error("the master does not acknowledge heartbeats")]
    Silent,
    /// The pod manager is gone; the agent ends.
    #[error("the agent ends")]
    Ended,
}

type Tls = Compat<SharedTls>;

/// Dials for ever.
pub(crate) async fn run(
    node: Arc<Node>,
    introduction: Introduction,
    heartbeat: Heartbeat,
    events: mpsc::Sender<LinkEvent>,
) {
    let mut last_told = String::new();
    loop {
        let ended = session(&node, &introduction, &heartbeat, &events).await;
        node.tokens.disconnected();
        if events.send(LinkEvent::Closed).await.is_err() {
            return;
        }
        let text = crate::telemetry::Chain(&ended).to_string();
        // The same trouble twice a second is told once.
        if text == last_told {
            tracing::debug!(error = %text, "link to the master ended");
        } else {
            tracing::warn!(error = %text, "link to the master ended, dialling again");
            last_told = text;
        }
        tokio::time::sleep(Duration::from_millis(250 + random_below(750))).await;
    }
}

/// One session, from the dial to its end.
async fn session(
    node: &Arc<Node>,
    introduction: &Introduction,
    heartbeat: &Heartbeat,
    events: &mpsc::Sender<LinkEvent>,
) -> SessionError {
    let dialled = tokio::time::timeout(DIAL_TIME_MAX, dial(node, introduction)).await;
    let Dialled { mut connection, control, decoder, accepted, keyed, told_boot } = match dialled {
        Ok(Ok(dialled)) => dialled,
        Ok(Err(error)) => return error,
        Err(_) => return SessionError::Slow,
    };
    tracing::info!(node = accepted.node.0, term = accepted.term, "link to the master is up");
    follow_clock(node, accepted.time_of_day_ms);
    heartbeat.start_session(keyed);
    let (statuses, outgoing) = Outbox::new(WAITING_MAX);
    node.tokens.connected(statuses.clone());
    if events.send(LinkEvent::Welcomed(accepted, statuses.clone())).await.is_err() {
        return SessionError::Ended;
    }
    // What piled up while there was no session says nothing about this one.
    let redial = Arc::clone(&heartbeat.redial);
    let _ = tokio::time::timeout(Duration::from_millis(1), redial.notified()).await;

    let streams = async {
        loop {
            match poll_fn(|cx| connection.poll_next_inbound(cx)).await {
                Some(Ok(stream)) => {
                    tokio::spawn(serve_stream(Arc::clone(node), stream));
                }
                Some(Err(error)) => return SessionError::Streams(error),
                None => return SessionError::Closed,
            }
        }
    };
    let (reader, writer) = tokio::io::split(control);
    tokio::select! {
        error = streams => error,
        error = read(node, reader, decoder, events, &statuses) => error,
        error = write(writer, outgoing) => error,
        () = redial.notified() => SessionError::Silent,
        () = statuses.overrun() => SessionError::Overrun,
        never = tell_boot(node, told_boot, &statuses) => match never {},
    }
}

struct Dialled {
    connection: yamux::Connection<Tls>,
    control: Compat<yamux::Stream>,
    decoder: FrameDecoder,
    accepted: Box<Accepted>,
    keyed: Keyed,
    told_boot: Option<BootReport>,
}

async fn dial(node: &Node, introduction: &Introduction) -> Result<Dialled, SessionError> {
    let server = &node.server;
    let name = server_name(server).ok_or(SessionError::Server { server: server.clone() })?;
    // Read at every dial, so that a renewed certificate is used.
    let identity = Identity::load(&node.config.identity_dir())?;
    let config: ClientConfig = tls::link_config(identity, LINK_ALPN).map_err(SessionError::Tls)?;
    let socket = node.finder.connect(server).await.map_err(SessionError::Connection)?;
    socket.set_nodelay(true).map_err(SessionError::Connection)?;
    let master = socket.peer_addr().map_err(SessionError::Connection)?;
    // A lease may have changed since the last dial, and a trial may have been kept.
    let mut facts = introduction.facts.clone();
    facts.address = node.seen_at(node.finder.own_address(&socket));
    facts.boot = boot_report::for_master(node.config.boot_report.as_deref());
    let told_boot = facts.boot.clone();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(SessionError::Connection)?;
    let tls = SharedTls::new(tls);
    let mut connection =
        yamux::Connection::new(tls.clone().compat(), multiplexer(), yamux::Mode::Client);
    let control =
        poll_fn(|cx| connection.poll_new_outbound(cx)).await.map_err(SessionError::Streams)?;
    let mut control = control.compat();
    let hello = Hello {
        version_min: LINK_VERSION,
        version_max: LINK_VERSION,
        boot_id: introduction.boot_id,
        serial: introduction.serial.clone(),
        incarnation: introduction.incarnation,
        facts,
    };
    let mut decoder = FrameDecoder::new();
    let welcome = {
        let exchange = exchange(&mut control, &hello, &mut decoder);
        tokio::pin!(exchange);
        // The multiplexer only moves while it is asked for streams.
        loop {
            tokio::select! {
                welcome = &mut exchange => break welcome?,
                stream = poll_fn(|cx| connection.poll_next_inbound(cx)) => match stream {
                    Some(Ok(_early)) => {}
                    Some(Err(error)) => return Err(SessionError::Streams(error)),
                    None => return Err(SessionError::Closed),
                },
            }
        }
    };
    let accepted = match welcome {
        Welcome::Accepted(accepted) => accepted,
        Welcome::Refused { reason } => return Err(SessionError::Refused { reason }),
    };
    let context = accepted.session.0.to_le_bytes();
    let exported = tls.export(HEARTBEAT_EXPORTER_LABEL, &context).map_err(SessionError::Tls)?;
    let keys = SessionKeys::from_exported(&exported);
    let keyed = Keyed {
        master: SocketAddr::new(master.ip(), accepted.heartbeat_port),
        session: SenderSession {
            session: accepted.session,
            key_epoch: accepted.key_epoch,
            keys,
            interval: embassy_time::Duration::from_millis(u64::from(accepted.heartbeat_ms)),
            term: accepted.term,
        },
    };
    Ok(Dialled { connection, control, decoder, accepted, keyed, told_boot })
}

/// Bounds what a fast master can make a board keep in memory.
fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    // The least that yamux takes for so many streams.
    config.set_max_connection_receive_window(Some(STREAMS_MAX * 256 * 1024));
    config
}

async fn exchange(
    control: &mut Compat<yamux::Stream>,
    hello: &Hello,
    decoder: &mut FrameDecoder,
) -> Result<Welcome, SessionError> {
    let frame = encode(hello).map_err(|error| SessionError::Connection(io::Error::other(error)))?;
    control.write_all(&frame).await.map_err(SessionError::Connection)?;
    control.flush().await.map_err(SessionError::Connection)?;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        if let Some(welcome) = decoder.decode().map_err(SessionError::Frame)? {
            return Ok(welcome);
        }
        let len = control.read(&mut chunk).await.map_err(SessionError::Connection)?;
        if len == 0 {
            return Err(SessionError::Closed);
        }
        decoder.push(chunk.get(..len).unwrap_or_default());
    }
}

/// Takes the master's time, if this board is to do so.
fn follow_clock(node: &Node, time_of_day_ms: u64) {
    if node.config.set_clock {
        node.wall_clock.follow(time_of_day_ms);
    }
}

async fn read(
    node: &Node,
    mut reader: tokio::io::ReadHalf<Compat<yamux::Stream>>,
    mut decoder: FrameDecoder,
    events: &mpsc::Sender<LinkEvent>,
    statuses: &Outbox,
) -> SessionError {
    let mut chunk = vec![0; 32 * 1024];
    loop {
        loop {
            let event = match decoder.decode::<ToAgent>() {
                Ok(Some(ToAgent::Change(change))) => LinkEvent::Change(change),
                Ok(Some(ToAgent::Synced { .. })) => LinkEvent::Synced,
                Ok(Some(ToAgent::Ping(number))) => {
                    statuses.send(ToMaster::Pong(number));
                    continue;
                }
                Ok(Some(ToAgent::TimeOfDay(ms))) => {
                    follow_clock(node, ms);
                    continue;
                }
                Ok(Some(ToAgent::Token(reply))) => {
                    node.tokens.answered(reply);
                    continue;
                }
                Ok(None) => break,
                Err(error) => return SessionError::Frame(error),
            };
            if events.send(event).await.is_err() {
                return SessionError::Ended;
            }
        }
        match reader.read(&mut chunk).await {
            Ok(0) => return SessionError::Closed,
            Ok(len) => decoder.push(chunk.get(..len).unwrap_or_default()),
            Err(error) => return SessionError::Connection(error),
        }
    }
}

/// Tells the master when the boot report changes: a trial that is kept.
async fn tell_boot(node: &Node, mut told: Option<BootReport>, statuses: &Outbox) -> Infallible {
    loop {
        tokio::time::sleep(BOOT_REPORT_INTERVAL).await;
        let found = boot_report::for_master(node.config.boot_report.as_deref());
        if found != told
            && let Some(report) = found.clone()
            && statuses.send(ToMaster::Boot(report))
        {
            told = found;
        }
    }
}

async fn write(
    mut writer: tokio::io::WriteHalf<Compat<yamux::Stream>>,
    mut outgoing: mpsc::Receiver<ToMaster>,
) -> SessionError {
    while let Some(message) = outgoing.recv().await {
        let frame = match encode(&message) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "a message to the master was left out");
                continue;
            }
        };
        let written = async {
            writer.write_all(&frame).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return SessionError::Connection(error);
        }
    }
    SessionError::Closed
}

/// Serves a stream that the master opened.
async fn serve_stream(node: Arc<Node>, stream: yamux::Stream) {
    let mut stream = stream.compat();
    let mut decoder = FrameDecoder::new();
    let mut chunk = vec![0; 4096];
    let request = loop {
        match decoder.decode::<StreamRequest>() {
            Ok(Some(request)) => break request,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "stream with a malformed request");
                return;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(len) => decoder.push(chunk.get(..len).unwrap_or_default()),
        }
    };
    match request {
        StreamRequest::Logs(request) => serve_logs(&node, request, &mut stream).await,
        StreamRequest::Upgrade(_) => serve_upgrade(&node, decoder, &mut stream).await,
        StreamRequest::Exec(request) => {
            streams::serve_exec(&node, request, decoder, &mut stream).await;
        }
        StreamRequest::Attach(request) => {
            streams::serve_attach(&node, request, decoder, &mut stream).await;
        }
        StreamRequest::Dial(request) => {
            let to = streams::Port { request, at: streams::At::Loopback };
            streams::serve_dial(&node, &to, decoder, &mut stream).await;
        }
        StreamRequest::Reach(request) => {
            let to = streams::Port { request, at: streams::At::PodAddress };
            streams::serve_dial(&node, &to, decoder, &mut stream).await;
        }
        StreamRequest::NodePages => {
            pages::serve(&node, decoder, stream).await;
            return;
        }
    }
    let _ = stream.shutdown().await;
}
