//! The status of a stateful set.

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::owner::{Owner, or_absent};
use super::super::revisions::{Revisions, revision_of};
use super::{Pods, running_and_ready};
use crate::view::pod::PodView;
use crate::view::stateful_set::StatefulSetView;
use crate::view::timestamp::Timestamp;

/// Counts the pods, and ends a rolling update when all of them have the new revision.
pub(super) fn report(
    owner: &Owner<'_>,
    set: &StatefulSetView,
    revisions: &Revisions<'_>,
    pods: &Pods<'_>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let collisions = revisions.collision_count(&set.status);
    if revisions.update.is_none() && !set.meta.deleting() {
        // Who sees that a generation was observed reads its revision beside it, so both come together.
        outcome.actions.extend(owner.report(&set.status, json!({"collisionCount": collisions})));
        return;
    }
    let text = |field: &str| set.status.get(field).and_then(Value::as_str).map(str::to_owned);
    let update = revisions.update.map(|update| update.meta.name.to_string());
    let update = update.or_else(|| text("updateRevision"));
    let known = |name: &String| revisions.all.iter().any(|it| *it.meta.name == **name);
    let mut current = text("currentRevision").filter(known).or_else(|| update.clone());
    let count = |wanted: &dyn Fn(&PodView) -> bool| pods.all().filter(|pod| wanted(pod)).count();
    let of = |revision: &Option<String>| {
        count(&|pod| {
            let own = revision.as_deref() == Some(revision_of(&pod.meta.labels));
            own && !pod.meta.deleting()
        })
    };
    let replicas = pods.all().count();
    let ready = count(&running_and_ready);
    let available =
        count(&|pod| running_and_ready(pod) && pod.available(set.spec.min_ready_seconds, now));
    let updated = of(&update);
    let mut of_current = of(&current);
    let rolling = &*set.spec.update_strategy.kind != "OnDelete";
    let wanted = super::wanted_ordinals(set).len();
    if rolling && update.is_some() && updated == wanted && ready == wanted {
        current = update.clone();
        of_current = updated;
    }
    let wanted = json!({
        "observedGeneration": set.meta.generation,
        "replicas": replicas,
        "readyReplicas": or_absent(ready),
        "availableReplicas": available,
        "currentReplicas": or_absent(of_current),
        "updatedReplicas": or_absent(updated),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": collisions,
    });
    outcome.actions.extend(owner.report(&set.status, wanted));
}
