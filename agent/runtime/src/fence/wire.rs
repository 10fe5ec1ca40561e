//! What the fence is asked and answers, in the frames of [`crate::protocol`].

use serde::{Deserialize, Serialize};

/// A request to the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceRequest {
    /// The lease is valid until this instant of CLOCK_MONOTONIC_RAW, in microseconds, counted
    /// from the *send* time of the heartbeat that was acknowledged.
    Renew { valid_until_us: u64 },
    /// Asks to start a singleton in this cgroup; repeated after joining it.
    Grant { cgroup_path: String },
    /// The singleton in this cgroup has ended.
    Release { cgroup_path: String },
    /// Asks for the state.
    Status,
}

/// The fence's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceResponse {
    /// Whether the lease was taken; an instant too far ahead is not.
    Renewed { accepted: bool },
    /// Whether the singleton may start.
    Grant { granted: bool },
    /// Forgotten.
    Released,
    /// The state.
    Status(FenceStatus),
}

/// State of the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceStatus {
    /// End of the lease in microseconds of CLOCK_MONOTONIC_RAW.
    pub valid_until_us: u64,
    /// Whether it is valid now.
    pub valid: bool,
    /// Cgroups of singletons that may run.
    pub grants: Vec<String>,
    /// Singletons are being stopped.
    pub stopping: bool,
    /// A watchdog resets the board if the fence fails.
    pub hard: bool,
}
