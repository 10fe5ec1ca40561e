//! Turns membership into node conditions, taints and evictions, and has pods of lost nodes removed.
//!
//! Surplus pods on a node that returns are the replica sets' business. Singletons wait for a fence
//! elsewhere: this file evicts only what the tolerations allow, and only while replacing is allowed.

use std::sync::Arc;

use super::{Outcome, pod_garbage_collector};
use crate::action::{Action, EventKind, Target};
use crate::membership::{Contacts, NodeContact};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::node::{
    Effect, NodeView, TAINT_FLAPPING, TAINT_NOT_READY, TAINT_QUARANTINED, TAINT_UNREACHABLE, Taint,
};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// Most pods evicted or removed in one run.
pub const EVICTIONS_MAX: usize = 500;

/// Most pods whose readiness is changed in one run, so that traffic and evictions need not wait.
pub const READINESS_MAX: usize = 500;

const COMPONENT: &str = "node-controller";
const EVICTION_COMPONENT: &str = "taint-eviction-controller";
const STATUS_UNKNOWN: &str = "NodeStatusUnknown";
const BACK_IN_CONTACT: &str = "KubeletReady";

/// The condition's text carries what the agent last said, since an agent whose link survived does
/// not know that it was given up and would not say it again.
const SILENT_WHILE_TRUE: &str = "No heartbeat from the agent; it last reported True.";
const SILENT_WHILE_FALSE: &str = "No heartbeat from the agent; it last reported False.";

/// Compares nodes with membership, and pods with their nodes' taints.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, contacts: &Contacts, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if !snapshot.synced {
        return outcome;
    }
    let mut budgets = Budgets::default();
    for node in snapshot.nodes().values() {
        report_contact(node, contacts.nodes.get(&node.meta.name).copied(), now, &mut outcome);
    }
    for name in snapshot.nodes_with_pods() {
        reconcile_pods(snapshot, contacts, name, now, &mut budgets, &mut outcome);
    }
    collect_nameless(snapshot, &mut budgets, &mut outcome);
    outcome
}

/// As [`reconcile`], for the node of this name, or for the pods without a node.
pub(super) fn reconcile_key(
    snapshot: &Snapshot,
    contacts: &Contacts,
    key: &ObjectKey,
    now: Timestamp,
) -> Outcome {
    let (mut outcome, mut budgets) = (Outcome::default(), Budgets::default());
    let name = &key.name;
    if name.is_empty() {
        collect_nameless(snapshot, &mut budgets, &mut outcome);
        return outcome;
    }
    if let Some(node) = snapshot.node(name) {
        report_contact(node, contacts.nodes.get(name).copied(), now, &mut outcome);
    }
    reconcile_pods(snapshot, contacts, name, now, &mut budgets, &mut outcome);
    outcome
}

/// What one run may still do.
struct Budgets {
    evictions: usize,
    readiness: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { evictions: EVICTIONS_MAX, readiness: READINESS_MAX }
    }
}

/// Compares the pods of one node with its taints.
fn reconcile_pods(
    snapshot: &Snapshot,
    contacts: &Contacts,
    name: &str,
    now: Timestamp,
    budgets: &mut Budgets,
    outcome: &mut Outcome,
) {
    let Some(node) = snapshot.node(name) else {
        pod_garbage_collector::remove_orphans(snapshot, name, &mut budgets.evictions, outcome);
        return;
    };
    let reachable = contacts.nodes.get(name).and_then(|contact| contact.reachable);
    evict(snapshot, node, contacts.may_replace, now, &mut budgets.evictions, outcome);
    pod_garbage_collector::remove_out_of_service(snapshot, node, &mut budgets.evictions, outcome);
    follow_readiness(snapshot, node, reachable, now, &mut budgets.readiness, outcome);
}

/// Removes what no node will ever end.
fn collect_nameless(snapshot: &Snapshot, budgets: &mut Budgets, outcome: &mut Outcome) {
    let budget = &mut budgets.evictions;
    pod_garbage_collector::remove_unbound(snapshot, budget, outcome);
    let most = pod_garbage_collector::TERMINATED_MAX;
    pod_garbage_collector::remove_surplus(snapshot, most, budget, outcome);
}

/// Writes condition and taints of one node.
fn report_contact(
    node: &NodeView,
    contact: Option<NodeContact>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let reachable = contact.and_then(|contact| contact.reachable);
    let ready = match (reachable, node.ready()) {
        (Some(false), present) if present.is_none_or(|it| it.status != Status::Unknown) => {
            let was = present.map_or(Status::False, |present| present.status);
            let message = if was == Status::True { SILENT_WHILE_TRUE } else { SILENT_WHILE_FALSE };
            Some(Condition::new("Ready", Status::Unknown, STATUS_UNKNOWN, message, now))
        }
        (Some(true), Some(present)) if present.reason.as_deref() == Some(STATUS_UNKNOWN) => {
            let was_ready = present.message.as_deref() == Some(SILENT_WHILE_TRUE);
            let (status, reason) = if was_ready {
                (Status::True, BACK_IN_CONTACT)
            } else {
                (Status::False, "KubeletNotReady")
            };
            let message = "The agent is in contact again.";
            Some(Condition::new("Ready", status, reason, message, now))
        }
        _ => None,
    };
    let status = ready.as_ref().or_else(|| node.ready()).map(|ready| ready.status);
    let taints = wanted_taints(node, reachable, status, contact, now);
    // Both change the same object, so the taints, which keep pods away, go first, and the
    // condition waits for the next run if the first made the version old.
    let target = || Target::of(&Resource::NODES, &node.meta);
    if taints != node.taints {
        outcome.actions.push(Action::SetNodeTaints { target: target(), taints });
    }
    if let Some(ready) = ready {
        let (reason, kind) = match ready.status {
            Status::True => ("NodeReady", EventKind::Normal),
            Status::False | Status::Unknown => ("NodeNotReady", EventKind::Warning),
        };
        outcome.actions.push(Action::SetConditions { target: target(), conditions: vec![ready] });
        outcome.actions.push(Action::Event {
            involved: target(),
            involved_kind: "Node",
            kind,
            reason,
            message: format!("Node {} status is now: {reason}", node.meta.name),
            component: COMPONENT,
        });
    }
}

/// The node's taints with ours put right; those of others stay where they are.
fn wanted_taints(
    node: &NodeView,
    reachable: Option<bool>,
    ready: Option<Status>,
    contact: Option<NodeContact>,
    now: Timestamp,
) -> Vec<Taint> {
    let mut wanted: Vec<(&str, Effect)> = Vec::new();
    match (reachable, ready) {
        (Some(false), _) | (None, Some(Status::Unknown)) => {
            wanted.extend([
                (TAINT_UNREACHABLE, Effect::NoSchedule),
                (TAINT_UNREACHABLE, Effect::NoExecute),
            ]);
        }
        (_, Some(Status::False)) => {
            wanted.extend([
                (TAINT_NOT_READY, Effect::NoSchedule),
                (TAINT_NOT_READY, Effect::NoExecute),
            ]);
        }
        // A node that has not reported yet gets no pods, and loses none either.
        (_, None | Some(Status::Unknown)) => wanted.push((TAINT_NOT_READY, Effect::NoSchedule)),
        (_, Some(Status::True)) => {}
    }
    if contact.is_some_and(|contact| contact.flapping) {
        wanted.push((TAINT_FLAPPING, Effect::NoSchedule));
    }
    if contact.is_some_and(|contact| contact.quarantined) {
        wanted.push((TAINT_QUARANTINED, Effect::NoSchedule));
    }
    let ours = [TAINT_UNREACHABLE, TAINT_NOT_READY, TAINT_FLAPPING, TAINT_QUARANTINED];
    let keep = |taint: &&Taint| {
        !ours.contains(&&*taint.key) || wanted.contains(&(&*taint.key, taint.effect))
    };
    let mut taints: Vec<Taint> = node.taints.iter().filter(keep).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| &*taint.key == key && taint.effect == effect) {
            let (key, value) = (Arc::from(key), Arc::default());
            taints.push(Taint { key, value, effect, time_added: Some(now) });
        }
    }
    taints
}

/// Deletes pods that do not tolerate their node's `NoExecute` taints, or no longer.
fn evict(
    snapshot: &Snapshot,
    node: &NodeView,
    may_replace: bool,
    now: Timestamp,
    budget: &mut usize,
    outcome: &mut Outcome,
) {
    let taints: Vec<&Taint> =
        node.taints.iter().filter(|taint| taint.effect == Effect::NoExecute).collect();
    if taints.is_empty() {
        return;
    }
    let lost = taints.iter().any(|taint| &*taint.key == TAINT_UNREACHABLE);
    for pod in snapshot.pods_on(&node.meta.name).filter(|pod| pod.active()) {
        let Some(until) = tolerated_until(pod, &taints, now) else { continue };
        if until > now {
            outcome.wake_at(until);
        } else if *budget > 0 && (may_replace || !lost) {
            // Taints that people set speak for themselves; the one that membership set is only as
            // good as our own network.
            *budget -= 1;
            outcome.actions.push(Action::Evict {
                target: Target::of(&Resource::PODS, &pod.meta),
                node: Arc::clone(&node.meta.name),
                reason: "DeletionByTaintManager",
                message: "Taint manager: deleting due to NoExecute taint".to_owned(),
            });
            outcome.actions.push(Action::Event {
                involved: Target::of(&Resource::PODS, &pod.meta),
                involved_kind: "Pod",
                kind: EventKind::Normal,
                reason: "TaintManagerEviction",
                message: format!(
                    "Marking for deletion Pod {}/{}",
                    pod.meta.namespace, pod.meta.name
                ),
                component: EVICTION_COMPONENT,
            });
        }
    }
}

/// Makes pods of a node that is not ready unready, and ready again once the node is back.
///
/// Follows the stored condition of the node, so it comes after the taints and never delays an
/// eviction. An agent that kept its link through the silence has no reason to report a pod again,
/// so what was taken away here is also given back here.
fn follow_readiness(
    snapshot: &Snapshot,
    node: &NodeView,
    reachable: Option<bool>,
    now: Timestamp,
    budget: &mut usize,
    outcome: &mut Outcome,
) {
    let Some(node_ready) = node.ready().map(|ready| ready.status == Status::True) else { return };
    if node_ready && reachable != Some(true) {
        return;
    }
    for pod in snapshot.pods_on(&node.meta.name).filter(|pod| !pod.terminated()) {
        if *budget == 0 {
            return;
        }
        let Some(present) = find(&pod.conditions, "Ready") else { continue };
        let wanted = match (node_ready, present.status) {
            (false, Status::True) => Status::False,
            (true, Status::False) if taken_away(pod, present) => Status::True,
            _ => continue,
        };
        *budget -= 1;
        let target = || Target::of(&Resource::PODS, &pod.meta);
        // Upstream changes the status alone too.
        let ready =
            Condition { status: wanted, last_transition_time: Some(now), ..present.clone() };
        outcome.actions.push(Action::SetConditions { target: target(), conditions: vec![ready] });
        if wanted == Status::False {
            outcome.actions.push(Action::Event {
                involved: target(),
                involved_kind: "Pod",
                kind: EventKind::Warning,
                reason: "NodeNotReady",
                message: "Node is not ready".to_owned(),
                component: COMPONENT,
            });
        }
    }
}

/// Whether this file made the pod unready: an agent's own word always comes with a reason, and
/// changes `ContainersReady` as well.
fn taken_away(pod: &PodView, ready: &Condition) -> bool {
    let containers = find(&pod.conditions, "ContainersReady");
    ready.reason.is_none() && containers.is_some_and(|it| it.status == Status::True)
}

/// Until when a pod tolerates all the taints; `None` is forever.
fn tolerated_until(pod: &PodView, taints: &[&Taint], now: Timestamp) -> Option<Timestamp> {
    let of_taint = |taint: &&Taint| {
        let consents = pod.tolerations.iter().filter(|toleration| toleration.tolerates(taint));
        let mut seconds: Option<i64> = None;
        let mut tolerated = false;
        for consent in consents {
            tolerated = true;
            seconds = match (seconds, consent.toleration_seconds) {
                (Some(least), Some(other)) => Some(least.min(other)),
                (least, other) => least.or(other),
            };
        }
        let added = taint.time_added.unwrap_or(now);
        match (tolerated, seconds) {
            (false, _) => Some(now),
            (true, None) => None,
            (true, Some(seconds)) => {
                Some(Timestamp(added.0.saturating_add(seconds.max(0).saturating_mul(1000))))
            }
        }
    };
    taints.iter().filter_map(of_taint).min()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::model::{Model, NOW};
    use super::*;

    const NODE: &str = "/core/nodes/_/pi-1";
    const POD: &str = "/core/pods/d/web";

    fn contacts(reachable: Option<bool>, may_replace: bool) -> Contacts {
        let contact = NodeContact { reachable, ..NodeContact::default() };
        Contacts { nodes: [(Arc::from("pi-1"), contact)].into(), may_replace, changes_in: None }
    }

    fn ready(status: &str) -> Value {
        json!({"metadata": {}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": status}]}})
    }

    fn pod(seconds: Option<i64>) -> Value {
        let toleration = json!({
            "key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds,
        });
        json!({"spec": {"nodeName": "pi-1", "tolerations": [toleration]}, "status": {"phase": "Running"}})
    }

    fn settle(model: &mut Model, contacts: &Contacts) {
        model.settle(|snapshot| reconcile(snapshot, contacts, NOW).actions);
    }

    fn taints(model: &Model) -> Vec<(String, Effect)> {
        let node = model.snapshot().node("pi-1").unwrap();
        node.taints.iter().map(|taint| (taint.key.to_string(), taint.effect)).collect()
    }

    fn node_status(model: &Model) -> Status {
        model.snapshot().node("pi-1").unwrap().ready().unwrap().status
    }

    #[test]
    fn an_unreachable_node_is_unknown_and_tainted_and_recovers() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        settle(&mut model, &contacts(Some(false), true));
        assert_eq!(node_status(&model), Status::Unknown);
        let both = [Effect::NoSchedule, Effect::NoExecute];
        assert_eq!(taints(&model), both.map(|effect| (TAINT_UNREACHABLE.to_owned(), effect)));
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!((node_status(&model), taints(&model)), (Status::True, vec![]));
    }

    #[test]
    fn a_node_that_was_not_ready_does_not_return_as_ready() {
        let mut model = Model::new();
        model.put(NODE, ready("False"));
        settle(&mut model, &contacts(Some(false), true));
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(node_status(&model), Status::False);
    }

    #[test]
    fn taints_of_others_stay() {
        let mut model = Model::new();
        let mut node = ready("True");
        node["spec"]["taints"] = json!([{"key": "mine", "effect": "NoSchedule"}]);
        model.put(NODE, node);
        settle(&mut model, &contacts(Some(false), true));
        assert_eq!(taints(&model).len(), 3);
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(taints(&model), [("mine".to_owned(), Effect::NoSchedule)]);
    }

    #[test]
    fn pods_without_patience_are_evicted_at_once() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        model.put(POD, pod(Some(0)));
        settle(&mut model, &contacts(Some(false), true));
        assert!(model.snapshot().pods().values().all(|pod| pod.meta.deleting()));
        assert!(
            model.events.contains(&"TaintManagerEviction: Marking for deletion Pod d/web".into())
        );
    }

    fn pod_status(model: &Model) -> (Status, i64) {
        let pod = model.snapshot().pods().values().next().unwrap();
        let ready = find(&pod.conditions, "Ready").unwrap();
        (ready.status, ready.last_transition_time.unwrap().0)
    }

    fn with_conditions(ready: &Value) -> Value {
        let mut pod = pod(None);
        let containers = json!({"type": "ContainersReady", "status": "True"});
        pod["status"]["conditions"] = json!([ready, containers]);
        pod
    }

    #[test]
    fn pods_of_a_lost_node_are_not_ready_until_it_returns() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        let before = Timestamp(NOW.0 - 60_000);
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": before});
        model.put(POD, with_conditions(&condition));
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(pod_status(&model), (Status::True, before.0));
        settle(&mut model, &contacts(Some(false), true));
        assert_eq!(pod_status(&model), (Status::False, NOW.0));
        let told = |event: &&String| event.as_str() == "NodeNotReady: Node is not ready";
        assert_eq!(model.events.iter().filter(told).count(), 1);
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(pod_status(&model), (Status::True, NOW.0));
    }

    #[test]
    fn a_pod_that_its_agent_calls_unready_stays_so_when_the_node_returns() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        let condition = json!({"type": "Ready", "status": "False",
            "reason": "ContainersNotReady", "lastTransitionTime": NOW});
        model.put(POD, with_conditions(&condition));
        settle(&mut model, &contacts(Some(false), true));
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(pod_status(&model).0, Status::False);
    }

    #[test]
    fn readiness_is_not_given_back_before_the_node_is_known_to_be_there() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": NOW});
        model.put(POD, with_conditions(&condition));
        settle(&mut model, &contacts(None, true));
        assert_eq!(pod_status(&model).0, Status::False);
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(pod_status(&model).0, Status::True);
    }

    #[test]
    fn nothing_is_evicted_while_our_own_network_is_in_doubt() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        model.put(POD, pod(Some(0)));
        settle(&mut model, &contacts(Some(false), false));
        assert!(model.snapshot().pods().values().all(|pod| pod.active()));
    }

    #[test]
    fn pods_with_patience_wait_for_its_end() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        model.put(POD, pod(Some(300)));
        settle(&mut model, &contacts(Some(false), true));
        let waiting = reconcile(model.snapshot(), &contacts(Some(false), true), NOW);
        let end = Timestamp(NOW.0 + 300_000);
        assert_eq!((waiting.actions, waiting.next_deadline), (vec![], Some(end)));
        let due = reconcile(model.snapshot(), &contacts(Some(false), true), end);
        assert!(matches!(due.actions[..], [Action::Evict { .. }, Action::Event { .. }]));
        model.put(POD, pod(None));
        let patient = reconcile(model.snapshot(), &contacts(Some(false), true), end);
        assert_eq!(patient, Outcome::default());
    }

    #[test]
    fn pods_of_a_deleted_node_and_terminating_ones_without_a_node_are_removed() {
        let mut model = Model::new();
        model.put(POD, pod(None));
        model.put("/core/pods/d/pending", json!({"metadata": {"deletionTimestamp": NOW}}));
        settle(&mut model, &Contacts::default());
        assert!(model.snapshot().pods().is_empty());
    }

    #[test]
    fn a_flapping_node_gets_no_new_pods() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        let mut flapping = contacts(Some(true), true);
        flapping.nodes.values_mut().for_each(|contact| contact.flapping = true);
        settle(&mut model, &flapping);
        assert_eq!(taints(&model), [(TAINT_FLAPPING.to_owned(), Effect::NoSchedule)]);
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(taints(&model), []);
    }

    #[test]
    fn a_quarantined_node_gets_no_pods_and_loses_those_that_others_can_run() {
        let mut model = Model::new();
        model.put(NODE, ready("True"));
        model.put(POD, pod(Some(0)));
        let mut quarantined = contacts(Some(false), true);
        quarantined.nodes.values_mut().for_each(|contact| contact.quarantined = true);
        settle(&mut model, &quarantined);
        let quarantine = (TAINT_QUARANTINED.to_owned(), Effect::NoSchedule);
        assert!(taints(&model).contains(&quarantine), "{:?}", taints(&model));
        assert!(model.snapshot().pods().values().all(|pod| pod.meta.deleting()));
        settle(&mut model, &contacts(Some(true), true));
        assert_eq!(taints(&model), []);
    }
}
