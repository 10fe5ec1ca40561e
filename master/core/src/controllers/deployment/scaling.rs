//! Resizes a deployment in the middle of a roll-out: every set grows or shrinks in proportion.

use super::{DESIRED_REPLICAS, MAX_REPLICAS, Owned, OwnedSet, size_max};
use crate::view::deployment::DeploymentView;

/// Plans the sizes after a change of `spec.replicas`; the templates stay as they are.
pub(super) fn scale(deployment: &DeploymentView, owned: &mut Owned<'_>) {
    let wanted = deployment.spec.replicas();
    let active = owned.all().filter(|set| set.replicas > 0).count();
    if active <= 1 {
        let only = if active == 1 {
            owned.all_mut().find(|set| set.replicas > 0)
        } else if owned.new.is_some() {
            owned.new.as_mut()
        } else {
            owned.old.last_mut()
        };
        if let Some(only) = only {
            only.replicas = wanted;
        }
        return;
    }
    if owned.new.as_ref().is_some_and(|new| saturated(new, wanted)) {
        owned.old.iter_mut().for_each(|set| set.replicas = 0);
        return;
    }
    if deployment.spec.recreate() {
        return;
    }
    let allowed = if wanted > 0 { size_max(deployment) } else { 0 };
    let to_add = allowed - owned.replicas();
    let mut added = 0;
    let mut sets: Vec<&mut OwnedSet<'_>> = owned.all_mut().filter(|it| it.replicas > 0).collect();
    // The largest first; of equals the newest if there is something to gain, else the oldest.
    if to_add > 0 {
        sets.reverse();
    }
    sets.sort_by_key(|set| std::cmp::Reverse(set.replicas));
    for set in &mut sets {
        let left = to_add - added;
        let share = share(deployment, set, wanted);
        let share =
            if to_add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) };
        set.replicas += share;
        added += share;
    }
    // What rounding left over goes to the largest.
    if let Some(largest) = sets.first_mut() {
        largest.replicas = (largest.replicas + to_add - added).max(0);
    }
}

/// How much a set should grow so that its part of the whole stays the same.
fn share(deployment: &DeploymentView, set: &OwnedSet<'_>, wanted: i32) -> i32 {
    if wanted == 0 {
        return -set.replicas;
    }
    let before = set.set.meta.annotations.get(MAX_REPLICAS);
    let before = before.and_then(|before| before.parse::<i64>().ok()).filter(|it| *it > 0);
    let before = before.unwrap_or_else(|| i64::from(deployment.status.replicas.max(1)));
    let product = i64::from(set.replicas) * i64::from(size_max(deployment));
    let rounded = (2 * product + before) / (2 * before);
    i32::try_from(rounded).unwrap_or(i32::MAX).saturating_sub(set.replicas)
}

/// Whether the new set was whole before the change.
fn saturated(new: &OwnedSet<'_>, wanted: i32) -> bool {
    let desired = new.set.meta.annotations.get(DESIRED_REPLICAS);
    let desired = desired.and_then(|desired| desired.parse::<i32>().ok());
    new.replicas == wanted && desired == Some(wanted) && new.available == wanted
}
