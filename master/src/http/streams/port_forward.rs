//! Connections to ports of a pod: SPDY/3.1's streams within a WebSocket.
//!
//! ```text
//! WebSocket -> SPDY -> one stream for errors and one for data each connection -> node link -> pod
//! ```
//!
//! Every connection has a task and a stream to the node of its own. What a client sends on one
//! whose pod does not read holds the client up, as upstream; what pods send waits for the client.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bramble_api::Status;
use bramble_shared::link::{DialRequest, StreamRequest};
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::client::{Out, finish, to_client};
use super::dial::{self, Dialled};
use super::spdy::{self, Encoder};
use super::target::PodTarget;
use super::websocket::{self, Decoder, Input};
use super::{target, upgrade};
use crate::http::Call;
use crate::http::response::Body;
use crate::node_port::{NodePort, NodeStream};

/// What clients may speak.
const PROTOCOLS: &[(&str, ())] = &[("SPDY/3.1+portforward.k8s.io", ())];
/// Most connections of one client at a time.
const CONNECTIONS_MAX: usize = 32;
/// Bytes of a pod that go into one frame.
const PIECE_LEN: usize = 16 * 1024;
/// Frames that wait for the client, and pieces that wait for a pod.
const WAITING_MAX: usize = 2;

/// Answers a request to forward ports.
///
/// # Errors
///
/// What is wrong before the connection is a WebSocket.
pub(super) async fn handle(
    call: &Call<'_>,
    parts: &Parts,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let target = target::find_pod(call).await?;
    let (name, ()) = upgrade::choose(&parts.headers, PROTOCOLS)?;
    let answer = upgrade::accept(&parts.headers, name)?;
    let place = call.api.sessions.enter(call.identity)?;
    let nodes = Arc::clone(&call.api.nodes);
    upgrade::go_on(call, place, on_upgrade, |client| serve(client, nodes, target));
    Ok(answer)
}

async fn serve(
    client: impl AsyncRead + AsyncWrite + Unpin,
    nodes: Arc<dyn NodePort>,
    target: PodTarget,
) {
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (frames, waiting) = mpsc::channel(WAITING_MAX);
    let mut forwarding = Forwarding {
        nodes,
        target: Arc::new(target),
        frames,
        encoder: Encoder::default(),
        errors: BTreeMap::new(),
        streams: BTreeMap::new(),
        connections: JoinSet::new(),
    };
    let ended = tokio::select! {
        written = to_client(waiting, &mut client_out) => written.is_ok(),
        () = forwarding.read_client(&mut client_in) => false,
    };
    drop(forwarding);
    if ended {
        finish(&mut client_in, &mut client_out).await;
    }
}

/// All connections of one client.
struct Forwarding {
    nodes: Arc<dyn NodePort>,
    target: Arc<PodTarget>,
    frames: mpsc::Sender<Out>,
    encoder: Encoder,
    /// Streams for errors whose connection has not been asked for, by request.
    errors: BTreeMap<String, u32>,
    /// What the client sends, by stream.
    streams: BTreeMap<u32, Stream>,
    /// Each ends with the numbers of its streams.
    connections: JoinSet<[u32; 2]>,
}

struct Stream {
    /// None when the client sends nothing more.
    to_pod: Option<mpsc::Sender<Vec<u8>>>,
    /// Of a stream for data: its task, and its stream for errors.
    connection: Option<(AbortHandle, u32)>,
}

impl Forwarding {
    async fn read_client(&mut self, client: &mut (impl AsyncRead + Unpin)) {
        let (mut decoder, mut spdy) = (Decoder::default(), spdy::Decoder::default());
        let mut chunk = vec![0; PIECE_LEN];
        loop {
            let len = match client.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(len) => len,
            };
            let Ok(inputs) = decoder.decode(chunk.get(..len).unwrap_or_default()) else {
                return self.refuse().await;
            };
            for input in inputs {
                match input {
                    Input::Ping(bytes) => {
                        let _ = self.frames.send((websocket::pong(&bytes), false)).await;
                    }
                    Input::Close => return,
                    Input::Data { bytes, .. } => {
                        let Ok(inputs) = spdy.decode(&bytes) else { return self.refuse().await };
                        for input in inputs {
                            self.handle(input).await;
                        }
                    }
                }
            }
        }
    }

    /// Closes the connection of a client that cannot be understood.
    async fn refuse(&mut self) {
        let _ = self.frames.send((websocket::close(1002), true)).await;
        std::future::pending().await
    }

    async fn handle(&mut self, input: spdy::Input) {
        while let Some(ended) = self.connections.try_join_next() {
            for stream in ended.into_iter().flatten() {
                self.streams.remove(&stream);
            }
        }
        match input {
            spdy::Input::Open { stream, headers, fin } => self.open(stream, &headers, fin).await,
            spdy::Input::Data { stream, bytes, fin } => {
                let Some(found) = self.streams.get_mut(&stream) else { return };
                if let Some(to_pod) = &found.to_pod
                    && !bytes.is_empty()
                {
                    // Whether it still takes it is for its task to tell.
                    let _ = to_pod.send(bytes).await;
                }
                if fin {
                    found.to_pod = None;
                }
            }
            spdy::Input::Reset { stream } => {
                if let Some(Stream { connection: Some((connection, error)), .. }) =
                    self.streams.remove(&stream)
                {
                    connection.abort();
                    // Its client waits for that end, and an end too many is nobody's.
                    self.streams.remove(&error);
                    self.send(&spdy::data(error, &[], true)).await;
                }
            }
            spdy::Input::Ping(number) => self.send(&spdy::ping(number)).await,
            spdy::Input::GoAway => {}
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)], fin: bool) {
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let request = header("requestid").to_owned();
        let room = self.streams.len() < 2 * CONNECTIONS_MAX && !self.streams.contains_key(&stream);
        match (header("streamtype"), port) {
            ("error", Some(_)) if room => {
                let reply = self.encoder.reply(stream);
                self.send(&reply).await;
                self.errors.insert(request, stream);
                self.streams.insert(stream, Stream { to_pod: None, connection: None });
            }
            ("data", Some(port)) if room && self.errors.contains_key(&request) => {
                let error = self.errors.remove(&request).unwrap_or_default();
                let reply = self.encoder.reply(stream);
                self.send(&reply).await;
                let (to_pod, from_client) = mpsc::channel(WAITING_MAX);
                let connection = Connection {
                    nodes: Arc::clone(&self.nodes),
                    target: Arc::clone(&self.target),
                    port,
                    frames: self.frames.clone(),
                    data: stream,
                    error,
                };
                let task = self.connections.spawn(connection.run(from_client));
                let to_pod = (!fin).then_some(to_pod);
                self.streams.insert(stream, Stream { to_pod, connection: Some((task, error)) });
            }
            _ => self.send(&spdy::reset(stream)).await,
        }
    }

    async fn send(&self, bytes: &[u8]) {
        let _ = self.frames.send((websocket::message(&[bytes]), false)).await;
    }
}

/// One connection to a port.
struct Connection {
    nodes: Arc<dyn NodePort>,
    target: Arc<PodTarget>,
    port: u16,
    frames: mpsc::Sender<Out>,
    data: u32,
    error: u32,
}

impl Connection {
    async fn run(self, from_client: mpsc::Receiver<Vec<u8>>) -> [u32; 2] {
        let PodTarget { name, uid, .. } = &*self.target;
        let port = self.port;
        let request = StreamRequest::Dial(DialRequest { uid: uid.clone(), port });
        match dial::connect(&*self.nodes, &self.target.node, request).await {
            Ok(Dialled { stream, first }) => {
                if let Err(error) = self.copy(stream, first, from_client).await {
                    tracing::debug!(%error, port, "a forwarded connection ended");
                }
            }
            Err(why) => {
                let text = format!("error forwarding port {port} to pod {name}, uid {uid}: {why}");
                self.send(spdy::data(self.error, text.as_bytes(), false)).await;
            }
        }
        // In this order: a client resets the stream of data as soon as it ends, and waits for the
        // end of the other one.
        self.send(spdy::data(self.error, &[], true)).await;
        self.send(spdy::data(self.data, &[], true)).await;
        [self.data, self.error]
    }

    /// Copies both ways until the pod has ended its own.
    async fn copy(
        &self,
        stream: NodeStream,
        first: Vec<u8>,
        mut from_client: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = stream.split();
        let up = async {
            while let Some(bytes) = from_client.recv().await {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            }
            writer.close().await
        };
        let down = async {
            if !first.is_empty() {
                self.send(spdy::data(self.data, &first, false)).await;
            }
            let mut chunk = vec![0; PIECE_LEN];
            loop {
                let len = reader.read(&mut chunk).await?;
                let Some(bytes) = chunk.get(..len).filter(|bytes| !bytes.is_empty()) else {
                    return Ok(());
                };
                self.send(spdy::data(self.data, bytes, false)).await;
            }
        };
        tokio::select! {
            ended = down => ended,
            error = async {
                match up.await {
                    Ok(()) => std::future::pending().await,
                    Err(error) => error,
                }
            } => Err(error),
        }
    }

    async fn send(&self, bytes: Vec<u8>) {
        let _ = self.frames.send((websocket::message(&[&bytes]), false)).await;
    }
}
