//! Rolls pod templates out: one replica set per template, scaled up and down step by step.
//!
//! Knows pods only to count them; replica sets make and delete them. A roll back is nothing
//! special: it is a template that a set of the history has already.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Outcome;
use super::rollout::{normalized, template_hash};
use crate::action::{Action, EventKind, Propagation, Target};
use crate::snapshot::{Snapshot, in_namespace};
use crate::view::deployment::DeploymentView;
use crate::view::meta::OwnerReference;
use crate::view::replica_set::ReplicaSetView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

mod rolling;
mod scaling;
mod status;

/// The label that tells a deployment's replica sets, and their pods, apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation that numbers the roll-outs.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// The annotations that a set has of its own.
const OWN: [&str; 3] = [REVISION, DESIRED_REPLICAS, MAX_REPLICAS];
const COMPONENT: &str = "deployment-controller";

/// One of a deployment's replica sets, with its pods counted and its size planned.
#[derive(Clone, Debug)]
struct OwnedSet<'a> {
    set: &'a ReplicaSetView,
    /// What `spec.replicas` should become.
    replicas: i32,
    /// Active pods.
    pods: i32,
    ready: i32,
    available: i32,
    /// Pods that are being deleted and have not ended.
    terminating: i32,
    /// Whether any pod has not ended, even if it is being deleted.
    running: bool,
}

impl OwnedSet<'_> {
    fn revision(&self) -> i64 {
        let revision = self.set.meta.annotations.get(REVISION);
        revision.and_then(|revision| revision.parse().ok()).unwrap_or_default()
    }
}

/// All replica sets of one deployment.
#[derive(Debug)]
struct Owned<'a> {
    /// The set of the present template.
    new: Option<OwnedSet<'a>>,
    /// The others, oldest first.
    old: Vec<OwnedSet<'a>>,
}

impl<'a> Owned<'a> {
    fn all(&self) -> impl Iterator<Item = &OwnedSet<'a>> {
        self.old.iter().chain(&self.new)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut OwnedSet<'a>> {
        self.old.iter_mut().chain(&mut self.new)
    }

    fn replicas(&self) -> i32 {
        self.all().map(|set| set.replicas).sum()
    }
}

/// Compares wanted with present for every deployment and returns the difference.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for deployment in snapshot.deployments().values() {
            outcome.merge(reconcile_one(snapshot, deployment, now));
        }
    }
    outcome
}

/// Compares wanted with present for one deployment.
#[must_use]
pub fn reconcile_one(snapshot: &Snapshot, deployment: &DeploymentView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if deployment.meta.deleting() {
        return outcome;
    }
    let template = normalized(&deployment.spec.template.to_value());
    adopt(snapshot, deployment, &mut outcome);
    if !outcome.actions.is_empty() {
        // Sets that are taken over count, with their pods and revisions, before anything is made.
        return outcome;
    }
    let mut owned = owned_sets(snapshot, deployment, &template, now);
    let revision = owned.old.iter().map(OwnedSet::revision).max().unwrap_or_default() + 1;
    let mut created = None;

    let spec = &deployment.spec;
    let scaled = owned.all().any(|owned| {
        let desired = owned.set.meta.annotations.get(DESIRED_REPLICAS);
        let desired = desired.and_then(|desired| desired.parse::<i32>().ok());
        owned.set.spec.replicas() > 0 && desired.is_some_and(|desired| desired != spec.replicas())
    });
    if spec.paused || scaled {
        scaling::scale(deployment, &mut owned);
    } else if spec.recreate() {
        owned.old.iter_mut().for_each(|set| set.replicas = 0);
        if !owned.old.iter().any(|set| set.running) {
            match &mut owned.new {
                Some(new) => new.replicas = spec.replicas(),
                None => created = Some(spec.replicas()),
            }
        }
    } else {
        match &mut owned.new {
            Some(_) => rolling::plan(deployment, &mut owned),
            None => created = Some(rolling::first_size(deployment, owned.replicas())),
        }
    }
    if successor_must_wait(snapshot, deployment, &template) {
        created = None;
    }
    let mut new_name = owned.new.as_ref().map(|new| Arc::clone(&new.set.meta.name));
    let mut collided = false;
    if let Some(replicas) = created {
        let name = set_name(deployment, &template);
        let key = ObjectKey::new(&deployment.meta.namespace, &name);
        collided = snapshot.replica_sets().contains_key(&key);
        if !collided {
            let object = new_set(deployment, &name, replicas, revision);
            let namespace = Arc::clone(&deployment.meta.namespace);
            outcome.actions.push(Action::Create {
                resource: Resource::REPLICA_SETS,
                namespace,
                object,
            });
            let message = format!("Scaled up replica set {name} from 0 to {replicas}");
            outcome.actions.push(event(deployment, message));
            new_name = Some(Arc::from(name));
        }
    }
    resize(deployment, &owned, revision, &mut outcome);
    if let Some(new) = &owned.new {
        annotate(deployment, &revision.max(new.revision()).to_string(), &mut outcome);
    } else if created.is_some() && !collided {
        annotate(deployment, &revision.to_string(), &mut outcome);
    }
    let complete = status::report(
        deployment,
        &owned,
        &status::Happened { collided, new_name },
        now,
        &mut outcome,
    );
    if complete || spec.paused {
        clean_up(deployment, &owned, &mut outcome);
    }
    outcome
}

/// Whether the deployment's own set of this template is still on its way out. Its successor of the
/// same name takes over the pods that an orphaning deletion leaves.
fn successor_must_wait(snapshot: &Snapshot, deployment: &DeploymentView, template: &Value) -> bool {
    let key = ObjectKey::new(&deployment.meta.namespace, &set_name(deployment, template));
    snapshot.replica_sets().get(&key).is_some_and(|set| {
        let own = set.meta.controller().is_some_and(|owner| owner.uid == deployment.meta.uid);
        own && set.meta.deleting()
    })
}

/// Takes replica sets without a controller that the selector selects.
fn adopt(snapshot: &Snapshot, deployment: &DeploymentView, outcome: &mut Outcome) {
    let orphans = in_namespace(snapshot.replica_sets(), &deployment.meta.namespace).filter(|set| {
        set.meta.controller().is_none()
            && !set.meta.deleting()
            && deployment.spec.selector.selects(&set.meta.labels)
    });
    for set in orphans {
        let mut owner_references = set.meta.owner_references.clone();
        owner_references.retain(|owner| owner.uid != deployment.meta.uid);
        owner_references.push(owner_reference(deployment));
        let target = Target::of(&Resource::REPLICA_SETS, &set.meta);
        outcome.actions.push(Action::SetOwnerReferences { target, owner_references });
    }
}

fn owner_reference(deployment: &DeploymentView) -> OwnerReference {
    OwnerReference {
        api_version: Arc::from("apps/v1"),
        kind: Arc::from("Deployment"),
        name: Arc::clone(&deployment.meta.name),
        uid: Arc::clone(&deployment.meta.uid),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn owned_sets<'a>(
    snapshot: &'a Snapshot,
    deployment: &DeploymentView,
    template: &Value,
    now: Timestamp,
) -> Owned<'a> {
    let mut owned = Owned { new: None, old: Vec::new() };
    let mut sets: Vec<&Arc<ReplicaSetView>> =
        snapshot.replica_sets_controlled_by(&deployment.meta.uid).collect();
    sets.sort_by_key(|set| (set.meta.creation_timestamp, set.meta.name.clone()));
    for set in sets.into_iter().filter(|set| !set.meta.deleting()) {
        let mut counted = OwnedSet {
            set,
            replicas: set.spec.replicas(),
            pods: 0,
            ready: 0,
            available: 0,
            terminating: 0,
            running: false,
        };
        for pod in snapshot.pods_controlled_by(&set.meta.uid) {
            counted.running |= !pod.terminated();
            counted.terminating += i32::from(pod.terminating());
            counted.pods += i32::from(pod.active());
            counted.ready += i32::from(pod.active() && pod.ready());
            // By the set's own measure: one that is taken over may have had another.
            let available = pod.available(set.spec.min_ready_seconds, now);
            counted.available += i32::from(pod.active() && available);
        }
        let same = owned.new.is_none() && normalized(&set.spec.template.to_value()) == *template;
        if same {
            owned.new = Some(counted);
        } else {
            owned.old.push(counted);
        }
    }
    owned
}

fn set_name(deployment: &DeploymentView, template: &Value) -> String {
    let collisions = deployment.status.collision_count.unwrap_or_default();
    format!("{}-{}", deployment.meta.name, template_hash(template, collisions))
}

/// The replica set of the present template.
fn new_set(deployment: &DeploymentView, name: &str, replicas: i32, revision: i64) -> Value {
    let hash = name.rsplit('-').next().unwrap_or_default();
    let mut template = deployment.spec.template.to_value();
    set_label(&mut template, "/metadata", hash);
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_default();
    let requirements: Vec<Value> = deployment
        .spec
        .selector
        .match_expressions
        .iter()
        .map(|it| {
            let operator = format!("{:?}", it.operator);
            json!({"key": it.key, "operator": operator, "values": it.values})
        })
        .collect();
    let match_labels = deployment.spec.selector.match_labels.with(TEMPLATE_HASH, hash);
    let mut selector = json!({"matchLabels": match_labels});
    if let (false, Some(selector)) = (requirements.is_empty(), selector.as_object_mut()) {
        selector.insert("matchExpressions".to_owned(), json!(requirements));
    }
    let annotations = deployment
        .meta
        .annotations
        .with(REVISION, &revision.to_string())
        .with(DESIRED_REPLICAS, &deployment.spec.replicas().to_string())
        .with(MAX_REPLICAS, &size_max(deployment).to_string());
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment.meta.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    })
}

fn set_label(template: &mut Value, at: &str, hash: &str) {
    if !template.is_object() {
        *template = json!({});
    }
    if template.pointer(at).is_none_or(|metadata| !metadata.is_object())
        && let Some(template) = template.as_object_mut()
    {
        template.insert("metadata".to_owned(), json!({}));
    }
    let metadata = template.pointer_mut(at).and_then(Value::as_object_mut);
    let labels = metadata.map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.insert(TEMPLATE_HASH.to_owned(), json!(hash));
    }
}

/// Most pods at any time.
fn size_max(deployment: &DeploymentView) -> i32 {
    deployment.spec.replicas().saturating_add(deployment.spec.max_surge())
}

/// Writes the planned sizes and the annotations that go with them.
fn resize(deployment: &DeploymentView, owned: &Owned<'_>, revision: i64, outcome: &mut Outcome) {
    let desired = deployment.spec.replicas().to_string();
    let most = size_max(deployment).to_string();
    let new_name = owned.new.as_ref().map(|new| &new.set.meta.name);
    for planned in owned.all() {
        let meta = &planned.set.meta;
        let before = planned.set.spec.replicas();
        let after = planned.replicas.max(0);
        let newest = Some(&meta.name) == new_name;
        let mut patch = json!({});
        let mut annotations = serde_json::Map::new();
        if before != after {
            patch = json!({"spec": {"replicas": after}});
        }
        // Sets without pods keep what they had: it says nothing about a scaling that is under way.
        if before > 0 || after > 0 || newest {
            for (key, value) in [(DESIRED_REPLICAS, &desired), (MAX_REPLICAS, &most)] {
                if meta.annotations.get(key) != Some(value) {
                    annotations.insert(key.to_owned(), json!(value));
                }
            }
        }
        if newest && planned.revision() < revision {
            annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
        }
        if newest {
            // Such as the cause of a change, which is told with a revision.
            let own = deployment.meta.annotations.iter().filter(|(key, _)| !OWN.contains(key));
            let differs = own.filter(|(key, value)| meta.annotations.get(key) != Some(*value));
            annotations.extend(differs.map(|(key, value)| (key.to_owned(), json!(value))));
        }
        if newest && planned.set.spec.min_ready_seconds != deployment.spec.min_ready_seconds {
            merge_spec(&mut patch, "minReadySeconds", json!(deployment.spec.min_ready_seconds));
        }
        if let (false, Some(patch)) = (annotations.is_empty(), patch.as_object_mut()) {
            patch.insert("metadata".to_owned(), json!({"annotations": annotations}));
        }
        if patch.as_object().is_some_and(serde_json::Map::is_empty) {
            continue;
        }
        let target = Target::of(&Resource::REPLICA_SETS, meta);
        outcome.actions.push(Action::Update { target, patch });
        if before != after {
            let direction = if after > before { "up" } else { "down" };
            let name = &meta.name;
            let message = format!("Scaled {direction} replica set {name} from {before} to {after}");
            outcome.actions.push(event(deployment, message));
        }
    }
}

fn merge_spec(patch: &mut Value, field: &str, value: Value) {
    let spec = patch.as_object_mut().map(|it| it.entry("spec").or_insert_with(|| json!({})));
    if let Some(spec) = spec.and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), value);
    }
}

/// Shows the present revision on the deployment itself.
fn annotate(deployment: &DeploymentView, revision: &str, outcome: &mut Outcome) {
    if deployment.meta.annotations.get(REVISION) != Some(revision) {
        let target = Target::of(&Resource::DEPLOYMENTS, &deployment.meta);
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        outcome.actions.push(Action::Update { target, patch });
    }
}

/// Deletes the oldest empty sets beyond the history limit.
fn clean_up(deployment: &DeploymentView, owned: &Owned<'_>, outcome: &mut Outcome) {
    let limit = deployment.spec.revision_history_limit.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or_default();
    let empty = |set: &&OwnedSet<'_>| {
        set.set.spec.replicas() == 0 && set.pods == 0 && set.set.status.replicas == 0
    };
    let mut history: Vec<&OwnedSet<'_>> = owned.old.iter().filter(empty).collect();
    history.sort_by_key(|set| set.revision());
    let surplus = owned.old.len().saturating_sub(limit);
    for set in history.into_iter().take(surplus) {
        outcome.actions.push(Action::Delete {
            target: Target::of(&Resource::REPLICA_SETS, &set.set.meta),
            grace_seconds: None,
            propagation: Some(Propagation::Background),
        });
    }
}

fn event(deployment: &DeploymentView, message: String) -> Action {
    Action::Event {
        involved: Target::of(&Resource::DEPLOYMENTS, &deployment.meta),
        involved_kind: "Deployment",
        kind: EventKind::Normal,
        reason: "ScalingReplicaSet",
        message,
        component: COMPONENT,
    }
}

#[cfg(test)]
mod tests;
