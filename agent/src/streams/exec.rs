//! Runs a program in a container for somebody at the other end of the node link.
//!
//! ```text
//! master --ExecInput--> stream --> stdin or terminal
//! master <-ExecOutput-- stream <-- stdout, stderr or terminal     <- end of the program
//! ```
//!
//! Each way is as fast as its slower end, and neither waits for the other. When the stream ends,
//! the connection to the runtime process is closed, and with it ends the program.

use std::io;
use std::time::Duration;

use bramble_runtime::client::CallError;
use bramble_runtime::protocol::{
    self as runtime, ExecContainer, ExecOutcome, FailureReason, OpenExec, Response, ServerFrame,
};
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::session::{self, Session};
use bramble_runtime::terminal::{TerminalSize, resize};
use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{
    AttachRequest, ContainerState, EXEC_PIECE_LEN_MAX, ExecInput, ExecOutput, ExecRequest,
    ExecStreams,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::terminal_end::End;
use crate::executor::all_containers;
use crate::node::Node;
use crate::records;
use crate::runtime_link::RuntimeLink;

/// Longest wait for the runtime process to begin a program.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(30);
/// Interval at which a program that says nothing asks whether somebody still listens.
const STILL_THERE: Duration = Duration::from_secs(10);
/// Pieces that wait for the stream.
const WAITING_MAX: usize = 2;
/// Longest frame of the master: a piece of input and what is around it.
const INPUT_LEN_MAX: usize = EXEC_PIECE_LEN_MAX + 64;

/// Status and words of a failure.
type Refusal = (u16, String);

/// Serves one request to its end.
pub(crate) async fn serve_exec<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Node,
    request: ExecRequest,
    decoder: FrameDecoder,
    stream: &mut S,
) {
    let place = node.stream_places.enter();
    let begun = match &place {
        Ok(_) => begin(node, request).await,
        Err(message) => Err((429, message.clone())),
    };
    serve(begun, decoder, stream).await;
}

/// Serves somebody who is attached to a container's own program.
pub(crate) async fn serve_attach<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Node,
    request: AttachRequest,
    decoder: FrameDecoder,
    stream: &mut S,
) {
    let place = node.stream_places.enter();
    let begun = match &place {
        Ok(_) => attach(node, request).await,
        Err(message) => Err((429, message.clone())),
    };
    serve(begun, decoder, stream).await;
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    begun: Result<Program, Refusal>,
    mut decoder: FrameDecoder,
    stream: &mut S,
) {
    let last = match begun {
        Ok(program) => {
            decoder.set_len_max(INPUT_LEN_MAX);
            let (reader, mut writer) = tokio::io::split(&mut *stream);
            // Gone with the program's end, or with whoever asked for it.
            program.run(reader, decoder, &mut writer).await
        }
        Err((status, message)) => Some(ExecOutput::Failed { status, message }),
    };
    if let Some(last) = last
        && let Ok(frame) = encode(&last)
    {
        let _gone = stream.write_all(&frame).await;
        let _gone = stream.flush().await;
    }
}

/// One of a program's outputs, and what a piece of it is to the master.
type Output = (End, fn(Vec<u8>) -> ExecOutput);

/// A program that runs.
struct Program {
    connection: UnixStream,
    decoder: runtime::FrameDecoder,
    input: Option<End>,
    outputs: Vec<Output>,
    terminal: bool,
    /// Whose input ends with the client's, if it is to.
    input_of: Option<(RuntimeLink, String)>,
}

async fn attach(node: &Node, request: AttachRequest) -> Result<Program, Refusal> {
    let AttachRequest { uid, container, stdin, stdout, stderr } = request;
    let id = running_container(node, &uid, &container)?;
    let record = records::read(&node.records_dir(), &uid).ok_or_else(|| not_found(&container))?;
    let spec = all_containers(&record.pod).find(|each| each.name == container);
    let terminal = spec.is_some_and(|spec| spec.tty);
    let socket = RunDir::new(&node.config.run_dir).runtime_socket();
    let wanted = runtime::Attach { id: id.clone(), stdin, stdout, stderr };
    let opening = move || session::attach(&socket, wanted, BEGIN_TIME_MAX);
    let opened = tokio::task::spawn_blocking(opening).await.map_err(|error| broken(&error))?;
    let session = opened.map_err(|error| refusal(&error, &container))?;
    let streams = match terminal {
        true => ExecStreams::Terminal { columns: 80, rows: 24 },
        false => ExecStreams::Pipes { stdin, stdout, stderr },
    };
    let mut program = match terminal {
        true => Program::at_terminal(session, stdout),
        false => Program::new(session, streams),
    }
    .map_err(|error| broken(&error))?;
    program.input_of = Some((node.runtime.clone(), id));
    Ok(program)
}

async fn begin(node: &Node, request: ExecRequest) -> Result<Program, Refusal> {
    let id = running_container(node, &request.uid, &request.container)?;
    let exec = ExecContainer {
        id,
        args: request.command,
        env: Vec::new(),
        cwd: None,
        timeout_ms: 0,
        output_len_max: 0,
    };
    let streams = match request.streams {
        ExecStreams::Pipes { stdin, stdout, stderr } => {
            runtime::ExecStreams::Pipes { stdin, stdout, stderr }
        }
        ExecStreams::Terminal { columns, rows } => runtime::ExecStreams::Terminal { columns, rows },
    };
    let socket = RunDir::new(&node.config.run_dir).runtime_socket();
    let opening = move || session::open(&socket, OpenExec { exec, streams }, BEGIN_TIME_MAX);
    let opened = tokio::task::spawn_blocking(opening).await.map_err(|error| broken(&error))?;
    let session = opened.map_err(|error| refusal(&error, &request.container))?;
    Program::new(session, request.streams).map_err(|error| broken(&error))
}

/// The id of a container in the runtime, if it runs.
fn running_container(node: &Node, uid: &str, name: &str) -> Result<String, Refusal> {
    let not_found = || not_found(name);
    let record = records::read(&node.records_dir(), uid).ok_or_else(not_found)?;
    let container = record.containers.iter().find(|each| each.name == name);
    let container = container.ok_or_else(not_found)?;
    match container.state {
        ContainerState::Running { .. } => Ok(container.container_id.clone()),
        ContainerState::Waiting { .. } | ContainerState::Terminated { .. } => Err(not_found()),
    }
}

/// In upstream's words, which tools look for.
fn not_found(container: &str) -> Refusal {
    (404, format!("unable to upgrade connection: container not found (\"{container}\")"))
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    (500, format!("could not begin the program: {error}"))
}

fn refusal(error: &CallError, container: &str) -> Refusal {
    let CallError::Failed(failure) = error else { return broken(error) };
    let message = &failure.message;
    match failure.reason {
        FailureReason::NotFound | FailureReason::WrongState => not_found(container),
        FailureReason::Busy => (429, message.clone()),
        FailureReason::Invalid => (400, message.clone()),
        FailureReason::CommandNotFound
        | FailureReason::CommandNotExecutable
        | FailureReason::AlreadyExists
        | FailureReason::FenceDenied
        | FailureReason::Internal => {
            (500, format!("error executing command in container: {message}"))
        }
    }
}

impl Program {
    fn new(session: Session, streams: ExecStreams) -> io::Result<Self> {
        let Session { descriptors, connection, decoder } = session;
        connection.set_nonblocking(true)?;
        let connection = UnixStream::from_std(connection)?;
        let mut ends = descriptors.into_iter().map(End::new);
        let mut next = || ends.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        let mut outputs: Vec<Output> = Vec::new();
        let (input, terminal) = match streams {
            ExecStreams::Pipes { stdin, stdout, stderr } => {
                let input = stdin.then(&mut next).transpose()?;
                if stdout {
                    outputs.push((next()?, ExecOutput::Stdout));
                }
                if stderr {
                    outputs.push((next()?, ExecOutput::Stderr));
                }
                (input, false)
            }
            ExecStreams::Terminal { .. } => {
                let master = next()?;
                let input = End::new(master.descriptor().try_clone()?)?;
                outputs.push((master, ExecOutput::Stdout));
                (Some(input), true)
            }
        };
        Ok(Self { connection, decoder, input, outputs, terminal, input_of: None })
    }

    /// The container's own terminal: what it shows comes through a pipe, since the log has it, too.
    fn at_terminal(session: Session, stdout: bool) -> io::Result<Self> {
        let Session { descriptors, connection, decoder } = session;
        connection.set_nonblocking(true)?;
        let connection = UnixStream::from_std(connection)?;
        let mut ends = descriptors.into_iter().map(End::new);
        let mut next = || ends.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        let input = Some(next()?);
        let mut outputs: Vec<Output> = Vec::new();
        if stdout {
            outputs.push((next()?, ExecOutput::Stdout));
        }
        Ok(Self { connection, decoder, input, outputs, terminal: true, input_of: None })
    }

    /// Runs to the end of the program or of the stream; what is to be said last is returned, if
    /// somebody is there to hear it.
    async fn run(
        self,
        reader: impl AsyncRead + Unpin,
        decoder: FrameDecoder,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Option<ExecOutput> {
        let Self { connection, decoder: told, input, outputs, terminal, input_of } = self;
        let (pieces, waiting) = mpsc::channel(WAITING_MAX);
        let (over, is_over) = watch::channel(false);
        let output = async {
            let _begun = pieces.send(ExecOutput::Open).await;
            let mut pumps = tokio::task::JoinSet::new();
            for (end, piece) in outputs {
                pumps.spawn(pump(end, piece, pieces.clone(), is_over.clone()));
            }
            let end = async {
                let end = wait_end(connection, told).await;
                let _unheard = over.send(true);
                end
            };
            let (end, ()) = tokio::join!(end, async { while pumps.join_next().await.is_some() {} });
            // With it the last sender goes, and the writer ends when everything is written.
            drop(pieces);
            Ok(end)
        };
        let written = write(waiting, writer);
        let work = async { tokio::try_join!(output, written).map(|(end, ())| end) };
        tokio::select! {
            end = work => match end {
                Ok(Ok(outcome)) => Some(ExecOutput::Exited { code: outcome.exit_code }),
                Ok(Err(error)) => {
                    let message = format!("the program's end is not known: {error}");
                    Some(ExecOutput::Failed { status: 500, message })
                }
                Err(_gone) => None,
            },
            () = take_input(reader, decoder, input, terminal, input_of) => None,
        }
    }
}

/// Passes a program's output on. Once it has ended, what is there was written before; who else
/// holds the other end open may go on alone.
async fn pump(
    end: End,
    piece: fn(Vec<u8>) -> ExecOutput,
    pieces: mpsc::Sender<ExecOutput>,
    mut is_over: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; EXEC_PIECE_LEN_MAX];
    loop {
        let len = if *is_over.borrow() {
            end.read_now(&mut buffer).map(|len| len.unwrap_or(0))
        } else {
            tokio::select! {
                len = end.read(&mut buffer) => len,
                _ = is_over.changed() => continue,
            }
        };
        let Ok(len @ 1..) = len else { return };
        let bytes = buffer.get(..len).unwrap_or_default().to_vec();
        if pieces.send(piece(bytes)).await.is_err() {
            return;
        }
    }
}

/// Writes what comes, and something now and then: only who writes learns that nobody listens.
async fn write(
    mut waiting: mpsc::Receiver<ExecOutput>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        let piece = match tokio::time::timeout(STILL_THERE, waiting.recv()).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(()),
            Err(_) => ExecOutput::Stdout(Vec::new()),
        };
        let frame = encode(&piece).map_err(io::Error::other)?;
        writer.write_all(&frame).await?;
        writer.flush().await?;
    }
}

/// Takes input until the stream ends.
async fn take_input(
    mut reader: impl AsyncRead + Unpin,
    mut decoder: FrameDecoder,
    input: Option<End>,
    terminal: bool,
    input_of: Option<(RuntimeLink, String)>,
) {
    let mut input = input;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match decoder.decode::<ExecInput>() {
            Ok(Some(ExecInput::Data(bytes))) => {
                if let Some(end) = &input
                    && end.write_all(&bytes).await.is_err()
                {
                    // The program reads no more; what still comes is nobody's.
                    input = None;
                }
            }
            Ok(Some(ExecInput::End)) if terminal => {
                // A terminal is not closed by one side: it is told that the input ends.
                if let Some(end) = &input {
                    let _gone = end.write_all(&[END_OF_TRANSMISSION]).await;
                }
            }
            Ok(Some(ExecInput::End)) => {
                input = None;
                if let Some((runtime, id)) = &input_of
                    && let Err(error) = runtime.close_input(id).await
                {
                    tracing::debug!(%error, id, "the input of a container was not ended");
                }
            }
            Ok(Some(ExecInput::Resize { columns, rows })) => {
                if let Some(end) = input.as_ref().filter(|_| terminal) {
                    let _gone = resize(end.descriptor(), TerminalSize { columns, rows });
                }
            }
            Ok(None) => match reader.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(len) => decoder.push(chunk.get(..len).unwrap_or_default()),
            },
            Err(error) => {
                tracing::warn!(%error, "input for a program is malformed");
                return;
            }
        }
    }
}

/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 4;

async fn wait_end(
    mut connection: UnixStream,
    mut decoder: runtime::FrameDecoder,
) -> io::Result<ExecOutcome> {
    let mut chunk = [0; 512];
    loop {
        match decoder.next::<ServerFrame>().map_err(io::Error::other)? {
            Some(ServerFrame::Response { result: Ok(Response::ExecDone(outcome)), .. }) => {
                return Ok(outcome);
            }
            Some(ServerFrame::Response { result: Err(failure), .. }) => {
                return Err(io::Error::other(failure));
            }
            Some(ServerFrame::Response { .. } | ServerFrame::Event(_)) => {}
            None => match connection.read(&mut chunk).await? {
                0 => return Err(io::Error::other("the runtime process was restarted")),
                len => decoder.push(chunk.get(..len).unwrap_or_default()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ends of a program's stream, and the pump from one to a channel.
    fn pumped() -> (io::PipeWriter, mpsc::Receiver<ExecOutput>, watch::Sender<bool>) {
        let (reader, writer) = io::pipe().unwrap();
        let (pieces, waiting) = mpsc::channel(1);
        let (over, is_over) = watch::channel(false);
        let end = End::new(reader.into()).unwrap();
        tokio::spawn(pump(end, ExecOutput::Stdout, pieces, is_over));
        (writer, waiting, over)
    }

    #[tokio::test]
    async fn what_was_written_before_the_end_is_sent_though_others_hold_the_pipe() {
        use std::io::Write as _;
        let (mut writer, mut waiting, over) = pumped();
        let data = vec![b'x'; 40_000];
        writer.write_all(&data).unwrap();
        over.send(true).unwrap();
        let mut got = 0;
        while let Some(ExecOutput::Stdout(bytes)) = waiting.recv().await {
            assert!(bytes.len() <= EXEC_PIECE_LEN_MAX);
            got += bytes.len();
        }
        assert_eq!(got, data.len());
        drop(writer);
    }

    #[tokio::test]
    async fn input_reaches_the_program_until_it_ends() {
        use std::io::Read as _;
        let (mut program, ours) = io::pipe().unwrap();
        let input = End::new(ours.into()).unwrap();
        let frames = [ExecInput::Data(b"hello".to_vec()), ExecInput::End]
            .map(|frame| encode(&frame).unwrap())
            .concat();
        let decoder = FrameDecoder::with_len_max(INPUT_LEN_MAX);
        take_input(&frames[..], decoder, Some(input), false, None).await;
        let mut text = String::new();
        program.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[tokio::test]
    async fn giant_pieces_end_the_stream_before_they_are_kept() {
        let mut decoder = FrameDecoder::new();
        decoder.set_len_max(INPUT_LEN_MAX);
        let giant = encode(&ExecInput::Data(vec![0; EXEC_PIECE_LEN_MAX + 100])).unwrap();
        let (_reader, ours) = io::pipe().unwrap();
        let input = End::new(ours.into()).unwrap();
        // It returns, and the other end has got nothing.
        take_input(&giant[..], decoder, Some(input), false, None).await;
    }
}
