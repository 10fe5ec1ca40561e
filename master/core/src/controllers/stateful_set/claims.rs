//! The claims of a stateful set's pods: made from its templates, kept or let go as its policy says.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::owner::{Owner, set, set_metadata};
use super::{Pods, identity};
use crate::action::{Action, EventKind, Target};
use crate::snapshot::Snapshot;
use crate::view::meta::{Meta, OwnerReference};
use crate::view::pod::PodView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::stateful_set::StatefulSetView;

fn template_name(template: &Value) -> &str {
    template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn claim_name(view: &StatefulSetView, template: &Value, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template_name(template), view.meta.name)
}

/// The volumes of a pod that lead to its claims.
pub(super) fn volumes(view: &StatefulSetView, ordinal: i32) -> Vec<Value> {
    let volume = |template: &Value| {
        json!({
            "name": template_name(template),
            "persistentVolumeClaim": {"claimName": claim_name(view, template, ordinal)},
        })
    };
    view.spec.volume_claim_templates.iter().map(volume).collect()
}

fn present<'a>(snapshot: &'a Snapshot, view: &StatefulSetView, name: &str) -> Option<&'a Meta> {
    let key = ObjectKey::new(&view.meta.namespace, name);
    snapshot.meta(&ObjectId { resource: Resource::PERSISTENT_VOLUME_CLAIMS, key })
}

/// Whether a claim of an ordinal is to go with a pod that is no more: a new pod would hold it up.
pub(super) fn stale(snapshot: &Snapshot, view: &StatefulSetView, ordinal: i32) -> bool {
    if &*view.spec.persistent_volume_claim_retention_policy.when_scaled != "Delete" {
        return false;
    }
    let pod = identity::pod_name(view, ordinal);
    let names = view.spec.volume_claim_templates.iter();
    names.map(|template| claim_name(view, template, ordinal)).any(|name| {
        present(snapshot, view, &name).is_some_and(|claim| {
            claim.owner_references.iter().any(|it| &*it.kind == "Pod" && *it.name == *pod)
        })
    })
}

/// Creates the claims of an ordinal that are missing.
pub(super) fn create(
    snapshot: &Snapshot,
    view: &StatefulSetView,
    owner: &Owner<'_>,
    ordinal: i32,
    outcome: &mut Outcome,
) {
    for template in &view.spec.volume_claim_templates {
        let name = claim_name(view, template, ordinal);
        if present(snapshot, view, &name).is_some() {
            continue;
        }
        let mut claim = template.clone();
        set(&mut claim, &[], "apiVersion", json!("v1"));
        set(&mut claim, &[], "kind", json!("PersistentVolumeClaim"));
        set(&mut claim, &["metadata"], "name", json!(name));
        set(&mut claim, &["metadata"], "namespace", json!(view.meta.namespace));
        for (key, value) in view.spec.selector.match_labels.iter() {
            set_metadata(&mut claim, "labels", key, value);
        }
        if let Some(claim) = claim.as_object_mut() {
            claim.remove("status");
        }
        if &*view.spec.persistent_volume_claim_retention_policy.when_deleted == "Delete" {
            set(&mut claim, &["metadata"], "ownerReferences", json!([reference_to_set(view)]));
        }
        outcome.actions.push(owner.create(Resource::PERSISTENT_VOLUME_CLAIMS, claim));
        let (pod, set) = (identity::pod_name(view, ordinal), &view.meta.name);
        let message = format!("create Claim {name} Pod {pod} in StatefulSet {set} success");
        outcome.actions.push(owner.event(EventKind::Normal, "SuccessfulCreate", message));
    }
}

/// Makes claims go with what their policy names: the set, or the pod that is not wanted any more.
pub(super) fn own(
    snapshot: &Snapshot,
    view: &StatefulSetView,
    owner: &Owner<'_>,
    pods: &Pods<'_>,
    outcome: &mut Outcome,
) {
    let wanted = pods.replicas.iter().filter_map(|(ordinal, pod)| Some((*ordinal, (*pod)?, false)));
    let condemned = pods.condemned.iter().map(|(ordinal, pod)| (*ordinal, *pod, true));
    for (ordinal, pod, condemned) in wanted.chain(condemned) {
        for template in &view.spec.volume_claim_templates {
            let name = claim_name(view, template, ordinal);
            let Some(claim) = present(snapshot, view, &name) else { continue };
            outcome.actions.extend(owned(view, owner, claim, pod, condemned));
        }
    }
}

/// Puts the owners of one claim right; those that are not ours stay.
fn owned(
    view: &StatefulSetView,
    owner: &Owner<'_>,
    claim: &Meta,
    pod: &PodView,
    condemned: bool,
) -> Option<Action> {
    let policy = &view.spec.persistent_volume_claim_retention_policy;
    let by_pod = condemned && &*policy.when_scaled == "Delete";
    let by_set = &*policy.when_deleted == "Delete" && !by_pod;
    let ours = |it: &&OwnerReference| {
        it.uid == owner.meta.uid || (&*it.kind == "Pod" && it.name == pod.meta.name)
    };
    let present: Vec<&OwnerReference> = claim.owner_references.iter().filter(ours).collect();
    let wanted = match (by_pod, by_set) {
        (true, _) => Some(reference_to_pod(pod)),
        (false, true) => Some(reference_to_set(view)),
        (false, false) => None,
    };
    if present.iter().map(|it| &it.uid).eq(wanted.iter().map(|it| &it.uid)) || claim.deleting() {
        return None;
    }
    let others = claim.owner_references.iter().filter(|it| !ours(it)).cloned();
    let owner_references = others.chain(wanted).collect();
    let target = Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, claim);
    Some(Action::SetOwnerReferences { target, owner_references })
}

/// Not the controller, as upstream has it: a claim has none.
fn reference_to_set(view: &StatefulSetView) -> OwnerReference {
    reference("apps/v1", "StatefulSet", &view.meta)
}

fn reference_to_pod(pod: &PodView) -> OwnerReference {
    reference("v1", "Pod", &pod.meta)
}

fn reference(api_version: &str, kind: &str, meta: &Meta) -> OwnerReference {
    OwnerReference {
        api_version: Arc::from(api_version),
        kind: Arc::from(kind),
        name: Arc::clone(&meta.name),
        uid: Arc::clone(&meta.uid),
        controller: None,
        block_owner_deletion: None,
    }
}
