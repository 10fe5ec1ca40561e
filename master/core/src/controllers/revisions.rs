//! Revisions of stateful sets and daemon sets: the history of their pod templates.
//!
//! Names and hashes follow upstream's rule (FNV-1 of the data and the collision count, written
//! with its alphabet); equal templates share a revision, which is numbered anew when it returns.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Outcome;
use super::owner::{Owner, set_metadata};
use super::rollout::safe_encoded;
use crate::action::{Action, Target};
use crate::snapshot::{Snapshot, in_namespace};
use crate::view::controller_revision::ControllerRevisionView;
use crate::view::labels::Labels;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::selector::LabelSelector;

/// The label by which revisions tell their hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// The label by which pods tell their revision.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

/// The revisions of one workload, and which of them is that of its present template.
#[derive(Debug)]
pub(super) struct Revisions<'a> {
    /// Oldest first.
    pub(super) all: Vec<&'a Arc<ControllerRevisionView>>,
    /// The present one, if it exists and has the highest number.
    pub(super) update: Option<&'a Arc<ControllerRevisionView>>,
    /// What the status has to say of collisions.
    pub(super) collisions: i64,
}

impl Revisions<'_> {
    /// The count of collisions as the status has it: absent for as long as there was none.
    pub(super) fn collision_count(&self, status: &Value) -> Value {
        match (self.collisions, status.get("collisionCount")) {
            (0, None) => Value::Null,
            (count, _) => json!(count),
        }
    }
}

/// The patch that leads back to a template.
fn data(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template that a revision leads back to.
pub(super) fn template_of(revision: &ControllerRevisionView) -> Value {
    let mut template = revision.data.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

/// FNV-1 with 32 bits.
fn hash(data: &Value, collisions: i64) -> String {
    let mut state: u32 = 0x811c_9dc5;
    let mut feed = |text: &str| {
        for byte in text.bytes() {
            state = state.wrapping_mul(0x0100_0193) ^ u32::from(byte);
        }
    };
    feed(&data.to_string());
    if collisions > 0 {
        feed(&collisions.to_string());
    }
    safe_encoded(&state.to_string())
}

/// Compares the template with the history. Until [`Revisions::update`] is there, what makes it so
/// is among the actions, and the workload's pods have to wait.
pub(super) fn follow<'a>(
    owner: &Owner<'_>,
    snapshot: &'a Snapshot,
    selector: &LabelSelector,
    template: &Value,
    status: &Value,
    outcome: &mut Outcome,
) -> Revisions<'a> {
    let orphans = in_namespace(&snapshot.workloads().controller_revisions, &owner.meta.namespace)
        .filter(|revision| {
            revision.meta.controller().is_none()
                && !revision.meta.deleting()
                && selector.selects(&revision.meta.labels)
        });
    if !owner.meta.deleting() {
        let adopt = |revision: &Arc<ControllerRevisionView>| {
            owner.adopt(&Resource::CONTROLLER_REVISIONS, &revision.meta)
        };
        outcome.actions.extend(orphans.map(adopt));
    }
    let mut all: Vec<_> = snapshot.revisions_controlled_by(&owner.meta.uid).collect();
    all.sort_by_key(|it| (it.revision, it.meta.creation_timestamp, it.meta.name.clone()));
    let collisions = status.get("collisionCount").and_then(Value::as_i64).unwrap_or_default();
    let mut revisions = Revisions { all, update: None, collisions };
    let data = data(template);
    let next = revisions.all.last().map_or(1, |last| last.revision.saturating_add(1));
    let equal = revisions.all.iter().rev().copied().find(|it| it.data == data);
    match (equal, revisions.all.last().copied()) {
        (Some(equal), Some(last)) if equal.meta.uid == last.meta.uid => {
            revisions.update = Some(equal);
        }
        _ if owner.meta.deleting() => {}
        (Some(equal), _) => outcome.actions.push(Action::Update {
            target: Target::of(&Resource::CONTROLLER_REVISIONS, &equal.meta),
            patch: json!({"revision": next}),
        }),
        (None, _) => {
            let hash = hash(&data, collisions);
            let name = format!("{}-{hash}", owner.meta.name);
            let key = ObjectKey::new(&owner.meta.namespace, &name);
            if snapshot.workloads().controller_revisions.contains_key(&key) {
                // Somebody else's, or the hash of another template: the next run tries another.
                revisions.collisions = collisions.saturating_add(1);
            } else {
                let object = revision(owner, template, data, &hash, next);
                outcome.actions.push(owner.create(Resource::CONTROLLER_REVISIONS, object));
            }
        }
    }
    revisions
}

fn revision(owner: &Owner<'_>, template: &Value, data: Value, hash: &str, number: i64) -> Value {
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", owner.meta.name),
            "namespace": owner.meta.namespace,
            "labels": labels,
            "annotations": owner.meta.annotations,
            "ownerReferences": [owner.reference()],
        },
        "data": data,
        "revision": number,
    });
    set_metadata(&mut object, "labels", HASH_LABEL, hash);
    set_metadata(&mut object, "labels", REVISION_LABEL, hash);
    object
}

/// The hash that a revision's own label tells.
pub(super) fn hash_of(revision: &ControllerRevisionView) -> &str {
    revision.meta.labels.get(HASH_LABEL).unwrap_or_default()
}

/// The revision that a pod's label tells.
pub(super) fn revision_of(labels: &Labels) -> &str {
    labels.get(REVISION_LABEL).unwrap_or_default()
}

/// Deletes the oldest revisions that nobody lives on, beyond the limit.
pub(super) fn clean_up(
    revisions: &Revisions<'_>,
    live: &BTreeSet<&str>,
    limit: Option<i32>,
    outcome: &mut Outcome,
) {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
    let lives =
        |it: &ControllerRevisionView| live.contains(&*it.meta.name) || live.contains(hash_of(it));
    let idle: Vec<_> = revisions
        .all
        .iter()
        .filter(|it| !lives(it) && !it.meta.deleting())
        .filter(|it| revisions.update.is_none_or(|update| update.meta.uid != it.meta.uid))
        .collect();
    let surplus = idle.len().saturating_sub(limit);
    outcome.actions.extend(idle.into_iter().take(surplus).map(|it| Action::Delete {
        target: Target::of(&Resource::CONTROLLER_REVISIONS, &it.meta),
        grace_seconds: None,
        propagation: None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_follow_the_rule_of_upstream() {
        // FNV-1, from its definition: multiply first, then take the byte in.
        let mut state: u32 = 2_166_136_261;
        for byte in b"{}" {
            state = state.wrapping_mul(16_777_619) ^ u32::from(*byte);
        }
        assert_eq!(hash(&json!({}), 0), safe_encoded(&state.to_string()));
        assert_ne!(hash(&json!({}), 0), hash(&json!({}), 1));
    }

    #[test]
    fn template_survives_its_revision() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
        let data = data(&template);
        let revision = ControllerRevisionView { data, ..ControllerRevisionView::default() };
        assert_eq!(template_of(&revision), template);
    }
}
