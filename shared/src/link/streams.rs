//! Streams that the master opens beside the control stream: what it asks for, and logs.
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
