//! Node-link messages: what master and agent say to each other inside their TLS session.
//!
//! The agent dials the master's only TLS port with ALPN [`LINK_ALPN`] (its node certificate as
//! client certificate) and runs a yamux session in it. The agent opens the first stream, the
//! *control stream*, and writes [`Hello`]; the master answers [`Welcome`]. From then on the
//! master writes [`ToAgent`] and the agent [`ToMaster`], one message a frame. A master that
//! wants more of a node (logs, an upgrade) opens another stream and writes a [`StreamRequest`]; the
//! agent answers with [`StreamReply`] frames. A board without a certificate uses ALPN [`JOIN_ALPN`]:
//! one [`JoinRequest`], one [`JoinReply`], no yamux.
//!
//! ```text
//! frame = length of the body, u32 little endian | body, postcard     (<= LINK_FRAME_LEN_MAX)
//! ```
//!
//! Desired state is level-based: after every [`Welcome`] the master sends all that this node
//! needs and then [`ToAgent::Synced`]; what was not named by then is gone. A released message is
//! frozen (postcard is positional): a new need is a new variant at the end, or a new version.
//! Times of day are milliseconds since 1970 and only for people to read.

mod container;
mod data;
mod desired;
mod handshake;
mod join;
mod pod;
mod probe;
mod service;
mod status;
mod streams;
mod token;
mod upgrade;
mod volume;

pub use container::{
    Container, ContainerPort, ContainerSecurity, EnvFrom, EnvValue, EnvVar, Mount, Protocol,
    PullPolicy, ResourceField, Resources,
};
pub use data::{Data, DataKey, DataKind};
pub use desired::{Change, Peer, ToAgent};
pub use handshake::{Accepted, BootReport, FenceKind, Hello, Ipv4Range, NodeFacts, Welcome};
pub use join::{JoinReply, JoinRequest};
pub use pod::{Deletion, DnsPolicy, DnsSource, HostAlias, Pod, PodSecurity, RestartPolicy};
pub use probe::{Handler, Lifecycle, Probe};
pub use service::{Endpoint, EndpointHost, Service, ServicePort};
pub use status::{
    ContainerState, ContainerStatus, Event, NodeConditions, PodPhase, PodStatus, ToMaster,
};
pub use streams::{
    AttachRequest, DialReply, DialRequest, EXEC_PIECE_LEN_MAX, ExecInput, ExecOutput, ExecRequest,
    ExecStreams, LogsRequest, StreamReply, StreamRequest,
};
pub use token::{TokenAnswer, TokenReply, TokenRequest};
pub use upgrade::{UpgradeData, UpgradeReply, UpgradeRequest, UpgradeStage};
pub use volume::{DataItem, FileSource, Volume, VolumeSource};

/// ALPN of the node link.
pub const LINK_ALPN: &[u8] = b"bramble-link/1";
/// ALPN of a join.
pub const JOIN_ALPN: &[u8] = b"bramble-join/1";
/// Version of these messages; both sides speak this one and the one before.
pub const LINK_VERSION: u16 = 1;
/// Label of the TLS exporter that yields the heartbeat keys (64 bytes: agent to master, then
/// master to agent), with the session index (little endian) as context.
pub const HEARTBEAT_EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL-bramble-heartbeat";
