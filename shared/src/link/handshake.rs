//! The first two messages of a session: what the board is, and what the master lets it know.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, Incarnation, NodeId, SessionIndex};

/// First frame of the control stream, from the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest link version that the agent speaks.
    pub version_min: u16,
    /// Newest link version that the agent speaks.
    pub version_max: u16,
    /// The board's boot.
    pub boot_id: BootId,
    /// The board's serial (device tree; machine id where there is none).
    pub serial: String,
    /// The agent's start on this board.
    pub incarnation: Incarnation,
    /// What the board is and has.
    pub facts: NodeFacts,
}

/// What a board is and has; becomes `status.nodeInfo`, `status.capacity` and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Architecture in Go's words (`arm64`, `amd64`, `arm`).
    pub architecture: String,
    /// Operating system in words (`PRETTY_NAME` of os-release).
    pub os_image: String,
    /// Kernel release.
    pub kernel_version: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Machine id (systemd's, or the board's serial).
    pub machine_id: String,
    /// Host name.
    pub hostname: String,
    /// Address by which other nodes reach this one.
    pub address: Ipv4Addr,
    /// Processor capacity, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Room for images, logs and emptyDirs, in bytes.
    pub storage_bytes: u64,
    /// Most pods that the node takes.
    pub pods_max: u32,
    /// How the node stops singletons that lost their lease.
    pub fence: FenceKind,
    /// Labels that the administrator gave the node in its configuration.
    pub labels: BTreeMap<String, String>,
    /// What a board that runs from a card started; none elsewhere.
    pub boot: Option<BootReport>,
}

/// Which of a card's two systems a board runs, and how the last upgrade ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootReport {
    /// The slot: `a` or `b`.
    pub slot: String,
    /// Version of what is in it.
    pub version: String,
    /// It runs on trial: the next boot is of the other slot unless this one is kept.
    pub trial: bool,
    /// `kept`, `rolled back: <reason>`, or empty if there was no upgrade.
    pub upgrade: String,
}

/// How a node stops singletons that lost their lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceKind {
    /// By killing them; nothing resets the board if that fails.
    Soft,
    /// By killing them, and a hardware watchdog resets the board if that fails.
    Watchdog,
}

/// Answer to [`Hello`], from the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// The node is in.
    Accepted(Box<Accepted>),
    /// It is not; the text says why and what to do.
    Refused {
        /// For the log of the agent.
        reason: String,
    },
}

/// What an accepted node needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Link version of this session.
    pub version: u16,
    /// Cluster id.
    pub cluster: String,
    /// The node's number.
    pub node: NodeId,
    /// The leader's term; agents refuse lower ones.
    pub term: u64,
    /// Heartbeat session.
    pub session: SessionIndex,
    /// Epoch of the heartbeat key.
    pub key_epoch: u16,
    /// UDP port of the master for heartbeats, at the address that the agent dialled.
    pub heartbeat_port: u16,
    /// Interval between heartbeats, in milliseconds.
    pub heartbeat_ms: u32,
    /// Lease that an acknowledgement grants, in milliseconds.
    pub lease_ms: u32,
    /// The master's time of day, in milliseconds since 1970.
    pub time_of_day_ms: u64,
    /// Addresses of this node's pods.
    pub pod_range: Ipv4Range,
    /// Addresses of all pods.
    pub cluster_range: Ipv4Range,
    /// Addresses of Services.
    pub service_range: Ipv4Range,
    /// Address of cluster DNS.
    pub dns: Ipv4Addr,
    /// Domain of cluster DNS (`cluster.local`).
    pub domain: String,
}

/// An address range in prefix notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ipv4Range {
    /// First address.
    pub network: Ipv4Addr,
    /// Length of the prefix, 0 to 32.
    pub prefix_len: u8,
}
