//! A tiny object service for tests: applies actions to JSON objects as the API server would.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lanes::{LANES, Lanes};
use super::{World, reconcile};
use crate::action::{Action, Propagation, Target};
use crate::membership::Contacts;
use crate::snapshot::Snapshot;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// The time at which tests run, 2001-09-09.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000_000_000);

/// The CA's certificate in tests.
pub(crate) const CA: &str = "the CA";

/// Most runs until nothing may be left to do.
const ROUNDS_MAX: usize = 60;

#[derive(Debug)]
pub(crate) struct Model {
    objects: BTreeMap<String, Value>,
    snapshot: Snapshot,
    pub(crate) lanes: Lanes,
    revision: u64,
    pub(crate) events: Vec<String>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut snapshot = Snapshot::new();
        snapshot.synced = true;
        let lanes = Lanes::default();
        Self { objects: BTreeMap::new(), snapshot, lanes, revision: 0, events: Vec::new() }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Resources and keys of all objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (Resource, String)> {
        self.objects
            .keys()
            .map(|key| (ObjectId::from_store_key(key).unwrap().resource, key.clone()))
    }

    pub(crate) fn get(&self, key: &str) -> Value {
        self.objects.get(key).cloned().unwrap_or_default()
    }

    /// Creates or replaces an object; status and uid of an existing one stay.
    pub(crate) fn put(&mut self, key: &str, mut object: Value) {
        self.revision += 1;
        let id = ObjectId::from_store_key(key).unwrap();
        let uid = format!("uid-{}", self.revision);
        let old = self.objects.get(key).cloned().unwrap_or_default();
        let metadata =
            object.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        metadata["name"] = json!(id.key.name);
        if !id.key.namespace.is_empty() {
            metadata["namespace"] = json!(id.key.namespace);
        }
        let old_uid = old["metadata"].get("uid").cloned();
        let metadata = metadata.as_object_mut().unwrap();
        metadata.entry("uid").or_insert_with(|| old_uid.unwrap_or_else(|| json!(uid)));
        metadata.entry("creationTimestamp").or_insert_with(|| json!(NOW));
        let old_generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        if old["spec"] != object["spec"] {
            object["metadata"]["generation"] = json!(old_generation + 1);
        } else {
            object["metadata"]["generation"] = json!(old_generation);
        }
        if object.get("status").is_none() && old.get("status").is_some() {
            object["status"] = old["status"].clone();
        }
        let bytes = serde_json::to_vec(&object).unwrap();
        self.lanes.apply(&mut self.snapshot, key, Some(&bytes), self.revision).unwrap();
        self.objects.insert(key.to_owned(), object);
    }

    pub(crate) fn merge(&mut self, key: &str, patch: &Value) {
        let mut object = self.get(key);
        merge(&mut object, patch);
        self.put(key, object);
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.revision += 1;
        self.objects.remove(key);
        self.lanes.apply(&mut self.snapshot, key, None, self.revision).unwrap();
    }

    pub(crate) fn make_ready(&mut self, key: &str, node: &str) {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": NOW});
        let status = json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [ready]});
        self.merge(key, &json!({"spec": {"nodeName": node}, "status": status}));
    }

    /// Runs a controller until it wants nothing; fails if that never happens.
    pub(crate) fn settle(&mut self, mut reconcile: impl FnMut(&Snapshot) -> Vec<Action>) {
        for _ in 0..ROUNDS_MAX {
            let actions = reconcile(&self.snapshot);
            if actions.is_empty() {
                return;
            }
            self.execute(actions);
        }
        panic!("not settled: {:#?}", reconcile(&self.snapshot));
    }

    /// Lets controllers and agents act until both are content. The `lost`-th action, if there are
    /// so many, is never carried out, nor is what would be told of it. Returns how many there were.
    pub(crate) fn live(
        &mut self,
        lost: Option<usize>,
        mut reconcile: impl FnMut(&Snapshot) -> Vec<Action>,
    ) -> usize {
        let mut count = 0;
        for _ in 0..20 * ROUNDS_MAX {
            let actions = reconcile(&self.snapshot);
            let idle = actions.is_empty();
            let mut kept = Vec::new();
            let mut told = true;
            for action in actions {
                if action.tells() {
                    kept.extend(told.then_some(action));
                    continue;
                }
                told = Some(count) != lost;
                count += 1;
                kept.extend(told.then_some(action));
            }
            self.execute(kept);
            if !self.play_agents() && idle {
                return count;
            }
        }
        panic!("never content: {:#?}", reconcile(&self.snapshot));
    }

    /// Agents and scheduler: one pod after the other becomes ready, and what is going goes.
    pub(crate) fn play_agents(&mut self) -> bool {
        let pods = self.snapshot.pods().clone();
        let key = |key: &ObjectKey| format!("/core/pods/{}/{}", key.namespace, key.name);
        let mut played = false;
        for (id, _) in
            pods.iter().filter(|(_, pod)| pod.meta.deleting() && pod.meta.finalizers.is_empty())
        {
            self.remove(&key(id));
            played = true;
        }
        let pending = pods.iter().find(|(_, pod)| pod.active() && !pod.ready());
        let Some((id, pod)) = pending else { return played };
        let named = crate::scheduler::plugins::node_affinity::required_names(pod);
        let node = named.and_then(|names| names.first().cloned()).unwrap_or_else(|| "n1".into());
        self.make_ready(&key(id), &node);
        true
    }

    /// Runs all lanes until none has anything to look at; fails if that never happens.
    pub(crate) fn settle_lanes(&mut self, contacts: &Contacts) {
        let mut last = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.lanes.note_contacts(&self.snapshot, contacts);
            let mut quiet = true;
            last.clear();
            for lane in LANES {
                let power = BTreeMap::new();
                let world = World {
                    snapshot: &self.snapshot,
                    contacts,
                    power: &power,
                    root_ca: CA,
                    now: NOW,
                };
                let run = self.lanes.run(lane, &world);
                quiet &= run.actions.is_empty();
                last.extend(run.actions.iter().map(|action| format!("{lane:?}: {action:?}")));
                if !self.execute(run.actions) {
                    // As the shell does.
                    self.lanes.note_failed(lane, run.keys, NOW);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("lanes never settle, the last round was {last:#?}");
    }

    /// What a pass over everything would still do.
    pub(crate) fn full_pass(&self, contacts: &Contacts) -> Vec<Action> {
        let (snapshot, power) = (&self.snapshot, BTreeMap::new());
        reconcile(&World { snapshot, contacts, power: &power, root_ca: CA, now: NOW }).actions
    }

    /// Applies actions in order. A resource version changed by an earlier action of the same list is
    /// a conflict, as it is for the shell. Returns whether there was none.
    pub(crate) fn execute(&mut self, actions: Vec<Action>) -> bool {
        let mut all_done = true;
        for action in actions {
            if let Some(target) = action.target()
                && !action.tells()
                && !self.current(target)
            {
                all_done = false;
                continue;
            }
            self.apply(action);
        }
        all_done
    }

    fn current(&self, target: &Target) -> bool {
        let id = ObjectId::from_store_key(&key_of(target)).unwrap();
        self.snapshot.meta(&id).is_some_and(|meta| {
            meta.uid == target.uid && meta.resource_version == target.resource_version
        })
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create { resource, namespace, object } => {
                let name = object["metadata"]["name"].as_str().unwrap();
                let key =
                    ObjectId { resource, key: ObjectKey::new(&namespace, name) }.to_store_key();
                if !self.objects.contains_key(&key) {
                    self.put(&key, object);
                }
            }
            Action::Update { target, patch } | Action::UpdateStatus { target, patch } => {
                self.merge(&key_of(&target), &patch);
            }
            Action::SetConditions { target, conditions } => {
                let key = key_of(&target);
                let present = self.get(&key)["status"]["conditions"].as_array().cloned();
                let mut merged = present.unwrap_or_default();
                for condition in conditions {
                    merged.retain(|present| present["type"] != json!(condition.kind));
                    merged.push(json!(condition));
                }
                self.merge(&key, &json!({"status": {"conditions": merged}}));
            }
            Action::Delete { target, grace_seconds, propagation } => {
                self.delete(&target, grace_seconds, propagation);
            }
            Action::Evict { target, .. } => self.delete(&target, None, None),
            Action::Bind { target, node, .. } => {
                self.merge(&key_of(&target), &json!({"spec": {"nodeName": node}}));
            }
            // Nothing fails here.
            Action::RecountQuota { .. } | Action::ConditionIfFailed { .. } => {}
            Action::Nominate { target, node, .. } => {
                let patch = json!({"status": {"nominatedNodeName": node}});
                self.merge(&key_of(&target), &patch);
            }
            Action::Event { reason, message, .. } => {
                self.events.push(format!("{reason}: {message}"))
            }
            Action::SetNodeTaints { target, taints } => {
                self.merge(&key_of(&target), &json!({"spec": {"taints": taints}}));
            }
            Action::ReplaceEndpointSlice { slice, .. } => {
                let name = &slice.metadata.name;
                let key =
                    format!("/discovery.k8s.io/endpointslices/{}/{name}", slice.metadata.namespace);
                self.put(&key, serde_json::to_value(&slice).unwrap());
            }
            Action::RemoveFinalizer { target, finalizer } => {
                self.remove_finalizer(&target, "metadata", &finalizer);
            }
            Action::FinalizeNamespace { target, finalizer } => {
                self.remove_finalizer(&target, "spec", &finalizer);
            }
            Action::SetOwnerReferences { target, owner_references } => {
                let patch = json!({"metadata": {"ownerReferences": owner_references}});
                self.merge(&key_of(&target), &patch);
            }
        }
    }

    /// Marks an object as deleted; one without finalizers goes at once. Pods on a node stay until
    /// their agent confirms, unless the grace is 0.
    fn delete(&mut self, target: &Target, grace: Option<i64>, propagation: Option<Propagation>) {
        let key = key_of(target);
        let mut object = self.get(&key);
        let mut finalizers =
            object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        match propagation {
            Some(Propagation::Foreground) => finalizers.push(json!("foregroundDeletion")),
            Some(Propagation::Orphan) => finalizers.push(json!("orphan")),
            Some(Propagation::Background) | None => {}
        }
        let on_node = target.resource == Resource::PODS
            && object["spec"]["nodeName"].is_string()
            && grace != Some(0);
        if finalizers.is_empty() && object["spec"].get("finalizers").is_none() && !on_node {
            self.remove(&key);
            return;
        }
        object["metadata"]["finalizers"] = json!(finalizers);
        object["metadata"]["deletionTimestamp"] = json!(NOW);
        if let Some(seconds) = grace {
            object["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
        }
        if target.resource == Resource::NAMESPACES {
            object["status"]["phase"] = json!("Terminating");
        }
        self.put(&key, object);
    }

    fn remove_finalizer(&mut self, target: &Target, part: &str, finalizer: &str) {
        let key = key_of(target);
        let mut object = self.get(&key);
        object[part]["finalizers"].as_array_mut().unwrap().retain(|present| *present != *finalizer);
        let left = |part: &str| object[part]["finalizers"].as_array().map_or(0, Vec::len);
        let deleted = object["metadata"].get("deletionTimestamp").is_some();
        // A pod on a node stays until its agent confirms.
        let on_node = target.resource == Resource::PODS && object["spec"]["nodeName"].is_string();
        if deleted && !on_node && left("metadata") + left("spec") == 0 {
            self.remove(&key);
        } else {
            self.put(&key, object);
        }
    }

    /// Deletes as a client does.
    pub(crate) fn delete_as_client(&mut self, key: &str, propagation: Propagation) {
        let id = ObjectId::from_store_key(key).unwrap();
        let target = Target::of(&id.resource, self.snapshot.meta(&id).unwrap());
        self.delete(&target, None, Some(propagation));
    }
}

fn key_of(target: &Target) -> String {
    let key = ObjectKey::new(&target.namespace, &target.name);
    ObjectId { resource: target.resource.clone(), key }.to_store_key()
}

/// A JSON merge patch.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}
