//! Node-link messages: what master and agent say to each other inside their TLS session.
//!
//! The agent dials the master's only TLS port with ALPN [`LINK_ALPN`] (its node certificate as
//! client certificate) and runs a yamux session in it. The agent opens the first stream, the
//! *control stream*, and writes [`Hello`]; the master answers [`Welcome`]. From then on the
//! master writes [`ToAgent`] and the agent [`ToMaster`], one message a frame. A master that
//! wants more of a node (logs, an upgrade) opens another stream and writes a [`StreamRequest`]; the agent
//! answers with [`StreamReply`] frames. A board without a certificate uses ALPN [`JOIN_ALPN`]:
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

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, Incarnation, NodeId, SessionIndex};

/// ALPN of the node link.
pub const LINK_ALPN: &[u8] = b"bramble-link/1";
/// ALPN of a join.
pub const JOIN_ALPN: &[u8] = b"bramble-join/1";
/// Version of the messages in this file; both sides speak this one and the one before.
pub const LINK_VERSION: u16 = 1;
/// Label of the TLS exporter that yields the heartbeat keys (64 bytes: agent to master, then
/// master to agent), with the session index (little endian) as context.
pub const HEARTBEAT_EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL-bramble-heartbeat";

/// A board without a certificate asks to become a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Secret part of the token, `<id>.<secret>`; sent only after the CA was checked.
    pub token: String,
    /// Name that the board wants to have; a DNS label.
    pub node_name: String,
    /// PKCS#10 request, DER; its public key is what a single-use token is bound to.
    pub csr: Vec<u8>,
}

/// Answer to a [`JoinRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinReply {
    /// The board is a node now.
    Accepted {
        /// Node certificate, DER.
        certificate: Vec<u8>,
        /// The cluster's CA, DER.
        ca: Vec<u8>,
    },
    /// It is not; the text says why and what to do.
    Refused {
        /// For the person at the board.
        reason: String,
    },
}

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

/// One frame from the master on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// Something that the node needs has changed.
    Change(Change),
    /// All that the node needs, as of this revision, has been sent.
    Synced {
        /// Store revision.
        revision: u64,
    },
    /// Asks for a [`ToMaster::Pong`] with the same number.
    Ping(u64),
}

/// A change of desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// This pod is bound here, in this form.
    Pod(Box<Pod>),
    /// No such pod exists any more: stop it at once and clean up.
    PodGone {
        /// Its uid.
        uid: String,
    },
    /// A ConfigMap or Secret that a pod here uses.
    Data(Data),
    /// It exists no more, or no pod here uses it.
    DataGone(DataKey),
    /// A Service with its endpoints.
    Service(Service),
    /// It exists no more.
    ServiceGone {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        name: String,
    },
    /// Another node of the cluster.
    Peer(Peer),
    /// It was deleted.
    PeerGone(NodeId),
}

/// A pod as its node must run it. Defaults are applied; everything optional upstream is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: u64,
    /// `metadata.labels`, for downward API.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, for downward API.
    pub annotations: BTreeMap<String, String>,
    /// Set once the pod is being deleted.
    pub deletion: Option<Deletion>,
    /// `spec.serviceAccountName`.
    pub service_account: String,
    /// Host name inside the pod.
    pub hostname: String,
    /// `spec.subdomain`.
    pub subdomain: String,
    /// Shares the node's network namespace.
    pub host_network: bool,
    /// Shares the node's process namespace.
    pub host_pid: bool,
    /// Shares the node's IPC namespace.
    pub host_ipc: bool,
    /// Lines for `/etc/hosts`.
    pub host_aliases: Vec<HostAlias>,
    /// What goes into `/etc/resolv.conf`.
    pub dns: DnsPolicy,
    /// What happens after a container's exit.
    pub restart_policy: RestartPolicy,
    /// Time between the polite signal and the kill, in seconds.
    pub termination_grace_s: u32,
    /// Most seconds that the pod may run.
    pub active_deadline_s: Option<u32>,
    /// Adds the environment variables of Services.
    pub service_links: bool,
    /// Security settings of the whole pod.
    pub security: PodSecurity,
    /// Names of Secrets with registry passwords.
    pub pull_secrets: Vec<String>,
    /// Run one after another before `containers`.
    pub init_containers: Vec<Container>,
    /// Run beside each other.
    pub containers: Vec<Container>,
    /// Volumes by name.
    pub volumes: Vec<Volume>,
}

/// A pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Grace period, in seconds; 0 means kill at once.
    pub grace_s: u32,
}

/// One line for `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// Address as written.
    pub ip: String,
    /// Names of that address.
    pub hostnames: Vec<String>,
}

/// What goes into a pod's `/etc/resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPolicy {
    /// Where the first part comes from.
    pub source: DnsSource,
    /// `dnsConfig.nameservers`.
    pub nameservers: Vec<String>,
    /// `dnsConfig.searches`.
    pub searches: Vec<String>,
    /// `dnsConfig.options`, as `name` or `name:value`.
    pub options: Vec<String>,
}

/// Where a pod's resolver configuration starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsSource {
    /// Cluster DNS.
    Cluster,
    /// The node's own resolv.conf.
    Node,
    /// Nothing but the pod's `dnsConfig`.
    None,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// `spec.securityContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// User id.
    pub run_as_user: Option<u32>,
    /// Group id.
    pub run_as_group: Option<u32>,
    /// Refuses to run as user 0.
    pub run_as_non_root: bool,
    /// Group that owns the volumes.
    pub fs_group: Option<u32>,
    /// More groups.
    pub supplemental_groups: Vec<u32>,
    /// Namespaced sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// All containers see each other's processes.
    pub share_process_namespace: bool,
}

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
    /// Has a terminal.
    pub tty: bool,
    /// Keeps its standard input open.
    pub stdin: bool,
    /// File whose content becomes the termination message.
    pub termination_message_path: String,
    /// Takes the end of the log as termination message when the file is empty after a failure.
    pub termination_message_from_log: bool,
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
    Resource {
        /// Container; empty means this one.
        container: String,
        /// `limits.cpu`, `requests.memory`, ...
        resource: String,
        /// Divisor in thousandths (CPU) or bytes (the rest), at least 1.
        divisor: u64,
    },
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A container's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// Name, possibly empty.
    pub name: String,
    /// Port in the pod.
    pub port: u16,
    /// Port on the node, 0 for none.
    pub host_port: u16,
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

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name, unique in the pod.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// Empty at the pod's start, gone with it.
    EmptyDir {
        /// In memory, not on the card.
        memory: bool,
        /// Most bytes.
        size_limit: Option<u64>,
    },
    /// Files from a ConfigMap or Secret.
    Data {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
        /// Absence is no error.
        optional: bool,
        /// Mode of the files.
        mode: u32,
        /// Which keys at which paths; empty means all under their own names.
        items: Vec<DataItem>,
    },
    /// A path of the node.
    HostPath {
        /// The path.
        path: String,
        /// `type` as written, possibly empty.
        kind: String,
    },
}

/// One key of a ConfigMap or Secret as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataItem {
    /// Key.
    pub key: String,
    /// Path in the volume.
    pub path: String,
    /// Mode, if it differs from the volume's.
    pub mode: Option<u32>,
}

/// ConfigMap or Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DataKind {
    /// ConfigMap.
    ConfigMap,
    /// Secret: kept in memory only on the node.
    Secret,
}

/// Identity of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DataKey {
    /// Which of the two.
    pub kind: DataKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A ConfigMap or Secret that a pod here uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Identity.
    pub key: DataKey,
    /// Store revision of its last change.
    pub revision: u64,
    /// `type` of a Secret, else empty.
    pub secret_type: String,
    /// Content: `data`, and `binaryData` or the decoded `data` of a Secret.
    pub entries: BTreeMap<String, Vec<u8>>,
}

/// A Service with the endpoints that its node may send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Cluster address; none for a headless Service.
    pub cluster_ip: Option<Ipv4Addr>,
    /// Addresses outside that the Service answers on as well.
    pub external_ips: Vec<Ipv4Addr>,
    /// Session affinity by client address, with its time-out in seconds.
    pub affinity_s: Option<u32>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Name, possibly empty.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port at the cluster address.
    pub port: u16,
    /// Port on every node, 0 for none.
    pub node_port: u16,
    /// Ready endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address.
    pub ip: Ipv4Addr,
    /// Port.
    pub port: u16,
    /// Node on which it runs, so that it can be left out when that node is unreachable.
    pub node: Option<NodeId>,
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address on the LAN.
    pub address: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_range: Ipv4Range,
}

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
    /// Answer to [`ToAgent::Ping`].
    Pong(u64),
    /// What [`NodeFacts::boot`] said has changed: a trial was kept.
    Boot(BootReport),
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
    pub ready: bool,
    /// Init containers, in the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// Containers, in the order of the spec.
    pub containers: Vec<ContainerStatus>,
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

/// First frame of a stream that the master opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamRequest {
    /// A container's log.
    Logs(LogsRequest),
    /// A new system for the board's other slot; [`UpgradeData`] follows, and [`UpgradeReply`]
    /// frames come back meanwhile.
    Upgrade(UpgradeRequest),
}

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
