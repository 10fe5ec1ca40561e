//! Programs in containers, over the channels of a WebSocket.

use std::time::Duration;

use bramble_api::Status;
use bramble_shared::link::{
    AttachRequest, EXEC_PIECE_LEN_MAX, ExecInput, ExecOutput, ExecRequest, ExecStreams,
    StreamRequest,
};
use futures_util::io::{AsyncReadExt as _, ReadHalf, WriteHalf};
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::channels::{self, End, PROTOCOLS, Protocol};
use super::client::{Out, finish, to_client};
use super::options::ExecOptions;
use super::websocket::{self, Decoder, Input};
use super::{target, upgrade};
use crate::http::Call;
use crate::http::response::Body;
use crate::link::framed::{self, FrameReader};
use crate::link::refusal;
use crate::node_port::NodeStream;

/// Longest wait for a node to begin a program.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(35);
/// Longest frame of a node: a piece of output and what is around it.
const OUTPUT_LEN_MAX: usize = EXEC_PIECE_LEN_MAX + 1024;
/// Frames that wait for the client.
const WAITING_MAX: usize = 2;

/// Answers a request to run a program.
///
/// # Errors
///
/// What keeps it from running, as long as the connection is not a WebSocket yet.
pub(super) async fn handle(
    call: &Call<'_>,
    parts: &Parts,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let options = ExecOptions::parse(parts.uri.query().unwrap_or_default())?;
    let target = target::find(call, options.container.as_deref()).await?;
    let streams = if options.tty {
        // Until the client says how large its own is.
        ExecStreams::Terminal { columns: 80, rows: 24 }
    } else {
        let ExecOptions { stdin, stdout, stderr, .. } = options;
        ExecStreams::Pipes { stdin, stdout, stderr }
    };
    let request = ExecRequest {
        uid: target.pod.uid,
        container: target.container,
        command: options.command,
        streams,
    };
    begin(call, &target.pod.node, StreamRequest::Exec(request), on_upgrade).await
}

/// Answers a request to be attached to a container's own program.
///
/// # Errors
///
/// As [`handle`].
pub(super) async fn attach(
    call: &Call<'_>,
    parts: &Parts,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let options = ExecOptions::of_streams(parts.uri.query().unwrap_or_default())?;
    let target = target::find(call, options.container.as_deref()).await?;
    let ExecOptions { stdin, stdout, stderr, .. } = options;
    let (uid, container) = (target.pod.uid, target.container);
    let request = StreamRequest::Attach(AttachRequest { uid, container, stdin, stdout, stderr });
    begin(call, &target.pod.node, request, on_upgrade).await
}

/// Asks a node for a program's streams, and changes the connection once they are there.
async fn begin(
    call: &Call<'_>,
    node: &str,
    request: StreamRequest,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let (name, protocol) = upgrade::choose(call.headers, PROTOCOLS)?;
    let answer = upgrade::accept(call.headers, name)?;
    let place = call.api.sessions.enter(call.identity)?;
    let stream = call.api.nodes.open_stream(node, request).await?;
    let (program, first) = Program::begin(stream).await?;
    upgrade::go_on(call, place, on_upgrade, move |client| serve(client, protocol, first, program));
    Ok(answer)
}

/// The node's end of a program.
struct Program {
    reader: FrameReader<ReadHalf<NodeStream>>,
    writer: WriteHalf<NodeStream>,
}

impl Program {
    /// Waits for the node's first word. A command that cannot be run is told over the WebSocket,
    /// as upstream does; whatever else is wrong is an error.
    async fn begin(stream: NodeStream) -> Result<(Self, ExecOutput), Status> {
        let (reader, writer) = stream.split();
        let mut reader = FrameReader::with_len_max(reader, OUTPUT_LEN_MAX);
        let first = timeout(BEGIN_TIME_MAX, reader.read::<ExecOutput>()).await;
        match first {
            Ok(Ok(Some(ExecOutput::Failed { status, message }))) if status != 500 => {
                Err(refusal(status, message))
            }
            Ok(Ok(Some(first))) => Ok((Self { reader, writer }, first)),
            Ok(Ok(None) | Err(_)) => Err(Status::unavailable("the node's connection has ended", 1)),
            Err(_) => Err(Status::timeout("the node did not begin the program in time")),
        }
    }
}

/// Carries a program's streams until it ends or the client goes.
async fn serve(
    client: impl AsyncRead + AsyncWrite + Unpin,
    protocol: Protocol,
    first: ExecOutput,
    program: Program,
) {
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (frames, waiting) = mpsc::channel(WAITING_MAX);
    let Program { reader, writer } = program;
    let ended = {
        let from_node = from_node(first, reader, protocol, frames.clone());
        let from_client = from_client(&mut client_in, protocol, writer, frames);
        let to_client = to_client(waiting, &mut client_out);
        tokio::select! {
            written = to_client => written.is_ok(),
            () = from_client => false,
            () = from_node => false,
        }
    };
    if ended {
        finish(&mut client_in, &mut client_out).await;
    }
}

/// Passes what the program writes on, and its end; then waits for that to be written.
async fn from_node(
    first: ExecOutput,
    mut reader: FrameReader<ReadHalf<NodeStream>>,
    protocol: Protocol,
    frames: mpsc::Sender<Out>,
) {
    let send = |channel: u8, bytes: Vec<u8>| {
        let frame = websocket::message(&[&[channel], &bytes]);
        async { frames.send((frame, false)).await.is_ok() }
    };
    let mut output = Some(first);
    let end = loop {
        let next = match output.take() {
            Some(first) => Ok(Some(first)),
            None => reader.read::<ExecOutput>().await,
        };
        let there = match next {
            // An empty message tells clients that everything stands.
            Ok(Some(ExecOutput::Open)) => send(channels::STDOUT, Vec::new()).await,
            Ok(Some(ExecOutput::Stdout(bytes))) if bytes.is_empty() => true,
            Ok(Some(ExecOutput::Stdout(bytes))) => send(channels::STDOUT, bytes).await,
            Ok(Some(ExecOutput::Stderr(bytes))) => send(channels::STDERR, bytes).await,
            Ok(Some(ExecOutput::Exited { code })) => break Some(End::Exited(code)),
            Ok(Some(ExecOutput::Failed { message, .. })) => break Some(End::Failed(message)),
            Ok(None) | Err(_) => {
                break Some(End::Failed("the node's connection has ended".to_owned()));
            }
        };
        if !there {
            break None;
        }
    };
    if let Some(end) = end
        && send(channels::ERROR, end.told(protocol).into_bytes()).await
    {
        let _ = frames.send((websocket::close(1000), true)).await;
    }
    std::future::pending().await
}

/// Passes what the client sends on until it goes.
async fn from_client(
    client: &mut (impl AsyncRead + Unpin),
    protocol: Protocol,
    mut program: WriteHalf<NodeStream>,
    frames: mpsc::Sender<Out>,
) {
    let mut decoder = Decoder::default();
    let mut channels = channels::Reader::new(protocol);
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let len = match client.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(len) => len,
        };
        let inputs = match decoder.decode(chunk.get(..len).unwrap_or_default()) {
            Ok(inputs) => inputs,
            Err(error) => {
                tracing::debug!(%error, "a client does not speak WebSocket");
                let _ = frames.send((websocket::close(1002), true)).await;
                return std::future::pending().await;
            }
        };
        for input in inputs {
            match input {
                Input::Ping(bytes) => {
                    let _ = frames.send((websocket::pong(&bytes), false)).await;
                }
                Input::Close => return,
                Input::Data { .. } => {
                    for input in channels.read(input) {
                        send(&mut program, &input).await;
                    }
                }
            }
        }
    }
}

/// Sends input; whether the program still takes it is for the other way to tell.
async fn send(program: &mut WriteHalf<NodeStream>, input: &ExecInput) {
    if let Err(error) = framed::write(program, input).await {
        tracing::debug!(%error, "input did not reach the node");
    }
}
