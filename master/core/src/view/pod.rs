//! Pods: what scheduling, replica sets, endpoints and node lifecycle need of them.

use std::sync::Arc;

use serde::Deserialize;

use super::condition::{Condition, Status, find};
use super::labels::Labels;
use super::meta::Meta;
use super::node::{Effect, Taint};
use super::node_affinity::NodeAffinity;
use super::null_as_default;
use super::pod_affinity::{self, PodAffinity, RawPodAffinity};
use super::quantity::Resources;
use super::timestamp::Timestamp;
use super::topology_spread::{RawSpreadConstraint, SpreadConstraint};

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Phase {
    /// Not all containers were started.
    #[default]
    Pending,
    /// At least one container runs or is being restarted.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, at least one of them badly.
    Failed,
    /// The node cannot be asked.
    #[serde(other)]
    Unknown,
}

/// A pod's consent to a taint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key; empty with `Exists` tolerates every taint.
    #[serde(deserialize_with = "null_as_default")]
    pub key: Arc<str>,
    /// `Equal` (or empty) or `Exists`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: Arc<str>,
    /// The taint's value for `Equal`.
    #[serde(deserialize_with = "null_as_default")]
    pub value: Arc<str>,
    /// The effect, or every effect.
    #[serde(deserialize_with = "effect")]
    pub effect: Option<Effect>,
    /// How long a `NoExecute` taint is tolerated, in seconds; `None` is forever.
    pub toleration_seconds: Option<i64>,
}

/// Reads an effect; the empty string and null mean every effect.
fn effect<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Effect>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(match text.as_deref() {
        Some("NoSchedule") => Some(Effect::NoSchedule),
        Some("PreferNoSchedule") => Some(Effect::PreferNoSchedule),
        Some("NoExecute") => Some(Effect::NoExecute),
        Some("") | None => None,
        Some(other) => {
            return Err(serde::de::Error::custom(format!("`{other}` is not a taint effect")));
        }
    })
}

impl Toleration {
    /// Whether it consents to `taint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match &*self.operator {
            "Exists" => true,
            "" | "Equal" => !self.key.is_empty() && self.value == taint.value,
            _ => false,
        };
        effect && key && value
    }
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Its name, for services; may be empty.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Arc<str>,
    /// The number.
    pub container_port: i32,
    /// The port taken on the node; 0 is none.
    #[serde(deserialize_with = "null_as_default")]
    pub host_port: i32,
    /// The node's address it is taken on; empty is all.
    #[serde(rename = "hostIP", deserialize_with = "null_as_default")]
    pub host_ip: Arc<str>,
    /// `TCP` (or empty), `UDP`, `SCTP`.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Arc<str>,
}

impl ContainerPort {
    /// The protocol with its default.
    #[must_use]
    pub fn protocol(&self) -> &str {
        if self.protocol.is_empty() { "TCP" } else { &self.protocol }
    }
}

/// The part of a pod that logic reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// The metadata.
    pub meta: Meta,
    /// The node it is bound to.
    pub node_name: Option<Arc<str>>,
    /// Labels that its node must have.
    pub node_selector: Labels,
    /// Further wishes about its node.
    pub node_affinity: Option<Box<NodeAffinity>>,
    /// What it wants of the pods around it.
    pub pod_affinity: Option<Box<PodAffinity>>,
    /// How evenly its like is to be spread.
    pub spread: Vec<SpreadConstraint>,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
    /// What it asks for, over all containers and with its overhead.
    pub requests: Resources,
    /// The ports of its containers, in order.
    pub ports: Vec<ContainerPort>,
    /// The images of its containers.
    pub images: Vec<Arc<str>>,
    /// Who schedules it; empty is the default scheduler.
    pub scheduler_name: Arc<str>,
    /// Whether gates keep it from being scheduled yet.
    pub gated: bool,
    /// Larger is scheduled first.
    pub priority: i32,
    /// Whether less important pods may be removed to make room for it.
    pub may_preempt: bool,
    /// The node on which room is being made for it.
    pub nominated_node: Option<Arc<str>>,
    /// The claims that its volumes need, those made for itself alone included.
    pub claims: Vec<Arc<str>>,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// Its grace in seconds.
    pub termination_grace_period_seconds: i64,
    /// Its host name, if it sets one.
    pub hostname: Arc<str>,
    /// Its headless service, if it names one.
    pub subdomain: Arc<str>,
    /// Its phase.
    pub phase: Phase,
    /// Its addresses, the primary one first.
    pub pod_ips: Vec<Arc<str>>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// The largest number of restarts of one container.
    pub restarts: i32,
    /// When its node took it on.
    pub start_time: Option<Timestamp>,
    /// The containers, init containers included, that ended.
    pub exits: Vec<Exit>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The container's name.
    pub container: Arc<str>,
    /// What it returned.
    pub code: i32,
    /// When.
    pub finished_at: Option<Timestamp>,
}

impl PodView {
    /// Whether its `Ready` condition is true.
    #[must_use]
    pub fn ready(&self) -> bool {
        find(&self.conditions, "Ready").is_some_and(|ready| ready.status == Status::True)
    }

    /// Whether all its containers ended for good.
    #[must_use]
    pub const fn terminated(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it counts towards replicas: neither ended nor being deleted.
    #[must_use]
    pub const fn active(&self) -> bool {
        !self.terminated() && !self.meta.deleting()
    }

    /// Whether it is being deleted and has not ended.
    #[must_use]
    pub const fn terminating(&self) -> bool {
        !self.terminated() && self.meta.deleting()
    }

    /// Since when it has been ready; `None` if it is not.
    #[must_use]
    pub fn ready_since(&self) -> Option<Timestamp> {
        let ready = find(&self.conditions, "Ready")?;
        (ready.status == Status::True).then_some(ready.last_transition_time.unwrap_or_default())
    }

    /// Whether it has been ready for `min_ready_seconds` at `now`.
    #[must_use]
    pub fn available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.ready_since().is_some_and(|since| {
            let ripe = since.0.saturating_add(min_ready_seconds.saturating_mul(1000));
            min_ready_seconds <= 0 || ripe <= now.0
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    metadata: Meta,
    spec: RawSpec,
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    #[serde(deserialize_with = "null_as_default")]
    node_name: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    node_selector: Labels,
    affinity: Option<RawAffinity>,
    #[serde(deserialize_with = "null_as_default")]
    tolerations: Vec<Toleration>,
    #[serde(deserialize_with = "null_as_default")]
    containers: Vec<RawContainer>,
    #[serde(deserialize_with = "null_as_default")]
    init_containers: Vec<RawContainer>,
    overhead: Option<Resources>,
    #[serde(deserialize_with = "null_as_default")]
    scheduler_name: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    scheduling_gates: Vec<serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_as_default")]
    topology_spread_constraints: Vec<RawSpreadConstraint>,
    #[serde(deserialize_with = "null_as_default")]
    preemption_policy: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    volumes: Vec<RawVolume>,
    #[serde(deserialize_with = "null_as_default")]
    priority: i32,
    #[serde(deserialize_with = "null_as_default")]
    host_network: bool,
    termination_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    hostname: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    subdomain: Arc<str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawAffinity {
    node_affinity: Option<Box<NodeAffinity>>,
    pod_affinity: Option<RawPodAffinity>,
    pod_anti_affinity: Option<RawPodAffinity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawVolume {
    name: Arc<str>,
    persistent_volume_claim: Option<RawClaim>,
    ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawClaim {
    claim_name: Arc<str>,
}

impl RawVolume {
    /// The claim that it needs; that of an ephemeral volume is named for pod and volume.
    fn claim(&self, pod: &Meta) -> Option<Arc<str>> {
        match (&self.persistent_volume_claim, &self.ephemeral) {
            (Some(claim), _) => Some(Arc::clone(&claim.claim_name)),
            (None, Some(_)) => Some(Arc::from(format!("{}-{}", pod.name, self.name))),
            (None, None) => None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawContainer {
    #[serde(deserialize_with = "null_as_default")]
    image: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    ports: Vec<ContainerPort>,
    #[serde(deserialize_with = "null_as_default")]
    resources: RawResources,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawResources {
    requests: Option<Resources>,
    limits: Option<Resources>,
}

impl RawContainer {
    fn requests(&self) -> Resources {
        // Admission copies limits into missing requests; objects stored without it are read alike.
        let RawResources { requests, limits } = &self.resources;
        requests.clone().or_else(|| limits.clone()).unwrap_or_default()
    }

    fn sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    #[serde(deserialize_with = "null_as_default")]
    phase: Phase,
    #[serde(deserialize_with = "null_as_default")]
    nominated_node_name: Arc<str>,
    #[serde(rename = "podIP", deserialize_with = "null_as_default")]
    pod_ip: Arc<str>,
    #[serde(rename = "podIPs", deserialize_with = "null_as_default")]
    pod_ips: Vec<RawIp>,
    #[serde(deserialize_with = "null_as_default")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "null_as_default")]
    container_statuses: Vec<RawContainerStatus>,
    #[serde(deserialize_with = "null_as_default")]
    init_container_statuses: Vec<RawContainerStatus>,
    start_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIp {
    ip: Arc<str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawContainerStatus {
    #[serde(deserialize_with = "null_as_default")]
    name: Arc<str>,
    #[serde(deserialize_with = "null_as_default")]
    state: RawState,
    #[serde(deserialize_with = "null_as_default")]
    restart_count: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawState {
    terminated: Option<RawTerminated>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawTerminated {
    #[serde(deserialize_with = "null_as_default")]
    exit_code: i32,
    finished_at: Option<Timestamp>,
}

impl RawContainerStatus {
    fn exit(&self) -> Option<Exit> {
        let RawTerminated { exit_code, finished_at } = self.state.terminated.as_ref()?;
        let (code, finished_at) = (*exit_code, *finished_at);
        Some(Exit { container: Arc::clone(&self.name), code, finished_at })
    }
}

/// Adds up requests as upstream does: sidecars run beside all that starts after them, other init
/// containers run alone, so only the largest of them counts.
fn total_requests(spec: &RawSpec) -> Resources {
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&container.requests());
    }
    let mut sidecars = Resources::default();
    let mut init_peak = Resources::default();
    for container in &spec.init_containers {
        let mut with_sidecars = sidecars.clone();
        with_sidecars.add(&container.requests());
        init_peak.raise_to(&with_sidecars);
        if container.sidecar() {
            sidecars = with_sidecars;
        }
    }
    total.add(&sidecars);
    total.raise_to(&init_peak);
    if let Some(overhead) = &spec.overhead {
        total.add(overhead);
    }
    total
}

impl<'de> Deserialize<'de> for PodView {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        let requests = total_requests(&spec);
        let sidecars = spec.init_containers.iter().filter(|container| container.sidecar());
        let containers = || spec.containers.iter().chain(sidecars.clone());
        let mut pod_ips: Vec<Arc<str>> = status.pod_ips.into_iter().map(|ip| ip.ip).collect();
        if pod_ips.is_empty() && !status.pod_ip.is_empty() {
            pod_ips.push(status.pod_ip);
        }
        let statuses = status.init_container_statuses.iter().chain(&status.container_statuses);
        let exits = statuses.filter_map(RawContainerStatus::exit).collect();
        let restarts = status.container_statuses.iter().map(|status| status.restart_count).max();
        let affinity = spec.affinity.unwrap_or_default();
        let (near, away) = (affinity.pod_affinity, affinity.pod_anti_affinity);
        let spread = spec.topology_spread_constraints.into_iter();
        Ok(Self {
            pod_affinity: pod_affinity::resolve(near, away, &metadata),
            spread: spread.map(|constraint| constraint.resolve(&metadata)).collect(),
            claims: spec.volumes.iter().filter_map(|volume| volume.claim(&metadata)).collect(),
            may_preempt: &*spec.preemption_policy != "Never",
            nominated_node: (!status.nominated_node_name.is_empty())
                .then_some(status.nominated_node_name),
            meta: metadata,
            node_name: (!spec.node_name.is_empty()).then(|| Arc::clone(&spec.node_name)),
            ports: containers().flat_map(|container| container.ports.iter().cloned()).collect(),
            images: containers().map(|container| Arc::clone(&container.image)).collect(),
            node_selector: spec.node_selector,
            node_affinity: affinity.node_affinity,
            tolerations: spec.tolerations,
            requests,
            scheduler_name: spec.scheduler_name,
            gated: !spec.scheduling_gates.is_empty(),
            priority: spec.priority,
            host_network: spec.host_network,
            termination_grace_period_seconds: spec.termination_grace_period_seconds.unwrap_or(30),
            hostname: spec.hostname,
            subdomain: spec.subdomain,
            phase: status.phase,
            pod_ips,
            conditions: status.conditions,
            restarts: restarts.unwrap_or_default(),
            start_time: status.start_time,
            exits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_init_container_and_all_sidecars_count() {
        let pod: PodView = serde_json::from_value(serde_json::json!({
            "spec": {
                "initContainers": [
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                    {"resources": {"requests": {"cpu": "1", "memory": "1Mi"}}},
                ],
                "containers": [{"resources": {"requests": {"cpu": "200m", "memory": "2Mi"}}}],
                "overhead": {"cpu": "50m"},
            },
        }))
        .unwrap();
        assert_eq!(pod.requests.cpu_milli, 1150);
        assert_eq!(pod.requests.memory, 2 << 20);
    }

    #[test]
    fn nulls_are_defaults() {
        let pod: PodView = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "labels": null, "creationTimestamp": null},
            "spec": {"containers": null, "nodeName": null, "tolerations": null},
            "status": {"phase": null, "conditions": null},
        }))
        .unwrap();
        assert_eq!((pod.node_name.clone(), pod.phase), (None, Phase::Pending));
    }

    #[test]
    fn an_empty_key_with_exists_tolerates_everything() {
        let taint = Taint {
            key: Arc::from("k"),
            value: Arc::from("v"),
            effect: Effect::NoExecute,
            time_added: None,
        };
        let everything = Toleration { operator: Arc::from("Exists"), ..Toleration::default() };
        assert!(everything.tolerates(&taint));
        let other =
            Toleration { key: Arc::from("k"), value: Arc::from("w"), ..Toleration::default() };
        assert!(!other.tolerates(&taint));
    }
}
