//! One container of a [`Pod`](super::Pod), as its node must run it.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::link::data::DataKind;
use crate::link::probe::{Lifecycle, Probe};

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Name, unique in the pod.
    pub name: String,
    /// Image reference as written.
    pub image: String,
    /// When to ask the registry.
    pub pull_policy: PullPolicy,
    /// Replaces the image's entry point; not yet expanded.
    pub command: Vec<String>,
    /// Replaces the image's command; not yet expanded.
    pub args: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Variables from whole ConfigMaps and Secrets, before `env`.
    pub env_from: Vec<EnvFrom>,
    /// Variables; later ones may name earlier ones as `$(NAME)`.
    pub env: Vec<EnvVar>,
    /// Ports.
    pub ports: Vec<ContainerPort>,
    /// Requests and limits.
    pub resources: Resources,
    /// Mounts of the pod's volumes.
    pub mounts: Vec<Mount>,
    /// Security settings.
    pub security: ContainerSecurity,
    /// An init container with `restartPolicy: Always`.
    pub sidecar: bool,
    /// Holds the other two probes back until it has succeeded once.
    pub startup_probe: Option<Probe>,
    /// Its failure ends the container.
    pub liveness_probe: Option<Probe>,
    /// Decides whether the container is ready.
    pub readiness_probe: Option<Probe>,
    /// Hooks and the stop signal.
    pub lifecycle: Lifecycle,
    /// Has a terminal.
    pub tty: bool,
    /// Keeps its standard input open.
    pub stdin: bool,
    /// File whose content becomes the termination message.
    pub termination_message_path: String,
    /// Takes the end of the log as termination message when the file is empty after a failure.
    pub termination_message_from_log: bool,
    /// Its input ends with the first who was attached to it.
    pub stdin_once: bool,
    /// The container whose processes an ephemeral one sees; possibly empty.
    pub target: String,
    /// Other processor time wants another start.
    pub restart_for_cpu: bool,
    /// Another memory limit wants another start.
    pub restart_for_memory: bool,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Always ask the registry.
    Always,
    /// Only when the image is not here.
    IfNotPresent,
    /// Never.
    Never,
}

/// Variables from a whole ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// Before every name.
    pub prefix: String,
    /// Where from.
    pub kind: DataKind,
    /// Name of the object.
    pub name: String,
    /// Absence is no error.
    pub optional: bool,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value or source.
    pub value: EnvValue,
}

/// Value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// Literal, with `$(NAME)` still in it.
    Literal(String),
    /// Key of a ConfigMap or Secret.
    Data {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
        /// Key in it.
        key: String,
        /// Absence is no error: the variable is left out.
        optional: bool,
    },
    /// Field of the pod (`metadata.name`, `status.podIP`, ...).
    Field(String),
    /// Resource of a container, divided.
    Resource(ResourceField),
}

/// A resource of a container, divided: `resourceFieldRef`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceField {
    /// Container; empty means the one whose variable it is.
    pub container: String,
    /// `limits.cpu`, `requests.memory`, ...
    pub resource: String,
    /// Divisor in thousandths (CPU) or bytes (the rest), at least 1.
    pub divisor: u64,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A container's port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// Name, possibly empty.
    pub name: String,
    /// Port in the pod.
    pub port: u16,
    /// Port on the node, 0 for none.
    pub host_port: u16,
    /// The node's only address at which that port is open; none for all of them.
    pub host_ip: Option<Ipv4Addr>,
    /// Protocol.
    pub protocol: Protocol,
}

/// Requests and limits of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Requested processor time, in thousandths of a core.
    pub cpu_request_milli: Option<u64>,
    /// Most processor time, in thousandths of a core.
    pub cpu_limit_milli: Option<u64>,
    /// Requested memory, in bytes.
    pub memory_request: Option<u64>,
    /// Most memory, in bytes.
    pub memory_limit: Option<u64>,
}

/// A mount of one of the pod's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Name of the volume.
    pub volume: String,
    /// Path in the container.
    pub path: String,
    /// Path in the volume, possibly empty.
    pub sub_path: String,
    /// In place of `sub_path`: a path in which `$(NAME)` stands for a variable of the container;
    /// possibly empty.
    pub sub_path_expr: String,
    /// No writing.
    pub read_only: bool,
}

/// `securityContext` of a container, over the pod's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// User id.
    pub run_as_user: Option<u32>,
    /// Group id.
    pub run_as_group: Option<u32>,
    /// Refuses to run as user 0.
    pub run_as_non_root: Option<bool>,
    /// Root file system without writing.
    pub read_only_root: bool,
    /// All of the host.
    pub privileged: bool,
    /// Set-uid programs may gain privileges.
    pub allow_privilege_escalation: bool,
    /// Capabilities more than the default ones, without `CAP_`; `ALL` for all.
    pub capabilities_add: Vec<String>,
    /// Capabilities fewer than the default ones.
    pub capabilities_drop: Vec<String>,
    /// No seccomp filter.
    pub seccomp_unconfined: bool,
}
