//! What the agent and the runtime process say to each other over the Unix stream socket.
//!
//! Every frame is `u32 length (little endian) | version byte | postcard body`; the length counts
//! the version byte and the body. Requests carry a number that their response repeats, so that
//! many may be under way at once; events carry none. Knows nothing of sockets: [`encode`] and
//! [`FrameDecoder`] work on bytes, so a blocking and an asynchronous client use the same code.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of this protocol; a runtime process outlives agent upgrades, so it is checked.
pub const PROTOCOL_VERSION: u8 = 2;

/// Longest frame in bytes: a list of 500 containers, or the captured output of one exec.
pub const FRAME_LEN_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of one stream that an exec hands back; the rest is read and thrown away.
pub const EXEC_OUTPUT_LEN_MAX: u32 = 1024 * 1024;

/// Bytes of a container's output that wait in RAM for the log writer unless asked otherwise.
pub const STDIO_BUDGET_DEFAULT: u32 = 256 * 1024;

/// Longest container id, in bytes; characters are ASCII letters, digits, `_`, `+`, `-` and `.`.
pub const CONTAINER_ID_LEN_MAX: usize = 128;

/// One request with the number that its response will carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the client; unique among the requests under way on this connection.
    pub number: u64,
    /// What is asked.
    pub request: Request,
}

/// What the agent may ask of the runtime process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Creates a container and leaves it waiting for [`Request::Start`].
    Create(CreateContainer),
    /// Runs the program of a created container.
    Start { id: String },
    /// Sends a signal to the container's init, or to all of its processes.
    Kill { id: String, signal: i32, all: bool },
    /// Removes a container with its cgroup and state. A running one is an error without `force`.
    /// Deleting an unknown container succeeds, so that clean-up may be repeated.
    Delete { id: String, force: bool },
    /// Lists all containers with their state.
    List,
    /// Runs one more program in a running container and waits for it.
    Exec(ExecContainer),
    /// Answers with the list and sends all later [`Event`]s on this connection.
    Subscribe,
    /// Runs one more program in a running container and hands its standard streams over
    /// ([`crate::session`]): [`Response::Opened`] comes with their descriptors,
    /// [`Response::ExecDone`] at the program's end. It is killed when the connection ends.
    OpenExec(OpenExec),
    /// Gives a container other limits, whatever it does meanwhile.
    Update { id: String, limits: Limits },
    /// Hands over streams of a container's own program ([`crate::session`]): [`Response::Opened`]
    /// comes with their descriptors, [`Response::ExecDone`] when it has ended and all that it wrote
    /// was taken. The container goes on when the connection ends.
    Attach(Attach),
    /// Ends the input of a container whose input ends with the first who was attached to it;
    /// nothing for others.
    CloseInput { id: String },
}

/// Streams of a container's own program that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The container.
    pub id: String,
    /// Its input, if it has one; the master of its terminal, if it has that. One descriptor.
    pub stdin: bool,
    /// From now on. One descriptor.
    pub stdout: bool,
    /// From now on, if it has no terminal. One descriptor.
    pub stderr: bool,
}

/// What a container's own program has to do with whoever is attached to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnStreams {
    /// Its input is a pipe, and the null device otherwise.
    pub stdin: bool,
    /// Its input ends with the first who was attached.
    pub stdin_once: bool,
    /// It has a terminal of its own for all three.
    pub terminal: bool,
}

/// What a container may use of the node, as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its part of busy processors ([`crate::spec::resources::cpu_shares`]).
    pub cpu_shares: u64,
    /// Microseconds of processor in a tenth of a second; none for as many as there are.
    pub cpu_quota_us: Option<u64>,
    /// Bytes of memory; none for as many as there are.
    pub memory_bytes: Option<u64>,
}

/// A container to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainer {
    /// Unique on the node; see [`CONTAINER_ID_LEN_MAX`].
    pub id: String,
    /// OCI runtime spec as JSON ([`crate::spec::build`]), with an absolute `root.path` and an
    /// absolute `linux.cgroupsPath`.
    pub spec_json: Vec<u8>,
    /// Log file for the log writer ([`crate::logs::log_file`]); without it output is discarded.
    pub log_file: Option<String>,
    /// Bytes of output that may wait in RAM for the log writer; 0 means the default.
    pub stdio_budget_bytes: u32,
    /// A singleton's start needs a grant from the fence; its cgroup is beneath the fence's.
    pub singleton: bool,
    /// For who is attached to it later.
    pub streams: OwnStreams,
}

/// A program to run in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecContainer {
    /// The container.
    pub id: String,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Variables that are added to, or replace, those of the container.
    pub env: Vec<(String, String)>,
    /// Working directory; the container's without it.
    pub cwd: Option<String>,
    /// The program is killed after this many milliseconds; 0 means never.
    pub timeout_ms: u64,
    /// Most bytes of each stream to hand back; bound: [`EXEC_OUTPUT_LEN_MAX`].
    pub output_len_max: u32,
}

/// A program to run with its standard streams in somebody's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenExec {
    /// The program; nothing of its output is handed back in [`Response::ExecDone`].
    pub exec: ExecContainer,
    /// Its streams.
    pub streams: ExecStreams,
}

/// Which standard streams are wanted; `/dev/null` stands in for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStreams {
    /// Pipes: one descriptor comes for each that is true, in this order.
    Pipes { stdin: bool, stdout: bool, stderr: bool },
    /// A terminal of the container's for all three: one descriptor, its master.
    Terminal { columns: u16, rows: u16 },
}

/// What the runtime process sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// The outcome of the request with this number.
    Response { number: u64, result: Result<Response, Failure> },
    /// Something happened to a container; only after [`Request::Subscribe`].
    Event(Event),
}

/// What a request that succeeded returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The container waits for its start; its network namespace is `/proc/{pid}/ns/net`.
    Created { pid: i32 },
    /// The program runs.
    Started,
    /// The signal was sent.
    Killed,
    /// Nothing of the container is left.
    Deleted,
    /// Answer to [`Request::List`] and [`Request::Subscribe`], sorted by id.
    Containers(Vec<ContainerStatus>),
    /// Answer to [`Request::Exec`], and the last one to [`Request::OpenExec`].
    ExecDone(ExecOutcome),
    /// The streams that were asked for come along as descriptors.
    Opened,
    /// The limits hold.
    Updated,
}

/// How an exec ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    /// Exit code, 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// It was killed because its time was over.
    pub timed_out: bool,
    /// What it wrote to standard output, cut at the bound.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, cut at the bound.
    pub stderr: Vec<u8>,
}

/// A container as the runtime process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: ContainerState,
    /// Absolute cgroup path of its spec, without the mount point.
    pub cgroup_path: String,
    /// Wall-clock time of the create, in microseconds since 1970.
    pub created_at_us: u64,
    /// Wall-clock time of the start, in microseconds since 1970.
    pub started_at_us: Option<u64>,
    /// Bytes of output that were dropped because nobody took them in time.
    pub output_bytes_lost: u64,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// A create is under way.
    Creating,
    /// Waits for its start.
    Created { pid: i32 },
    /// Its program runs.
    Running { pid: i32 },
    /// Its init has ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code as Kubernetes reports it: 128 + signal when a signal ended it, 255 when unknown.
    pub code: i32,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed one of its processes because the memory limit was reached.
    pub oom_killed: bool,
    /// Whether its end was seen.
    pub known: bool,
    /// Wall-clock time of the end, in microseconds since 1970.
    pub finished_at_us: u64,
}

impl Exit {
    /// Returns the reason of a terminated container state in Kubernetes' words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self { known: false, .. } => "ContainerStatusUnknown",
            // A child of it may have been killed, but it carried on and ended well.
            Self { code: 0, .. } => "Completed",
            Self { oom_killed: true, .. } => "OOMKilled",
            Self { .. } => "Error",
        }
    }
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Its program runs.
    Started { id: String, pid: i32, at_us: u64 },
    /// Its init has ended.
    Exited { id: String, exit: Exit },
    /// It was deleted.
    Deleted { id: String },
}

/// Why a request failed, in words that belong on a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub reason: FailureReason,
    /// Lower-case sentence for people.
    pub message: String,
}

impl Failure {
    /// Makes a failure.
    #[must_use]
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Kind of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// No container has this id.
    NotFound,
    /// A container with this id exists.
    AlreadyExists,
    /// The container is not in the state that the request needs.
    WrongState,
    /// The request or its spec is invalid.
    Invalid,
    /// The program is not in the container: exit code 127, or 128 as Kubernetes reports it.
    CommandNotFound,
    /// The program may not be executed: exit code 126.
    CommandNotExecutable,
    /// The fence did not grant the start of a singleton.
    FenceDenied,
    /// Anything else that went wrong in the runtime.
    Internal,
    /// As much is under way as may be; it may be tried again when something has ended.
    Busy,
}

impl FailureReason {
    /// Returns the reason of a terminated container state in Kubernetes' words.
    #[must_use]
    pub fn kubernetes_reason(self) -> &'static str {
        match self {
            Self::CommandNotFound | Self::CommandNotExecutable => "ContainerCannotRun",
            Self::NotFound
            | Self::AlreadyExists
            | Self::WrongState
            | Self::Invalid
            | Self::FenceDenied
            | Self::Internal
            | Self::Busy => "StartError",
        }
    }

    /// Returns the exit code that Kubernetes users expect of a container that could not start.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            Self::NotFound
            | Self::AlreadyExists
            | Self::WrongState
            | Self::Invalid
            | Self::FenceDenied
            | Self::Internal
            | Self::Busy => 128,
        }
    }
}

/// Why a frame could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The message could not be serialized.
    #[error("could not serialize a runtime message")]
    Serialize(#[source] postcard::Error),
    /// The message is over the bound.
    #[error("a runtime message has {len} bytes, at most {FRAME_LEN_MAX} are allowed")]
    TooLong { len: usize },
}

/// Why received bytes are not a frame; the connection is useless afterwards.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The length is zero or over the bound.
    #[error("a runtime frame claims {len} bytes, 1 to {FRAME_LEN_MAX} are allowed")]
    Length { len: usize },
    /// The other side speaks another version.
    #[error("runtime protocol version {found} is not {PROTOCOL_VERSION}")]
    Version { found: u8 },
    /// The body is not a message.
    #[error("a runtime frame is malformed")]
    Malformed,
    /// Bytes follow the message.
    #[error("{extra} bytes follow a runtime message")]
    TrailingBytes { extra: usize },
}

/// Encodes one message as a whole frame, length included.
///
/// # Errors
/// When the message is longer than [`FRAME_LEN_MAX`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let frame = vec![0, 0, 0, 0, PROTOCOL_VERSION];
    let mut frame = postcard::to_extend(message, frame).map_err(EncodeError::Serialize)?;
    let len = frame.len().saturating_sub(LENGTH_LEN);
    let too_long = EncodeError::TooLong { len };
    match u32::try_from(len) {
        Ok(short) if len <= FRAME_LEN_MAX => {
            for (to, from) in frame.iter_mut().zip(short.to_le_bytes()) {
                *to = from;
            }
            Ok(frame)
        }
        Ok(_) | Err(_) => Err(too_long),
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes are no frame of this version; the stream cannot be used any more.
    #[expect(clippy::should_implement_trait, reason = "an iterator has one type of item")]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if len == 0 || len > FRAME_LEN_MAX {
            return Err(DecodeError::Length { len });
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        let message = decode(frame)?;
        self.buffer.drain(..LENGTH_LEN + len);
        Ok(Some(message))
    }
}

/// Decodes a frame without its length.
fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, DecodeError> {
    let (&version, body) = frame.split_first().ok_or(DecodeError::Length { len: 0 })?;
    if version != PROTOCOL_VERSION {
        return Err(DecodeError::Version { found: version });
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
    match rest.len() {
        0 => Ok(message),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}

/// Bytes of the length in front of a frame.
const LENGTH_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestFrame {
        RequestFrame { number: 7, request: Request::Start { id: "web".to_owned() } }
    }

    #[test]
    fn a_frame_that_arrives_byte_by_byte_is_decoded_once() {
        let mut decoder = FrameDecoder::default();
        let mut messages = Vec::new();
        for byte in encode(&request()).unwrap() {
            decoder.push(&[byte]);
            messages.extend(decoder.next::<RequestFrame>().unwrap());
        }
        assert_eq!(messages, [request()]);
    }

    #[test]
    fn two_frames_in_one_read_are_both_decoded() {
        let mut decoder = FrameDecoder::default();
        let frame = encode(&request()).unwrap();
        decoder.push(&[frame.clone(), frame].concat());
        assert_eq!(decoder.next::<RequestFrame>().unwrap(), Some(request()));
        assert_eq!(decoder.next::<RequestFrame>().unwrap(), Some(request()));
        assert_eq!(decoder.next::<RequestFrame>().unwrap(), None);
    }

    #[test]
    fn other_versions_lengths_and_trailing_bytes_are_refused() {
        let check = |bytes: &[u8], expected| {
            let mut decoder = FrameDecoder::default();
            decoder.push(bytes);
            assert_eq!(decoder.next::<RequestFrame>(), Err(expected));
        };
        check(&[1, 0, 0, 0, 9], DecodeError::Version { found: 9 });
        check(&[0, 0, 0, 0], DecodeError::Length { len: 0 });
        check(&[255, 255, 255, 255], DecodeError::Length { len: 0xffff_ffff });
        check(&[2, 0, 0, 0, PROTOCOL_VERSION, 7], DecodeError::Malformed);
        let trailing = [4, 0, 0, 0, PROTOCOL_VERSION, 7, 4, 0];
        check(&trailing, DecodeError::TrailingBytes { extra: 1 });
    }
}
