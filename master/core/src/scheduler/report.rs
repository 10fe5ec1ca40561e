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

/// Says why no node fits and where room is being made, unless the pod says so already.
pub(super) fn unschedulable(
    pod: &PodView,
    message: String,
    nominated: Option<Arc<str>>,
    now: Timestamp,
) -> Vec<Action> {
    let condition = condition(pod, "Unschedulable", &message, now);
    let same = pod.nominated_node == nominated;
    if condition.is_none() && same {
        return Vec::new();
    }
    let told = condition.is_some();
    let conditions: Vec<Condition> = condition.into_iter().collect();
    let mut actions = if same {
        let target = Target::of(&Resource::PODS, &pod.meta);
        vec![Action::SetConditions { target, conditions }]
    } else {
        vec![nominate(pod, nominated, conditions)]
    };
    if told {
        actions.push(event(pod, EventKind::Warning, "FailedScheduling", message));
    }
    actions
}

/// Says where room is being made.
pub(super) fn nominate(
    pod: &PodView,
    node: Option<Arc<str>>,
    conditions: Vec<Condition>,
) -> Action {
    Action::Nominate { target: Target::of(&Resource::PODS, &pod.meta), node, conditions }
}

/// Evicts a pod to make room for a more important one.
pub(super) fn preempt(victim: &PodView, preemptor: &PodView, node: &Arc<str>) -> [Action; 2] {
    let message = format!("{SCHEDULER_NAME}: preempting to accommodate a higher priority pod");
    let told = format!("Preempted by pod {} on node {node}", preemptor.meta.uid);
    [
        Action::Evict {
            target: Target::of(&Resource::PODS, &victim.meta),
            node: Arc::clone(node),
            reason: "PreemptionByScheduler",
            message,
        },
        event(victim, EventKind::Normal, "Preempted", told),
    ]
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
