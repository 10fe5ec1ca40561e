//! A pod as its node must run it. Its containers and volumes have files of their own.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::link::container::Container;
use crate::link::volume::Volume;

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
    /// All conditions hold that `spec.readinessGates` names.
    pub readiness_gates_met: bool,
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
    /// Came later, to look at the pod; run once.
    pub ephemeral_containers: Vec<Container>,
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
