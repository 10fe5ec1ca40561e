//! What is said about decisions: bindings, conditions and events, in upstream's words.

use std::sync::Arc;

use super::SCHEDULER_NAME;
use crate::action::{Action, EventKind, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::pod::PodView;
use crate::view::resource::Resource;
use crate::view::timestamp::Timestamp;

/// Binds a pod and tells of it.
pub(super) fn bind(snapshot: &Snapshot, pod: &PodView, node: &Arc<str>) -> [Action; 2] {
    let target = Target::of(&Resource::PODS, &pod.meta);
    let node_uid = snapshot.node(node).map(|node| Arc::clone(&node.meta.uid)).unwrap_or_default();
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    let message = format!("Successfully assigned {namespace}/{name} to {node}");
    [
        Action::Bind { target, node: Arc::clone(node), node_uid },
        event(pod, EventKind::Normal, "Scheduled", message),
    ]
}

/// Says that gates hold a pod, unless it says so already.
pub(super) fn gated(pod: &PodView, now: Timestamp) -> Option<Action> {
    let message = "Scheduling is blocked due to non-empty scheduling gates";
    let conditions = vec![condition(pod, "SchedulingGated", message, now)?];
    Some(Action::SetConditions { target: Target::of(&Resource::PODS, &pod.meta), conditions })
}

/// Says why no node fits, unless the pod says so already.
pub(super) fn unschedulable(pod: &PodView, message: String, now: Timestamp) -> Vec<Action> {
    let Some(condition) = condition(pod, "Unschedulable", &message, now) else {
        return Vec::new();
    };
    let target = Target::of(&Resource::PODS, &pod.meta);
    let told = event(pod, EventKind::Warning, "FailedScheduling", message);
    vec![Action::SetConditions { target, conditions: vec![condition] }, told]
}

/// The `PodScheduled` condition, unless the pod says that already.
fn condition(pod: &PodView, reason: &str, message: &str, now: Timestamp) -> Option<Condition> {
    let mut condition = Condition::new("PodScheduled", Status::False, reason, message, now);
    if let Some(present) = find(&pod.conditions, "PodScheduled") {
        if present.says_the_same(&condition) {
            return None;
        }
        if present.status == Status::False {
            condition.last_transition_time = present.last_transition_time;
        }
    }
    Some(condition)
}

fn event(pod: &PodView, kind: EventKind, reason: &'static str, message: String) -> Action {
    Action::Event {
        involved: Target::of(&Resource::PODS, &pod.meta),
        involved_kind: "Pod",
        kind,
        reason,
        message,
        component: SCHEDULER_NAME,
    }
}
