//! Gives claims their volumes, makes volumes on a node's own disk, and looks after both until they
//! are gone.
//!
//! ```text
//!  claim:  Pending --volume found or made--> volume names claim --> claim names volume --> Bound
//!             ^                                                                             |
//!             '-- waits for the node of its first pod              volume gone: Lost <------'
//!  volume: Available --claim--> Bound --claim gone--> Released (kept), or it is deleted
//! ```
//! One step a run and object: the next step is taken when this one is seen. Which node it will be is
//! the scheduler's business; the folder itself is the node's.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Outcome;
use crate::action::{Action, EventKind, Target};
use crate::snapshot::Snapshot;
use crate::view::meta::Meta;
use crate::view::node::NodeView;
use crate::view::persistent_volume::{
    BIND_COMPLETED, ClaimView, ClassView, SELECTED_NODE, VolumeView,
};
use crate::view::resource::{ObjectKey, Resource};

/// The provisioner of classes whose volumes are folders on the node of their first pod.
pub const LOCAL_PATH: &str = "bramble.io/local-path";
/// Where these folders are on every node.
pub const LOCAL_FOLDER: &str = "/var/lib/bramble-agent/local-path";

/// Keeps a claim for as long as a pod uses it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume for as long as it is bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
const COMPONENT: &str = "persistentvolume-controller";

/// Looks at all volumes and claims.
#[must_use]
pub fn reconcile(snapshot: &Snapshot) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        let storage = snapshot.storage();
        for key in storage.volumes.keys().chain(storage.claims.keys()) {
            outcome.merge(reconcile_key(snapshot, key));
        }
    }
    outcome
}

/// As [`reconcile`], for one claim, or one volume, whose key has no namespace.
#[must_use]
pub fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey) -> Outcome {
    let storage = snapshot.storage();
    let mut outcome = Outcome::default();
    let actions = &mut outcome.actions;
    if key.namespace.is_empty() {
        if let Some(volume) = storage.volumes.get(key) {
            look_after_volume(snapshot, volume, actions);
        }
    } else if let Some(claim) = storage.claims.get(key) {
        look_after_claim(snapshot, claim, actions);
    }
    outcome
}

fn look_after_volume(snapshot: &Snapshot, volume: &VolumeView, actions: &mut Vec<Action>) {
    let claim = volume.spec.claim_ref.as_ref().map(|wanted| {
        let key = ObjectKey::new(&wanted.namespace, &wanted.name);
        let claim = snapshot.storage().claims.get(&key);
        claim.filter(|claim| wanted.uid.is_empty() || wanted.uid == claim.meta.uid)
    });
    let known = volume.spec.claim_ref.as_ref().is_some_and(|wanted| !wanted.uid.is_empty());
    let phase = match claim {
        Some(Some(claim)) if claim.spec.volume_name == volume.meta.name && known => "Bound",
        // Its claim is not there yet, or has not named it yet.
        Some(Some(_)) => "Available",
        Some(None) if !known => "Available",
        Some(None) => "Released",
        None => "Available",
    };
    let target = || Target::of(&Resource::PERSISTENT_VOLUMES, &volume.meta);
    if volume.meta.deleting() {
        if phase != "Bound" && volume.meta.has_finalizer(VOLUME_PROTECTION) {
            let finalizer = Arc::from(VOLUME_PROTECTION);
            actions.push(Action::RemoveFinalizer { target: target(), finalizer });
        }
        return;
    }
    if !volume.meta.has_finalizer(VOLUME_PROTECTION) {
        return actions.push(protect(target(), &volume.meta, VOLUME_PROTECTION));
    }
    let deletes = &*volume.spec.persistent_volume_reclaim_policy == "Delete";
    let (phase, message) = if phase == "Released" && deletes {
        // Nothing here can remove data; whoever can has an annotation of its own.
        let name = &volume.meta.name;
        let why = format!(
            "error getting deleter volume plugin for volume \"{name}\": no volume plugin matched"
        );
        if others_provision(volume) { ("Released", None) } else { ("Failed", Some(why)) }
    } else {
        (phase, None)
    };
    if *volume.status.phase != *phase {
        let status = json!({"phase": phase, "message": message});
        let patch = json!({"status": status});
        actions.push(Action::UpdateStatus { target: target(), patch });
        if let Some(why) = message {
            let of = (target(), "PersistentVolume");
            actions.push(event(of, EventKind::Warning, "VolumeFailedDelete", why));
        }
    }
}

/// Whether a program that we know nothing of made a volume, and will take it away.
fn others_provision(volume: &VolumeView) -> bool {
    volume.meta.annotations.get(PROVISIONED_BY).is_some_and(|name| name != LOCAL_PATH)
}

fn look_after_claim(snapshot: &Snapshot, claim: &ClaimView, actions: &mut Vec<Action>) {
    let target = || Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, &claim.meta);
    if claim.meta.deleting() {
        if claim.meta.has_finalizer(CLAIM_PROTECTION) && !used(snapshot, claim) {
            let finalizer = Arc::from(CLAIM_PROTECTION);
            actions.push(Action::RemoveFinalizer { target: target(), finalizer });
        }
        return;
    }
    if !claim.meta.has_finalizer(CLAIM_PROTECTION) {
        return actions.push(protect(target(), &claim.meta, CLAIM_PROTECTION));
    }
    let volumes = &snapshot.storage().volumes;
    let named = volumes.get(&ObjectKey::new("", &claim.spec.volume_name));
    if claim.bound() {
        report_bound(claim, named.map(|volume| &**volume), actions);
        return;
    }
    let volume = if claim.spec.volume_name.is_empty() {
        find(snapshot, claim)
    } else {
        // It waits for the one that it names, if that is free.
        let free = named.filter(|it| it.is_for(claim) || it.spec.claim_ref.is_none());
        free.map(|volume| &**volume)
    };
    match volume {
        Some(volume) => bind(claim, volume, actions),
        None if claim.spec.volume_name.is_empty() => provision(snapshot, claim, actions),
        None => {}
    }
    if actions.is_empty() && claim.status.phase.is_empty() {
        let patch = json!({"status": {"phase": "Pending"}});
        actions.push(Action::UpdateStatus { target: target(), patch });
    }
}

/// Whether a pod that has not ended uses a claim.
fn used(snapshot: &Snapshot, claim: &ClaimView) -> bool {
    let pods = snapshot.pods_in(&claim.meta.namespace);
    // A pod without a node has nothing mounted.
    let mut using = pods.filter(|pod| !pod.terminated() && pod.node_name.is_some());
    using.any(|pod| pod.claims.contains(&claim.meta.name))
}

fn protect(target: Target, meta: &Meta, finalizer: &str) -> Action {
    let mut all: Vec<&str> = meta.finalizers.iter().map(|present| &**present).collect();
    all.push(finalizer);
    Action::Update { target, patch: json!({"metadata": {"finalizers": all}}) }
}

/// The volume that a claim gets: the one that is for it, or else the smallest that will do.
fn find<'a>(snapshot: &'a Snapshot, claim: &ClaimView) -> Option<&'a VolumeView> {
    let storage = snapshot.storage();
    let made = storage.volumes.get(&ObjectKey::new("", &volume_name(claim)));
    if let Some(made) = made.filter(|volume| volume.is_for(claim)) {
        return Some(made);
    }
    let all = || storage.volumes.values().map(|volume| &**volume);
    if let Some(own) = all().find(|volume| volume.is_for(claim) && !volume.meta.deleting()) {
        return Some(own);
    }
    let node = claim.selected_node().and_then(|name| snapshot.node(name));
    if node.is_none() && class_of(snapshot, claim).is_some_and(ClassView::waits) {
        return None;
    }
    let will_do = all().filter(|volume| {
        volume.satisfies(claim) && node.is_none_or(|node| volume.reachable_from(&node.meta))
    });
    will_do.min_by_key(|volume| (volume.spec.capacity.bytes(), &volume.meta.name))
}

fn class_of<'a>(snapshot: &'a Snapshot, claim: &ClaimView) -> Option<&'a ClassView> {
    let class = snapshot.storage().classes.get(&ObjectKey::new("", claim.class()));
    class.map(|class| &**class)
}

/// Ties the two together, one after the other.
fn bind(claim: &ClaimView, volume: &VolumeView, actions: &mut Vec<Action>) {
    let knows = |it: &crate::view::persistent_volume::ClaimReference| it.uid == claim.meta.uid;
    if !volume.spec.claim_ref.as_ref().is_some_and(knows) {
        let annotations = json!({BOUND_BY_CONTROLLER: "yes"});
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"claimRef": reference(claim)}});
        let target = Target::of(&Resource::PERSISTENT_VOLUMES, &volume.meta);
        return actions.push(Action::Update { target, patch });
    }
    let annotations = json!({BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"});
    let patch =
        json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.meta.name}});
    let target = Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, &claim.meta);
    actions.push(Action::Update { target, patch });
}

fn reference(claim: &ClaimView) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.meta.namespace,
        "name": claim.meta.name, "uid": claim.meta.uid,
    })
}

fn report_bound(claim: &ClaimView, volume: Option<&VolumeView>, actions: &mut Vec<Action>) {
    let target = || Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, &claim.meta);
    let Some(volume) = volume.filter(|volume| volume.is_for(claim)) else {
        if &*claim.status.phase != "Lost" {
            let patch = json!({"status": {"phase": "Lost"}});
            actions.push(Action::UpdateStatus { target: target(), patch });
            let message = "Bound claim has lost its PersistentVolume. Any data on this volume is \
                           lost!";
            let of = (target(), "PersistentVolumeClaim");
            actions.push(event(of, EventKind::Warning, "ClaimLost", message.to_owned()));
        }
        return;
    };
    if &*claim.status.phase != "Bound" {
        let capacity = json!({"storage": volume.spec.capacity.storage});
        let modes = &volume.spec.access_modes;
        let status = json!({"phase": "Bound", "capacity": capacity, "accessModes": modes});
        let patch = json!({"status": status});
        actions.push(Action::UpdateStatus { target: target(), patch });
    }
}

/// The name of the volume that is made for a claim.
fn volume_name(claim: &ClaimView) -> String {
    format!("pvc-{}", claim.meta.uid)
}

/// Makes a volume on the node that was chosen, or says what the claim waits for.
fn provision(snapshot: &Snapshot, claim: &ClaimView, actions: &mut Vec<Action>) {
    let Some(class) = class_of(snapshot, claim) else { return };
    let target = || Target::of(&Resource::PERSISTENT_VOLUME_CLAIMS, &claim.meta);
    let of = || (target(), "PersistentVolumeClaim");
    let Some(name) = claim.selected_node() else {
        if class.waits() && &*claim.status.phase == "Pending" {
            let message = "waiting for first consumer to be created before binding";
            let kind = EventKind::Normal;
            actions.push(event(of(), kind, "WaitForFirstConsumer", message.to_owned()));
        }
        return;
    };
    if &*class.provisioner != LOCAL_PATH {
        return;
    }
    let Some(node) = snapshot.node(name) else {
        // Another node has to be chosen.
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
        return actions.push(Action::Update { target: target(), patch });
    };
    if let Some(why) = impossible(claim) {
        let message =
            format!("failed to provision volume with StorageClass \"{}\": {why}", class.meta.name);
        return actions.push(event(of(), EventKind::Warning, "ProvisioningFailed", message));
    }
    actions.push(Action::Create {
        resource: Resource::PERSISTENT_VOLUMES,
        namespace: Arc::default(),
        object: local_volume(claim, class, node),
    });
    let message = format!("Successfully provisioned volume {}", volume_name(claim));
    actions.push(event(of(), EventKind::Normal, "ProvisioningSucceeded", message));
}

/// Why a folder will not do.
fn impossible(claim: &ClaimView) -> Option<&'static str> {
    let alone = |mode: &Arc<str>| matches!(&**mode, "ReadWriteOnce" | "ReadWriteOncePod");
    if &*claim.spec.volume_mode == "Block" {
        Some("a folder of a node is no block device")
    } else if !claim.spec.access_modes.iter().all(alone) {
        Some("a folder of a node can be had with ReadWriteOnce or ReadWriteOncePod only")
    } else if claim.spec.selector.is_some() {
        Some("claim.Spec.Selector is not supported")
    } else {
        None
    }
}

fn local_volume(claim: &ClaimView, class: &ClassView, node: &NodeView) -> Value {
    let name = volume_name(claim);
    let host = node.meta.labels.get(HOSTNAME_LABEL).unwrap_or(&node.meta.name);
    let requirement = json!({"key": HOSTNAME_LABEL, "operator": "In", "values": [host]});
    let terms = json!([{"matchExpressions": [requirement]}]);
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name, "annotations": {PROVISIONED_BY: LOCAL_PATH},
            "finalizers": [VOLUME_PROTECTION],
        },
        "spec": {
            "capacity": {"storage": claim.spec.resources.requests.storage},
            "accessModes": claim.spec.access_modes, "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class.reclaim_policy,
            "storageClassName": class.meta.name, "claimRef": reference(claim),
            "hostPath": {"path": format!("{LOCAL_FOLDER}/{name}"), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    })
}

fn event(
    (involved, involved_kind): (Target, &'static str),
    kind: EventKind,
    reason: &'static str,
    message: String,
) -> Action {
    Action::Event { involved, involved_kind, kind, reason, message, component: COMPONENT }
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::*;
    use crate::action::Propagation;

    const CLAIM: &str = "/core/persistentvolumeclaims/d/data";

    fn put_claim(model: &mut Model, spec: Value, annotations: Value) {
        let mut whole = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c",
            "resources": {"requests": {"storage": "1Gi"}}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let metadata = json!({"uid": "u1", "annotations": annotations});
        model.put(CLAIM, json!({"metadata": metadata, "spec": whole}));
    }

    fn put_volume(model: &mut Model, name: &str, size: &str, more: Value) {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c",
            "capacity": {"storage": size}, "persistentVolumeReclaimPolicy": "Retain"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        model.put(
            &format!("/core/persistentvolumes/_/{name}"),
            json!({"metadata": {"uid": name}, "spec": spec}),
        );
    }

    fn put_class(model: &mut Model, provisioner: &str, mode: &str) {
        let class = json!({"metadata": {"uid": "c"}, "provisioner": provisioner,
            "volumeBindingMode": mode, "reclaimPolicy": "Retain"});
        model.put("/storage.k8s.io/storageclasses/_/c", class);
    }

    fn settle(model: &mut Model) {
        // What a claim waits for is said whenever it is looked at.
        model.settle(|snapshot| {
            let all = reconcile(snapshot).actions.into_iter();
            all.filter(|action| {
                !matches!(
                    action,
                    Action::Event { reason: "WaitForFirstConsumer" | "ProvisioningFailed", .. }
                )
            })
            .collect()
        });
    }

    fn claim(model: &Model) -> (String, String) {
        let claim = model.snapshot().storage().claims.values().next().unwrap();
        (claim.spec.volume_name.to_string(), claim.status.phase.to_string())
    }

    fn phase(model: &Model, name: &str) -> String {
        let key = ObjectKey::new("", name);
        model.snapshot().storage().volumes.get(&key).unwrap().status.phase.to_string()
    }

    fn bound(name: &str) -> (String, String) {
        (name.to_owned(), "Bound".to_owned())
    }

    #[test]
    fn a_claim_gets_the_smallest_volume_that_will_do() {
        let mut model = Model::new();
        put_volume(&mut model, "small", "500Mi", json!({}));
        put_volume(&mut model, "large", "3Gi", json!({}));
        put_volume(&mut model, "right", "2Gi", json!({}));
        put_volume(&mut model, "other", "1Gi", json!({"storageClassName": "x"}));
        put_volume(&mut model, "block", "1Gi", json!({"volumeMode": "Block"}));
        put_claim(&mut model, json!({}), json!({}));
        settle(&mut model);
        assert_eq!((claim(&model), phase(&model, "right")), (bound("right"), "Bound".to_owned()));
        assert_eq!(phase(&model, "large"), "Available");
    }

    #[test]
    fn a_volume_or_claim_that_names_the_other_gets_it() {
        let mut model = Model::new();
        put_volume(&mut model, "a", "1Gi", json!({}));
        put_volume(&mut model, "b", "9Gi", json!({"claimRef": {"namespace": "d", "name": "data"}}));
        put_claim(&mut model, json!({}), json!({}));
        settle(&mut model);
        assert_eq!(claim(&model), bound("b"));
        let mut model = Model::new();
        put_volume(&mut model, "a", "1Gi", json!({}));
        put_volume(&mut model, "b", "2Gi", json!({}));
        put_claim(&mut model, json!({"volumeName": "b"}), json!({}));
        settle(&mut model);
        assert_eq!((claim(&model), phase(&model, "b")), (bound("b"), "Bound".to_owned()));
    }

    #[test]
    fn what_is_not_there_is_waited_for() {
        let mut model = Model::new();
        put_volume(
            &mut model,
            "a",
            "1Gi",
            json!({"claimRef": {"namespace": "d", "name": "x", "uid": "x"}}),
        );
        put_claim(&mut model, json!({}), json!({}));
        settle(&mut model);
        assert_eq!(claim(&model), (String::new(), "Pending".to_owned()));
    }

    #[test]
    fn a_class_that_waits_gets_a_folder_on_the_chosen_node() {
        let mut model = Model::new();
        put_class(&mut model, LOCAL_PATH, "WaitForFirstConsumer");
        put_volume(
            &mut model,
            "elsewhere",
            "1Gi",
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}),
        );
        model.put(
            "/core/nodes/_/pi-1",
            json!({"metadata": {"uid": "n", "labels": {HOSTNAME_LABEL: "pi-1"}}}),
        );
        put_claim(&mut model, json!({}), json!({}));
        settle(&mut model);
        assert_eq!(claim(&model), (String::new(), "Pending".to_owned()));
        put_claim(&mut model, json!({}), json!({SELECTED_NODE: "pi-1"}));
        settle(&mut model);
        assert_eq!((claim(&model), phase(&model, "pvc-u1")), (bound("pvc-u1"), "Bound".to_owned()));
        let node = model.snapshot().node("pi-1").unwrap().meta.clone();
        let storage = model.snapshot().storage();
        let volume = storage.volumes.get(&ObjectKey::new("", "pvc-u1")).unwrap();
        assert!(volume.reachable_from(&node));
        assert!(!volume.reachable_from(&Meta::default()));
    }

    #[test]
    fn a_node_that_is_gone_is_chosen_anew() {
        let mut model = Model::new();
        put_class(&mut model, LOCAL_PATH, "WaitForFirstConsumer");
        put_claim(&mut model, json!({}), json!({SELECTED_NODE: "gone"}));
        settle(&mut model);
        let claim = model.snapshot().storage().claims.values().next().unwrap();
        assert_eq!(claim.selected_node(), None);
    }

    #[test]
    fn a_claim_stays_while_a_pod_uses_it_and_its_volume_is_kept() {
        let mut model = Model::new();
        put_volume(&mut model, "a", "1Gi", json!({}));
        put_claim(&mut model, json!({}), json!({}));
        let volume = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
        model.put(
            "/core/pods/d/web",
            json!({"metadata": {}, "spec": {"nodeName": "n", "volumes": volume}}),
        );
        settle(&mut model);
        model.delete_as_client(CLAIM, Propagation::Background);
        settle(&mut model);
        assert_eq!(model.snapshot().storage().claims.len(), 1, "the pod still uses it");
        model.remove("/core/pods/d/web");
        settle(&mut model);
        assert_eq!(model.snapshot().storage().claims.len(), 0);
        assert_eq!(phase(&model, "a"), "Released");
    }

    #[test]
    fn a_claim_whose_volume_went_is_lost() {
        let mut model = Model::new();
        let bound = json!({BIND_COMPLETED: "yes"});
        put_claim(&mut model, json!({"volumeName": "gone"}), bound);
        settle(&mut model);
        assert_eq!(claim(&model).1, "Lost");
    }
}
