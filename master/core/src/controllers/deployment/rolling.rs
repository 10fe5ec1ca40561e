//! The next step of a rolling update: how large each replica set should be now.

use super::{Owned, size_max};
use crate::view::deployment::DeploymentView;

/// The size at which a new set starts beside `present` pods of old ones.
pub(super) fn first_size(deployment: &DeploymentView, present: i32) -> i32 {
    (size_max(deployment) - present).clamp(0, deployment.spec.replicas())
}

/// Grows the new set as far as surge allows; if it cannot grow, shrinks old ones as far as
/// availability allows.
pub(super) fn plan(deployment: &DeploymentView, owned: &mut Owned<'_>) {
    let wanted = deployment.spec.replicas();
    let total = owned.replicas();
    let Some(new) = &mut owned.new else { return };
    if new.replicas > wanted {
        new.replicas = wanted;
        return;
    }
    if new.replicas < wanted && total < size_max(deployment) {
        new.replicas += (size_max(deployment) - total).min(wanted - new.replicas);
        return;
    }
    let least_available = wanted - deployment.spec.max_unavailable();
    // New pods that are not available yet are already missing.
    let new_unavailable = (new.replicas - new.available).max(0);
    let mut room = total - least_available - new_unavailable;
    // Pods that serve nobody go first: they cost nothing.
    for old in &mut owned.old {
        let broken = (old.replicas - old.available).clamp(0, room.max(0));
        old.replicas -= broken;
        room -= broken;
    }
    let available: i32 = owned.all().map(|set| set.available.min(set.replicas)).sum();
    let mut room = room.min(available - least_available);
    for old in &mut owned.old {
        let gone = old.replicas.min(room).max(0);
        old.replicas -= gone;
        room -= gone;
    }
}
