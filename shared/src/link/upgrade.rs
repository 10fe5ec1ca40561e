//! A new system on its way to a board: frames of a stream that the master opened for it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A new system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeRequest {
    /// Bytes that will follow, if the master knows; only for progress.
    pub bytes: Option<u64>,
}

/// One frame of a new system, from the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpgradeData {
    /// The next piece of the image file, as it is or compressed by gzip.
    Piece(Vec<u8>),
    /// That was all of it. A stream that ends without this is torn.
    End,
}

/// One frame from an agent that takes a new system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpgradeReply {
    /// How far it is.
    Progress {
        /// What is being done.
        stage: UpgradeStage,
        /// Bytes that are done of it.
        bytes: u64,
        /// Bytes that there are of it.
        of: u64,
    },
    /// The slot is whole; the board restarts now to try it.
    Restarting {
        /// The slot that was written.
        slot: String,
        /// Version of what is in it.
        version: String,
    },
    /// Nothing has changed for the running system; the text says why.
    Failed {
        /// HTTP status that fits best.
        status: u16,
        /// In words.
        message: String,
    },
}

/// What an agent does with a new system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpgradeStage {
    /// Writes it to the other slot while it arrives.
    Writing,
    /// Reads it back from the card and compares.
    Verifying,
}
