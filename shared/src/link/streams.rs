//! Streams that the master opens beside the control stream: what it asks for, logs, programs in
//! containers and connections to pods.
//!
//! The frames of an upgrade are in [`upgrade`](super::upgrade).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::link::upgrade::UpgradeRequest;

/// First frame of a stream that the master opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamRequest {
    /// A container's log.
    Logs(LogsRequest),
    /// A new system for the board's other slot; [`UpgradeData`](super::UpgradeData) follows, and
    /// [`UpgradeReply`](super::UpgradeReply) frames come back meanwhile.
    Upgrade(UpgradeRequest),
    /// A program in a running container; [`ExecInput`] frames follow, and [`ExecOutput`] frames
    /// come back. The program is killed when the stream ends.
    Exec(ExecRequest),
    /// A TCP connection to a port of a pod; after [`DialReply::Open`] its bytes as they are, both
    /// ways, and each way has its own end.
    Dial(DialRequest),
    /// The same, but at the pod's own address, as other pods reach it.
    Reach(DialRequest),
    /// The node's own pages; requests of HTTP/1.1 follow.
    NodePages,
    /// The streams of a container's own program, as for [`StreamRequest::Exec`]; it goes on when the
    /// stream ends.
    Attach(AttachRequest),
}

/// A container that somebody wants to be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Container.
    pub container: String,
    /// Input is sent.
    pub stdin: bool,
    /// Output is wanted.
    pub stdout: bool,
    /// What it writes as errors is wanted.
    pub stderr: bool,
}

/// Most bytes of a program's input or output in one frame.
pub const EXEC_PIECE_LEN_MAX: usize = 32 * 1024;

/// A program to run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its standard streams.
    pub streams: ExecStreams,
}

/// Which of a program's standard streams somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStreams {
    /// Pipes; the null device in place of the others.
    Pipes {
        /// Input is sent.
        stdin: bool,
        /// Output is wanted.
        stdout: bool,
        /// What it writes as errors is wanted.
        stderr: bool,
    },
    /// A terminal for all three, of this size to begin with.
    Terminal {
        /// Characters in a row.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// What the master sends to a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecInput {
    /// A piece of its input; at most [`EXEC_PIECE_LEN_MAX`] bytes.
    Data(Vec<u8>),
    /// There is no more input.
    End,
    /// The terminal has another size.
    Resize {
        /// Characters in a row.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// What comes back of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutput {
    /// It runs.
    Open,
    /// A piece of its output, or of all that a terminal shows; an empty one asks whether somebody
    /// still listens.
    Stdout(Vec<u8>),
    /// A piece of what it writes as errors.
    Stderr(Vec<u8>),
    /// It has ended, and everything that it wrote was sent.
    Exited {
        /// Exit code, 128 + signal when a signal ended it.
        code: i32,
    },
    /// It could not be begun, or its end is not known.
    Failed {
        /// HTTP status that fits best; 500 when the command itself cannot be run.
        status: u16,
        /// In words.
        message: String,
    },
}

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Port, in the pod's own network.
    pub port: u16,
}

/// What became of a [`DialRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialReply {
    /// The connection stands.
    Open,
    /// There is none.
    Failed {
        /// HTTP status that fits best.
        status: u16,
        /// In words.
        message: String,
    },
}

/// Which part of a container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsRequest {
    /// Uid of the pod.
    pub uid: String,
    /// Container.
    pub container: String,
    /// Goes on as long as the container runs.
    pub follow: bool,
    /// The run before the last restart.
    pub previous: bool,
    /// Every line starts with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since this time of day, in milliseconds.
    pub since_ms: Option<u64>,
    /// No more bytes than this.
    pub limit_bytes: Option<u64>,
}

/// Answer on a stream that the master opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamReply {
    /// A piece of it.
    Data(Vec<u8>),
    /// That was all.
    End,
    /// It cannot be had; the text says why.
    Error {
        /// HTTP status that fits best.
        status: u16,
        /// In words.
        message: String,
    },
}
