//! Deletes what has lost all its owners, and carries out foreground and orphan deletions.
//!
//! Works on metadata alone, for every resource. It relies on the snapshot being fed in revision
//! order: an owner is always known before its dependents. Owners are in the namespace of their
//! dependents, or in none; one that is elsewhere counts as gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Outcome;
use crate::action::{Action, Propagation, Target};
use crate::snapshot::Snapshot;
use crate::view::meta::{Meta, OwnerReference};
use crate::view::resource::{ObjectId, ObjectKey, Resource};

/// Most actions of one run.
pub const ACTIONS_MAX: usize = 500;

/// Most objects that are looked at to find out whether some wait for each other.
const CIRCLE_MAX: usize = 1_000;

/// The finalizer of an object whose dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents stay.
pub const ORPHAN: &str = "orphan";

/// Compares dependents with their owners.
#[must_use]
pub fn reconcile(snapshot: &Snapshot) -> Outcome {
    let mut outcome = Outcome::default();
    if !snapshot.synced {
        return outcome;
    }
    for (resource, meta) in snapshot.metas() {
        if outcome.actions.len() >= ACTIONS_MAX {
            return outcome;
        }
        propagate(snapshot, resource, meta, &mut outcome);
        let key = ObjectKey::new(&meta.namespace, &meta.name);
        let id = ObjectId { resource: resource.clone(), key };
        outcome.actions.extend(disown(snapshot, &id, meta));
    }
    for uid in snapshot.owner_uids() {
        leave(snapshot, uid, &mut outcome);
    }
    outcome
}

/// As [`reconcile`], for one owner by its uid, whether it exists or not.
pub(super) fn reconcile_key(snapshot: &Snapshot, uid: &str) -> Outcome {
    let mut outcome = Outcome::default();
    match snapshot.by_uid(uid) {
        Some(id) => {
            if let Some(meta) = snapshot.meta(id) {
                propagate(snapshot, &id.resource, meta, &mut outcome);
                outcome.actions.extend(disown(snapshot, id, meta));
            }
        }
        None => leave(snapshot, uid, &mut outcome),
    }
    outcome
}

/// Carries out the deletion of an owner that is to go after, or without, its dependents.
fn propagate(snapshot: &Snapshot, resource: &Resource, meta: &Meta, outcome: &mut Outcome) {
    if !meta.deleting() {
        return;
    }
    if meta.has_finalizer(ORPHAN) {
        orphan_dependents(snapshot, resource, meta, outcome);
    } else if meta.has_finalizer(FOREGROUND) {
        delete_dependents(snapshot, resource, meta, outcome);
    }
}

/// Deletes or releases the dependents of an owner that is gone.
fn leave(snapshot: &Snapshot, uid: &str, outcome: &mut Outcome) {
    if snapshot.by_uid(uid).is_some() {
        return;
    }
    for id in snapshot.dependents(uid) {
        if outcome.actions.len() >= ACTIONS_MAX {
            return;
        }
        if let Some(meta) = snapshot.meta(id).filter(|meta| !meta.deleting()) {
            outcome.actions.push(release_or_delete(snapshot, id, meta));
        }
    }
}

/// The owner that a dependent in this namespace names.
fn owner_of<'a>(
    snapshot: &'a Snapshot,
    owner: &OwnerReference,
    namespace: &str,
) -> Option<&'a Meta> {
    let id = snapshot.by_uid(&owner.uid)?;
    let reachable = id.key.namespace.is_empty() || *id.key.namespace == *namespace;
    snapshot.meta(id).filter(|_| reachable)
}

/// Whether an owner goes only after its dependents, and so holds none of them any more.
fn waits(owner: &Meta) -> bool {
    owner.deleting() && owner.has_finalizer(FOREGROUND)
}

/// Deletes or releases a dependent that names an owner of another namespace.
fn disown(snapshot: &Snapshot, id: &ObjectId, meta: &Meta) -> Option<Action> {
    let elsewhere = |owner: &OwnerReference| {
        snapshot.by_uid(&owner.uid).is_some()
            && owner_of(snapshot, owner, &meta.namespace).is_none()
    };
    let strays = !meta.deleting() && meta.owner_references.iter().any(elsewhere);
    strays.then(|| release_or_delete(snapshot, id, meta))
}

/// Deletes a dependent whose owners are all gone; takes the missing ones off another.
fn release_or_delete(snapshot: &Snapshot, id: &ObjectId, meta: &Meta) -> Action {
    let target = Target::of(&id.resource, meta);
    let present = |owner: &&OwnerReference| owner_of(snapshot, owner, &meta.namespace).is_some();
    let owner_references: Vec<OwnerReference> =
        meta.owner_references.iter().filter(present).cloned().collect();
    if owner_references.is_empty() {
        // A finalizer that asks for another propagation is the object's own, and is kept.
        let propagation = Some(Propagation::Background);
        return Action::Delete { target, grace_seconds: None, propagation };
    }
    Action::SetOwnerReferences { target, owner_references }
}

/// Takes the owner off all its dependents, then lets it go.
fn orphan_dependents(snapshot: &Snapshot, resource: &Resource, meta: &Meta, outcome: &mut Outcome) {
    let mut left = 0;
    for id in snapshot.dependents(&meta.uid) {
        let Some(dependent) = snapshot.meta(id) else { continue };
        left += 1;
        let others = dependent.owner_references.iter().filter(|owner| owner.uid != meta.uid);
        outcome.actions.push(Action::SetOwnerReferences {
            target: Target::of(&id.resource, dependent),
            owner_references: others.cloned().collect(),
        });
    }
    if left == 0 {
        outcome.actions.push(remove_finalizer(resource, meta, ORPHAN));
    }
}

/// Deletes the dependents, those that have some themselves in the foreground too, and lets the owner
/// go once none is left that blocks it.
fn delete_dependents(snapshot: &Snapshot, resource: &Resource, meta: &Meta, outcome: &mut Outcome) {
    let mut blocked = false;
    for id in snapshot.dependents(&meta.uid) {
        let Some(dependent) = snapshot.meta(id) else { continue };
        let own = |owner: &&OwnerReference| owner.uid == meta.uid;
        let reference = dependent.owner_references.iter().find(own);
        let blocks = reference.is_some_and(|owner| owner.block_owner_deletion == Some(true));
        let kept = dependent.owner_references.iter().any(|owner| {
            let known = owner_of(snapshot, owner, &dependent.namespace);
            owner.uid != meta.uid && known.is_some_and(|known| !waits(known))
        });
        if kept {
            // Another owner still wants it, so only this one is taken off.
            let others = dependent.owner_references.iter().filter(|owner| owner.uid != meta.uid);
            outcome.actions.push(Action::SetOwnerReferences {
                target: Target::of(&id.resource, dependent),
                owner_references: others.cloned().collect(),
            });
            continue;
        }
        blocked |= blocks && !waits_for(snapshot, dependent, &meta.uid);
        if !dependent.deleting() {
            let leaf = snapshot.dependents(&dependent.uid).next().is_none();
            let propagation = if leaf { Propagation::Background } else { Propagation::Foreground };
            outcome.actions.push(Action::Delete {
                target: Target::of(&id.resource, dependent),
                grace_seconds: None,
                propagation: Some(propagation),
            });
        }
    }
    if !blocked {
        outcome.actions.push(remove_finalizer(resource, meta, FOREGROUND));
    }
}

/// Whether an object that is to go after its dependents waits, in the end, for this one: then neither
/// must wait for the other.
fn waits_for(snapshot: &Snapshot, from: &Meta, uid: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(meta) = open.pop() {
        if !waits(meta) || !seen.insert(&meta.uid) || seen.len() > CIRCLE_MAX {
            continue;
        }
        for dependent in snapshot.dependents(&meta.uid).filter_map(|id| snapshot.meta(id)) {
            if *dependent.uid == *uid {
                return true;
            }
            open.push(dependent);
        }
    }
    false
}

fn remove_finalizer(resource: &Resource, meta: &Meta, finalizer: &str) -> Action {
    Action::RemoveFinalizer { target: Target::of(resource, meta), finalizer: Arc::from(finalizer) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::model::Model;
    use super::*;

    const OWNER: &str = "/apps/deployments/d/web";
    const SET: &str = "/apps/replicasets/d/web-1";
    const POD: &str = "/core/pods/d/web-1-a";
    const OTHER: &str = "/core/configmaps/d/other";

    fn owned_by(uids: &[&str]) -> Value {
        let reference = |uid: &&str| {
            json!({"apiVersion": "v1", "kind": "X", "name": uid, "uid": uid,
                "controller": null, "blockOwnerDeletion": true})
        };
        json!({"ownerReferences": uids.iter().map(reference).collect::<Vec<_>>()})
    }

    fn model() -> Model {
        let mut model = Model::new();
        let with_uid = |uid: &str, owners: &[&str]| {
            let mut metadata = owned_by(owners);
            metadata["uid"] = json!(uid);
            json!({"metadata": metadata})
        };
        model.put(OWNER, with_uid("dep", &[]));
        model.put(SET, with_uid("set", &["dep"]));
        model.put(POD, with_uid("pod", &["set"]));
        model
    }

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot).actions
    }

    fn left(model: &Model) -> Vec<String> {
        model.snapshot().metas().map(|(_, meta)| meta.name.to_string()).collect()
    }

    #[test]
    fn in_the_background_everything_below_the_owner_goes() {
        let mut model = model();
        model.settle(run);
        assert_eq!(left(&model).len(), 3);
        model.delete_as_client(OWNER, Propagation::Background);
        assert_eq!(left(&model).len(), 2, "the owner goes at once");
        model.settle(run);
        assert_eq!(left(&model), [""; 0]);
    }

    #[test]
    fn in_the_foreground_the_owner_goes_last() {
        let mut model = model();
        model.delete_as_client(OWNER, Propagation::Foreground);
        let first = run(model.snapshot());
        model.execute(first);
        assert_eq!(left(&model).len(), 3);
        model.settle(run);
        assert_eq!(left(&model), [""; 0]);
    }

    #[test]
    fn orphaned_dependents_stay() {
        let mut model = model();
        model.delete_as_client(OWNER, Propagation::Orphan);
        model.settle(run);
        assert_eq!(left(&model), ["web-1-a", "web-1"]);
        assert_eq!(model.get(SET)["metadata"]["ownerReferences"], json!([]));
    }

    #[test]
    fn objects_that_own_each_other_go_all_the_same() {
        let mut model = Model::new();
        for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
            let mut metadata = owned_by(&[owner]);
            metadata["uid"] = json!(name);
            model.put(&format!("/core/configmaps/d/{name}"), json!({"metadata": metadata}));
        }
        model.settle(run);
        assert_eq!(left(&model).len(), 3);
        model.delete_as_client("/core/configmaps/d/a", Propagation::Foreground);
        model.settle(run);
        assert_eq!(left(&model), [""; 0]);
        // One that owns itself, too.
        let mut metadata = owned_by(&["own"]);
        metadata["uid"] = json!("own");
        model.put(OTHER, json!({"metadata": metadata}));
        model.delete_as_client(OTHER, Propagation::Foreground);
        model.settle(run);
        assert_eq!(left(&model), [""; 0]);
    }

    #[test]
    fn owner_that_waits_for_something_else_still_owns() {
        let mut model = model();
        model.put(OTHER, json!({"metadata": owned_by(&["set", "dep"])}));
        // It is to go, but not after its dependents.
        let held = json!({"deletionTimestamp": super::super::model::NOW, "finalizers": ["mine"]});
        model.merge(OWNER, &json!({ "metadata": held }));
        model.delete_as_client(SET, Propagation::Foreground);
        model.settle(run);
        assert_eq!(left(&model), ["web", "other"]);
        let owners = model.get(OTHER)["metadata"]["ownerReferences"].clone();
        assert_eq!(owners.as_array().unwrap().len(), 1);
    }

    #[test]
    fn owner_of_another_namespace_counts_as_gone() {
        let mut model = model();
        model.put("/core/configmaps/e/astray", json!({"metadata": owned_by(&["dep"])}));
        model.put("/core/nodes/_/n1", json!({"metadata": {"uid": "node"}}));
        model.put("/core/configmaps/e/kept", json!({"metadata": owned_by(&["node", "dep"])}));
        model.settle(run);
        assert!(model.get("/core/configmaps/e/astray").is_null());
        let owners = model.get("/core/configmaps/e/kept")["metadata"]["ownerReferences"].clone();
        assert_eq!(owners.as_array().unwrap().len(), 1);
        assert_eq!(left(&model).len(), 5);
    }

    #[test]
    fn an_object_with_another_owner_stays() {
        let mut model = model();
        model.put(OTHER, json!({"metadata": owned_by(&["set", "dep"])}));
        model.remove(SET);
        model.settle(run);
        let owners = model.get(OTHER)["metadata"]["ownerReferences"].clone();
        assert_eq!(owners.as_array().unwrap().len(), 1);
        assert_eq!(left(&model), ["web", "other"]);
    }
}
