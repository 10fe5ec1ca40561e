//! The agent's connection to the runtime process: many requests under way, and its events.
//!
//! Dials again whenever the connection breaks; what was under way then is answered as lost, and
//! the list that every subscription begins with tells what has happened meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramble_runtime::protocol::{
    self, ContainerState, ContainerStatus, CreateContainer, Event, ExecContainer, ExecOutcome,
    Failure, FrameDecoder, Limits, Request, RequestFrame, Response, ServerFrame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Wait between two dials; the supervisor starts the runtime process again within less.
const REDIAL: Duration = Duration::from_millis(100);

/// A handle on the runtime process.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeLink {
    calls: mpsc::Sender<Call>,
}

#[derive(Debug)]
struct Call {
    request: Request,
    reply: oneshot::Sender<Result<Response, CallError>>,
}

/// What the runtime process tells.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A connection begins: all containers.
    Containers(Vec<ContainerStatus>),
    /// Something happened to one.
    Event(Event),
}

/// Why a call had no success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The runtime process says why.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The connection broke: the outcome is unknown.
    #[error("the runtime process was restarted in the middle of the request")]
    Lost,
    /// An answer of another kind.
    #[error("the runtime process sent a response of another kind")]
    WrongResponse,
}

impl RuntimeLink {
    /// Starts to dial; notices go to `notices`.
    pub(crate) fn start(socket: PathBuf, notices: mpsc::Sender<Notice>) -> Self {
        let (calls, received) = mpsc::channel(64);
        tokio::spawn(keep_connected(socket, received, notices));
        Self { calls }
    }

    /// Creates a container and returns the pid of its init.
    pub(crate) async fn create(&self, container: CreateContainer) -> Result<i32, CallError> {
        match self.call(Request::Create(container)).await? {
            Response::Created { pid } => Ok(pid),
            Response::Started
            | Response::Killed
            | Response::Deleted
            | Response::Containers(_)
            | Response::ExecDone(_)
            | Response::Updated
            | Response::Opened => Err(CallError::WrongResponse),
        }
    }

    /// Runs the program of a created container.
    pub(crate) async fn start_container(&self, id: &str) -> Result<(), CallError> {
        self.call(Request::Start { id: id.to_owned() }).await.map(drop)
    }

    /// Sends a signal.
    pub(crate) async fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), CallError> {
        self.call(Request::Kill { id: id.to_owned(), signal, all }).await.map(drop)
    }

    /// Removes a container, running or not.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), CallError> {
        self.call(Request::Delete { id: id.to_owned(), force: true }).await.map(drop)
    }

    /// Gives a container other limits.
    pub(crate) async fn update(&self, id: &str, limits: Limits) -> Result<(), CallError> {
        self.call(Request::Update { id: id.to_owned(), limits }).await.map(drop)
    }

    /// Ends the input of a container whose input ends with the first who was attached.
    pub(crate) async fn close_input(&self, id: &str) -> Result<(), CallError> {
        self.call(Request::CloseInput { id: id.to_owned() }).await.map(drop)
    }

    /// The pid of a container's init, as long as it runs.
    pub(crate) async fn pid(&self, id: &str) -> Option<i32> {
        let Response::Containers(all) = self.call(Request::List).await.ok()? else { return None };
        match all.into_iter().find(|one| one.id == id)?.state {
            ContainerState::Running { pid } => Some(pid),
            ContainerState::Creating
            | ContainerState::Created { .. }
            | ContainerState::Exited(_) => None,
        }
    }

    /// Runs one more program in a running container, and waits for it.
    pub(crate) async fn exec(&self, exec: ExecContainer) -> Result<ExecOutcome, CallError> {
        let response = self.call(Request::Exec(exec)).await?;
        if let Response::ExecDone(outcome) = response {
            Ok(outcome)
        } else {
            Err(CallError::WrongResponse)
        }
    }

    async fn call(&self, request: Request) -> Result<Response, CallError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { request, reply }).await.map_err(|_| CallError::Lost)?;
        answer.await.unwrap_or(Err(CallError::Lost))
    }
}

async fn keep_connected(
    socket: PathBuf,
    mut calls: mpsc::Receiver<Call>,
    notices: mpsc::Sender<Notice>,
) {
    let mut told = false;
    loop {
        match one_connection(&socket, &mut calls, &notices).await {
            Ok(()) => return,
            Err(error) => {
                // The first dials of a boot race with the runtime process's start.
                if told {
                    tracing::debug!(%error, "no connection to the runtime process");
                }
                told = true;
            }
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// Serves calls until the connection breaks; `Ok` when nobody calls any more.
async fn one_connection(
    socket: &Path,
    calls: &mut mpsc::Receiver<Call>,
    notices: &mpsc::Sender<Notice>,
) -> io::Result<()> {
    let (mut reader, mut writer) = UnixStream::connect(socket).await?.into_split();
    let mut decoder = FrameDecoder::default();
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Response, CallError>>> = BTreeMap::new();
    let mut number = 0;
    writer.write_all(&frame(number, Request::Subscribe)?).await?;
    let mut chunk = vec![0; 32 * 1024];
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(Call { request, reply }) = call else { return Ok(()) };
                number += 1;
                waiting.insert(number, reply);
                writer.write_all(&frame(number, request)?).await?;
            }
            len = reader.read(&mut chunk) => {
                let len = len?;
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                decoder.push(chunk.get(..len).unwrap_or_default());
                while let Some(frame) = decoder.next::<ServerFrame>().map_err(io::Error::other)? {
                    match frame {
                        ServerFrame::Event(event) => {
                            let _ = notices.send(Notice::Event(event)).await;
                        }
                        ServerFrame::Response { number: 0, result } => {
                            if let Ok(Response::Containers(containers)) = result {
                                let _ = notices.send(Notice::Containers(containers)).await;
                            }
                        }
                        ServerFrame::Response { number, result } => {
                            if let Some(reply) = waiting.remove(&number) {
                                let _ = reply.send(result.map_err(CallError::Failed));
                            }
                        }
                    }
                }
            }
        }
    }
}

fn frame(number: u64, request: Request) -> io::Result<Vec<u8>> {
    protocol::encode(&RequestFrame { number, request }).map_err(io::Error::other)
}
