//! Bounds of everything that crosses the wire, each with the reason for its number.
//!
//! Constants that depend on each other are checked against each other at compile time.

/// Longest sealed UDP datagram, in bytes: below every path MTU that a cheap switch may have.
pub const DATAGRAM_LEN_MAX: usize = 512;

/// Most nodes of one bramble; sizes the unreachable set that every acknowledgement carries.
pub const NODES_MAX: usize = 128;

/// Longest node name, in bytes: a DNS label (RFC 1123), since it is the board's host name too.
pub const NODE_NAME_LEN_MAX: usize = 63;

/// Longest node-link frame, in bytes: a pod's largest ConfigMap (1 MiB) with ample room beside it.
pub const LINK_FRAME_LEN_MAX: usize = 4 * 1024 * 1024;

/// Longest hello of a board, in bytes: some twenty words and the labels of its administrator.
pub const HELLO_LEN_MAX: usize = 64 * 1024;

/// Longest message of an agent, in bytes: the state of a pod with some hundred containers, and their
/// termination messages.
pub const REPORT_LEN_MAX: usize = 1024 * 1024;

/// Interval between two heartbeats of a node, in milliseconds (`LIVENESS`: ten a second).
pub const HEARTBEAT_INTERVAL_MS: u64 = 100;

/// Lease that one acknowledgement grants, in milliseconds (fast profile).
pub const LEASE_MS: u64 = 1_500;

const _: () = assert!(HELLO_LEN_MAX < REPORT_LEN_MAX && REPORT_LEN_MAX < LINK_FRAME_LEN_MAX);
const _: () = assert!(LEASE_MS > 6 * HEARTBEAT_INTERVAL_MS, "a lease must outlive the suspicion");
