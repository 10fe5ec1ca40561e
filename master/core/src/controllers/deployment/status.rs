//! A deployment's status and its conditions.

use std::sync::Arc;

use serde_json::json;

use super::super::replica_set::REPLICA_FAILURE;
use super::{Outcome, Owned};
use crate::action::{Action, Target};
use crate::view::condition::{Condition, Status, find};
use crate::view::deployment::{DeploymentStatus, DeploymentView};
use crate::view::resource::Resource;
use crate::view::timestamp::Timestamp;

const PROGRESSING: &str = "Progressing";

/// What this run has done besides scaling.
#[derive(Debug)]
pub(super) struct Happened {
    /// The new set's name was taken by another template.
    pub(super) collided: bool,
    /// The name of the set of the present template.
    pub(super) new_name: Option<Arc<str>>,
}

/// Reports the status if it differs, and returns whether the roll-out is complete.
pub(super) fn report(
    deployment: &DeploymentView,
    owned: &Owned<'_>,
    happened: &Happened,
    now: Timestamp,
    outcome: &mut Outcome,
) -> bool {
    let before = &deployment.status;
    let available = owned.all().map(|set| set.available).sum();
    let total: i32 = owned.all().map(|set| set.set.spec.replicas()).sum();
    let mut after = DeploymentStatus {
        replicas: owned.all().map(|set| set.pods).sum(),
        updated_replicas: owned.new.as_ref().map_or(0, |new| new.pods),
        ready_replicas: owned.all().map(|set| set.ready).sum(),
        available_replicas: available,
        unavailable_replicas: (total - available).max(0),
        terminating_replicas: Some(owned.all().map(|set| set.terminating).sum()),
        observed_generation: deployment.meta.generation,
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    if happened.collided {
        after.collision_count = Some(after.collision_count.unwrap_or_default() + 1);
    }
    let wanted = deployment.spec.replicas();
    let complete = owned.new.is_some()
        && after.updated_replicas == wanted
        && after.replicas == wanted
        && after.available_replicas == wanted;
    let least = wanted - deployment.spec.max_unavailable();
    let availability = if available >= least {
        let message = "Deployment has minimum availability.";
        Condition::new("Available", Status::True, "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.";
        Condition::new("Available", Status::False, "MinimumReplicasUnavailable", message, now)
    };
    set(&mut after, availability, now, false);
    if deployment.spec.has_progress_deadline() {
        progress(deployment, &mut after, complete, happened, now, outcome);
    } else {
        after.conditions.retain(|it| &*it.kind != PROGRESSING);
    }
    tell_failure(owned, &mut after, now);
    if after != *before {
        let conditions = &after.conditions;
        let mut status = json!({
            "replicas": after.replicas,
            "updatedReplicas": after.updated_replicas,
            "readyReplicas": after.ready_replicas,
            "availableReplicas": after.available_replicas,
            "unavailableReplicas": after.unavailable_replicas,
            "terminatingReplicas": after.terminating_replicas,
            "observedGeneration": after.observed_generation,
            "conditions": conditions,
        });
        if let (Some(count), Some(status)) = (after.collision_count, status.as_object_mut()) {
            status.insert("collisionCount".to_owned(), json!(count));
        }
        let target = Target::of(&Resource::DEPLOYMENTS, &deployment.meta);
        outcome.actions.push(Action::UpdateStatus { target, patch: json!({"status": status}) });
    }
    complete
}

/// Tells of a set that cannot create its pods, the newest before others.
fn tell_failure(owned: &Owned<'_>, after: &mut DeploymentStatus, now: Timestamp) {
    let mut sets = owned.new.iter().chain(&owned.old);
    match sets.find_map(|owned| find(&owned.set.status.conditions, REPLICA_FAILURE)) {
        Some(failure) => set(after, failure.clone(), now, false),
        None => after.conditions.retain(|it| &*it.kind != REPLICA_FAILURE),
    }
}

/// The `Progressing` condition.
fn progress(
    deployment: &DeploymentView,
    after: &mut DeploymentStatus,
    complete: bool,
    happened: &Happened,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let before = &deployment.status;
    let present = find(&before.conditions, PROGRESSING);
    let reason = present.and_then(|present| present.reason.as_deref()).unwrap_or_default();
    let progressing = |status, reason: &str, message: &str| {
        Condition::new(PROGRESSING, status, reason, message, now)
    };
    if deployment.spec.paused && reason == "ProgressDeadlineExceeded" {
        // That it was stuck is still what there is to know.
        return;
    }
    if deployment.spec.paused {
        let paused = progressing(Status::Unknown, "DeploymentPaused", "Deployment is paused");
        return set(after, paused, now, false);
    }
    if reason == "DeploymentPaused" {
        let resumed = progressing(Status::Unknown, "DeploymentResumed", "Deployment is resumed");
        return set(after, resumed, now, true);
    }
    // Once complete, a lost pod is a matter of availability and not of the roll-out.
    let settled = reason == "NewReplicaSetAvailable" && after.replicas == after.updated_replicas;
    if settled && !complete {
        return;
    }
    let name = happened.new_name.as_deref().unwrap_or(&deployment.meta.name);
    let old = |status: &DeploymentStatus| status.replicas - status.updated_replicas;
    let advanced = after.updated_replicas > before.updated_replicas
        || old(after) < old(before)
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
        // Another generation is another roll-out, with a deadline of its own.
        || after.observed_generation != before.observed_generation
        || present.is_none();
    if complete {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return set(
            after,
            progressing(Status::True, "NewReplicaSetAvailable", &message),
            now,
            false,
        );
    }
    if advanced {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        return set(after, progressing(Status::True, "ReplicaSetUpdated", &message), now, true);
    }
    let deadline = deployment.spec.progress_deadline_seconds.unwrap_or(600).saturating_mul(1000);
    let since = present.and_then(|it| it.last_update_time.or(it.last_transition_time));
    let until = Timestamp(since.unwrap_or(now).0.saturating_add(deadline));
    if now < until {
        outcome.wake_at(until);
    } else {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        set(after, progressing(Status::False, "ProgressDeadlineExceeded", &message), now, false);
    }
}

/// Puts a condition in place. One that says the same keeps its times, unless `renew` is set.
fn set(status: &mut DeploymentStatus, mut condition: Condition, now: Timestamp, renew: bool) {
    condition.last_update_time = Some(now);
    let present = status.conditions.iter_mut().find(|it| it.kind == condition.kind);
    match present {
        Some(present) if present.says_the_same(&condition) && !renew => {}
        Some(present) => {
            if present.status == condition.status {
                condition.last_transition_time = present.last_transition_time;
            }
            *present = condition;
        }
        None => status.conditions.push(condition),
    }
}
