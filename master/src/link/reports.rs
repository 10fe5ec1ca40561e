//! Stores what a node reports, and only of what is its own.
//!
//! What it says is cut to what people read ([`super::bounds`]), and how much it may say at all is the
//! session's business. A pod is a node's own if it is bound to it and has the uid that the node names: an agent that
//! fell behind speaks of a pod that is no more, and a taken-over one must not speak of others'.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use bramble_api::Status;
use bramble_shared::ids::NodeId;
use bramble_shared::link::{self, BootReport, Ipv4Range, NodeConditions, PodStatus, ToMaster};
use bramble_store::Class;
use serde_json::Value;

use super::budget::{Budgets, Cost};
use super::field::Field;
use super::{bounds, node_address, node_status, pod_status};
use crate::clock;
use crate::control::events::{EventRecorder, Involved, Occurrence};
use crate::heartbeat::Heartbeats;
use crate::objects::{Objects, Part, WriteOptions};

/// Name of the reporter in events, as upstream's agents call themselves.
const COMPONENT: &str = "kubelet";

/// What a session's reports need.
#[derive(Debug)]
pub(super) struct Reports<'a> {
    /// Where they go.
    pub(super) objects: &'a Objects,
    /// Where events go.
    pub(super) events: &'a EventRecorder,
    /// Name of the node.
    pub(super) node: &'a str,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Addresses of its pods.
    pub(super) pod_range: Ipv4Range,
    /// Who says whether it may be believed.
    pub(super) heartbeats: &'a Heartbeats,
    /// Its number.
    pub(super) id: NodeId,
}

impl Reports<'_> {
    /// Stores one message and says what that has cost. What the node may not say is logged and
    /// dropped.
    pub(super) async fn store(&self, message: &ToMaster, budgets: &Mutex<Budgets>) -> Cost {
        // Two boards speak with this certificate: nobody knows whose words these are.
        if self.heartbeats.quarantined(self.id) {
            return Cost::default();
        }
        let mut cost = Cost::default();
        match message {
            ToMaster::Pod(status) => cost.bytes = self.store_pod(status).await,
            ToMaster::PodRemoved { namespace, name, uid } => {
                self.remove_pod(namespace, name, uid).await;
            }
            ToMaster::Node(conditions) => {
                cost.bytes = self.store_conditions(&bounds::conditions(conditions)).await;
            }
            ToMaster::Event(event) => {
                let taken = {
                    let mut budgets = budgets.lock().unwrap_or_else(PoisonError::into_inner);
                    budgets.take_event(self.node, clock::monotonic())
                };
                if taken {
                    self.store_event(event).await;
                } else {
                    tracing::debug!(node = %self.node, "event dropped: the node says too many");
                }
            }
            // The session answers tokens.
            ToMaster::Pong(_) | ToMaster::Token(_) => {}
            ToMaster::Boot(boot) => {
                cost.durable = 1;
                self.store_boot(&bounds::boot(boot)).await;
            }
        }
        cost
    }

    /// Reports that a pod cannot run on any node of this version.
    pub(super) async fn refuse_pod(
        &self,
        (namespace, name): &(String, String),
        uid: &str,
        why: &str,
    ) {
        let involved = Involved {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: namespace.clone(),
            name: name.clone(),
            uid: uid.to_owned(),
            field_path: String::new(),
        };
        let occurrence = Occurrence {
            involved,
            warning: true,
            reason: "FailedCreatePodSandBox".to_owned(),
            message: why.to_owned(),
            component: COMPONENT.to_owned(),
            host: self.node.to_owned(),
        };
        self.events.record(occurrence).await;
    }

    /// Returns how many bytes were stored.
    async fn store_pod(&self, report: &PodStatus) -> u64 {
        let (node, host_ip) = (self.node.to_owned(), self.address.to_string());
        let (range, address) = (self.pod_range, self.address);
        let written = Written::default();
        let change = |object: &mut Value| {
            check_own(object, &node, &report.uid)?;
            let mut owned = bounds::report(report, object);
            let host = Field(object).get("spec").get("hostNetwork").flag().unwrap_or(false);
            // A pod without an address is in no Service; one with another's would be.
            let may = |ip: &Ipv4Addr| node_address::may_be_of_pod(*ip, host, range, address);
            owned.pod_ip = owned.pod_ip.filter(may);
            let revives = pod_status::has_ended(object)
                && pod_status::phase(owned.phase)
                    != Field(object).get("status").get("phase").text();
            if revives {
                return Err(not_own());
            }
            written.before(object);
            pod_status::apply(object, &owned, &host_ip, clock::time_of_day_ms());
            Ok(())
        };
        let pods = Objects::resource("", "pods");
        let options = reported();
        let (namespace, name) = (&report.namespace, &report.name);
        let stored =
            self.objects.modify(pods, namespace, name, Part::Status, &options, &change).await;
        let foreign = report.pod_ip.is_some()
            && stored.as_ref().is_ok_and(|pod| !Field(pod).get("status").get("podIP").is_set());
        if foreign {
            tracing::warn!(%node, pod = %name, ip = ?report.pod_ip, "address of a pod not believed");
        }
        let bytes = stored.as_ref().map_or(0, |object| written.bytes(object));
        self.log(stored.map(|_| ()), "pod status", name);
        bytes
    }

    async fn remove_pod(&self, namespace: &str, name: &str, uid: &str) {
        let pods = Objects::resource("", "pods");
        let removed = match self.objects.get(pods, namespace, name).await {
            Ok(object) => match check_own(&object, self.node, uid) {
                Ok(()) => self.objects.pod_removed(namespace, name, uid).await,
                Err(status) => Err(status),
            },
            Err(status) => Err(status),
        };
        self.log(removed, "end of pod", name);
    }

    /// Stores which system a card's board runs.
    async fn store_boot(&self, boot: &BootReport) {
        let owned = boot.clone();
        let change = move |object: &mut Value| {
            node_status::apply_boot(object, Some(&owned));
            Ok(())
        };
        let (nodes, node) = (Objects::resource("", "nodes"), self.node);
        let options = WriteOptions::default();
        let stored = self.objects.modify(nodes, "", node, Part::Main, &options, &change).await;
        if let Err(status) = stored {
            tracing::warn!(%node, %status, "boot report not stored");
        }
    }

    /// Stores a node's view of its health, and tells when it became ready or stopped to be.
    async fn store_conditions(&self, conditions: &NodeConditions) -> u64 {
        let written = Written::default();
        let change = |object: &mut Value| {
            written.before(object);
            node_status::apply_conditions(object, conditions, clock::time_of_day_ms());
            Ok(())
        };
        let (nodes, node) = (Objects::resource("", "nodes"), self.node);
        let was_ready = match self.objects.get(nodes, "", node).await {
            Ok(before) => node_status::ready(&before),
            Err(_) => false,
        };
        let stored = self.objects.modify(nodes, "", node, Part::Status, &reported(), &change).await;
        let bytes = stored.as_ref().map_or(0, |object| written.bytes(object));
        match stored {
            Ok(stored) if node_status::ready(&stored) != was_ready => {
                self.tell_readiness(&stored, !was_ready).await;
            }
            Ok(_) => {}
            Err(status) => tracing::warn!(%node, %status, "node conditions not stored"),
        }
        bytes
    }

    async fn tell_readiness(&self, object: &Value, ready: bool) {
        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
        let involved = Involved {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: self.node.to_owned(),
            uid: Field(object).get("metadata").get("uid").text().to_owned(),
            field_path: String::new(),
        };
        let occurrence = Occurrence {
            involved,
            warning: !ready,
            reason: reason.to_owned(),
            message: format!("Node {} status is now: {reason}", self.node),
            component: COMPONENT.to_owned(),
            host: self.node.to_owned(),
        };
        self.events.record(occurrence).await;
    }

    async fn store_event(&self, event: &link::Event) {
        let pods = Objects::resource("", "pods");
        let own = match self.objects.get(pods, &event.namespace, &event.pod).await {
            Ok(object) => check_own(&object, self.node, &event.uid),
            Err(status) => Err(status),
        };
        if own.is_err() {
            self.log(own, "event", &event.pod);
            return;
        }
        let [reason, message, field_path] =
            bounds::event_words(&event.reason, &event.message, &event.field_path);
        let involved = Involved {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: event.namespace.clone(),
            name: event.pod.clone(),
            uid: event.uid.clone(),
            field_path,
        };
        let occurrence = Occurrence {
            involved,
            warning: event.warning,
            reason,
            message,
            component: COMPONENT.to_owned(),
            host: self.node.to_owned(),
        };
        self.events.record(occurrence).await;
    }

    fn log(&self, stored: Result<(), Status>, what: &str, name: &str) {
        let Err(status) = stored else { return };
        let node = self.node;
        if matches!(status.code, 404 | 409) {
            // The pod is gone or was made anew: the agent hears of it by desired state.
            tracing::debug!(%node, what, name, %status, "report dropped");
        } else {
            tracing::warn!(%node, what, name, %status, "report not stored");
        }
    }
}

/// How much a change of an object has written: nothing if it changed nothing.
#[derive(Debug, Default)]
struct Written {
    version_before: Mutex<String>,
}

impl Written {
    /// Notes an object before its change.
    fn before(&self, object: &Value) {
        *self.version_before.lock().unwrap_or_else(PoisonError::into_inner) = version(object);
    }

    /// Bytes that were stored, given the object after its change.
    fn bytes(&self, object: &Value) -> u64 {
        let before = self.version_before.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == version(object) {
            return 0;
        }
        u64::try_from(object.to_string().len()).unwrap_or(u64::MAX)
    }
}

fn version(object: &Value) -> String {
    Field(object).get("metadata").get("resourceVersion").string()
}

fn reported() -> WriteOptions {
    WriteOptions { class: Some(Class::Reported), ..WriteOptions::default() }
}

fn not_own() -> Status {
    let pods = Objects::resource("", "pods");
    Status::conflict(pods, "", "the report does not fit the pod")
}

fn check_own(object: &Value, node: &str, uid: &str) -> Result<(), Status> {
    let object = Field(object);
    let own = object.get("spec").get("nodeName").text() == node
        && object.get("metadata").get("uid").text() == uid;
    if own { Ok(()) } else { Err(not_own()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_nothing_costs_nothing() {
        let object = |version: &str| json!({"metadata": {"resourceVersion": version}});
        let written = Written::default();
        written.before(&object("7"));
        assert_eq!(written.bytes(&object("7")), 0);
        assert_eq!(written.bytes(&object("8")), 36);
    }

    #[test]
    fn a_node_speaks_only_of_its_own_pods() {
        let pod = json!({"metadata": {"uid": "u"}, "spec": {"nodeName": "pi-1"}});
        check_own(&pod, "pi-1", "u").unwrap();
        assert_eq!(check_own(&pod, "pi-2", "u").unwrap_err().code, 409);
        assert_eq!(check_own(&pod, "pi-1", "other").unwrap_err().code, 409);
    }
}
