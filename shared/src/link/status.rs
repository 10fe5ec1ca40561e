//! What the agent tells on the control stream: states of pods and of the node.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::link::container::Resources;
use crate::link::handshake::BootReport;
use crate::link::token::TokenRequest;

/// One frame from the agent on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMaster {
    /// A pod's state has changed.
    Pod(Box<PodStatus>),
    /// Nothing of this pod is left on the node.
    PodRemoved {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
    /// The node's conditions have changed.
    Node(NodeConditions),
    /// Something that a person should be able to read about a pod.
    Event(Event),
    /// Answer to [`ToAgent::Ping`](super::ToAgent::Ping).
    Pong(u64),
    /// What [`NodeFacts::boot`](super::NodeFacts::boot) said has changed: a trial was kept.
    Boot(BootReport),
    /// Asks for a token of the account of a pod that is bound here.
    Token(TokenRequest),
}

/// A pod's state on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Generation of the spec that this state belongs to.
    pub observed_generation: u64,
    /// Phase.
    pub phase: PodPhase,
    /// Reason in one word, possibly empty.
    pub reason: String,
    /// Reason in words, possibly empty.
    pub message: String,
    /// Address of the pod, once it has one.
    pub pod_ip: Option<Ipv4Addr>,
    /// When the agent first saw the pod; time of day in milliseconds.
    pub started_ms: u64,
    /// Network and namespaces are there.
    pub sandbox_ready: bool,
    /// All init containers have succeeded.
    pub initialized: bool,
    /// All containers are ready.
    pub containers_ready: bool,
    /// The pod is ready: its containers are, and all readiness gates hold.
    pub ready: bool,
    /// Init containers, in the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// Containers, in the order of the spec.
    pub containers: Vec<ContainerStatus>,
    /// Ephemeral containers, in the order of the spec.
    pub ephemeral_containers: Vec<ContainerStatus>,
    /// Why a container does not have the resources that it should by now; possibly empty.
    pub resize_failure: String,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Not all containers have been started.
    Pending,
    /// At least one runs, or will be restarted.
    Running,
    /// All ended well and none is restarted.
    Succeeded,
    /// All ended, at least one badly.
    Failed,
}

/// State of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// `bramble://<id>`, or empty before the first start.
    pub container_id: String,
    /// Image reference as resolved.
    pub image: String,
    /// Digest reference of the image, or empty before the pull.
    pub image_id: String,
    /// Times that it was started again.
    pub restart_count: u32,
    /// Ready for traffic.
    pub ready: bool,
    /// Has been started (and its startup probe has passed).
    pub started: bool,
    /// State.
    pub state: ContainerState,
    /// State before the last restart.
    pub last_state: Option<ContainerState>,
    /// What it may use, while it runs.
    pub resources: Option<Resources>,
}

/// `state` of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Not running yet, or not yet again.
    Waiting {
        /// `ContainerCreating`, `ImagePullBackOff`, `CrashLoopBackOff`, ...
        reason: String,
        /// In words.
        message: String,
    },
    /// Running.
    Running {
        /// Time of day of the start, in milliseconds.
        started_ms: u64,
    },
    /// Ended.
    Terminated {
        /// Exit code; 128 + signal when one ended it.
        exit_code: i32,
        /// Signal, 0 for none.
        signal: i32,
        /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, ...
        reason: String,
        /// Termination message.
        message: String,
        /// Time of day of the start, in milliseconds.
        started_ms: u64,
        /// Time of day of the end, in milliseconds.
        finished_ms: u64,
    },
}

/// The node's own view of its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConditions {
    /// Can start pods.
    pub ready: bool,
    /// Why not, in words.
    pub message: String,
    /// Little memory left.
    pub memory_pressure: bool,
    /// Little room left.
    pub disk_pressure: bool,
    /// Few process ids left.
    pub pid_pressure: bool,
}

/// Something that a person should be able to read about a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// `spec.containers{name}`, or empty.
    pub field_path: String,
    /// Something is wrong.
    pub warning: bool,
    /// `Pulled`, `Started`, `BackOff`, `Failed`, ...
    pub reason: String,
    /// In words.
    pub message: String,
}
