//! The status of a daemon set.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::super::Outcome;
use super::super::owner::{Owner, or_absent};
use super::super::revisions::{Revisions, hash_of, revision_of};
use super::OnNode;
use crate::view::daemon_set::DaemonSetView;
use crate::view::timestamp::Timestamp;

/// Counts nodes by what their pods are like; of several pods of a node the oldest counts.
pub(super) fn report(
    owner: &Owner<'_>,
    set: &DaemonSetView,
    revisions: &Revisions<'_>,
    nodes: &BTreeMap<Arc<str>, OnNode<'_>>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let collisions = revisions.collision_count(&set.status);
    if revisions.update.is_none() && !set.meta.deleting() {
        // A generation is observed once it has a revision.
        outcome.actions.extend(owner.report(&set.status, json!({"collisionCount": collisions})));
        return;
    }
    let hash = revisions.update.map(|update| hash_of(update));
    let (mut desired, mut current, mut misplaced) = (0_usize, 0_usize, 0_usize);
    let (mut ready, mut available, mut updated) = (0_usize, 0_usize, 0_usize);
    for node in nodes.values() {
        if !node.wanted {
            misplaced += usize::from(!node.pods.is_empty());
            continue;
        }
        desired += 1;
        current += usize::from(!node.pods.is_empty());
        let ready_pod = node.pods.iter().find(|pod| pod.ready());
        let Some(pod) = ready_pod.or_else(|| node.pods.first()) else { continue };
        ready += usize::from(pod.ready());
        available += usize::from(pod.available(set.spec.min_ready_seconds, now));
        updated += usize::from(
            node.pods.iter().any(|pod| hash == Some(revision_of(&pod.meta.labels)) && pod.active()),
        );
        if let (false, Some(since)) =
            (pod.available(set.spec.min_ready_seconds, now), pod.ready_since())
        {
            let wait_ms = set.spec.min_ready_seconds.saturating_mul(1000);
            outcome.wake_at(Timestamp(since.0.saturating_add(wait_ms)));
        }
    }
    let wanted = json!({
        "observedGeneration": set.meta.generation,
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "numberReady": ready,
        "updatedNumberScheduled": or_absent(updated),
        "numberAvailable": or_absent(available),
        "numberUnavailable": or_absent(desired - available),
        "collisionCount": collisions,
    });
    outcome.actions.extend(owner.report(&set.status, wanted));
}
