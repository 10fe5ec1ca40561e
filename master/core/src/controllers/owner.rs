//! What all controllers of pods share: owner references, adoption and release, pods from a
//! template, events, and a status that is written when it says something else.
//!
//! Knows no kind by its name: a controller says who it is.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Outcome;
use crate::action::{Action, EventKind, Target};
use crate::snapshot::Snapshot;
use crate::view::meta::{Meta, OwnerReference};
use crate::view::pod::PodView;
use crate::view::resource::Resource;
use crate::view::selector::LabelSelector;

/// An object that controls others, and the controller that acts for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) resource: &'a Resource,
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) component: &'static str,
    pub(super) meta: &'a Meta,
}

impl<'a> Owner<'a> {
    /// The reference of what it controls.
    pub(super) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: Arc::from(self.api_version),
            kind: Arc::from(self.kind),
            name: Arc::clone(&self.meta.name),
            uid: Arc::clone(&self.meta.uid),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// The object itself, as it was read.
    pub(super) fn target(&self) -> Target {
        Target::of(self.resource, self.meta)
    }

    /// An event about it.
    pub(super) fn event(&self, kind: EventKind, reason: &'static str, message: String) -> Action {
        Action::Event {
            involved: self.target(),
            involved_kind: self.kind,
            kind,
            reason,
            message,
            component: self.component,
        }
    }

    /// Its pods. Those that the selector selects no more are released, and those without a
    /// controller that it selects are adopted by what `adopt` returns, if anything; they count from
    /// the next run on.
    pub(super) fn claim_pods<'s>(
        &self,
        snapshot: &'s Snapshot,
        selector: &LabelSelector,
        adopt: impl Fn(&PodView) -> Option<Action>,
        outcome: &mut Outcome,
    ) -> Vec<&'s Arc<PodView>> {
        let mut owned = Vec::new();
        for pod in snapshot.pods_controlled_by(&self.meta.uid) {
            if selector.selects(&pod.meta.labels) {
                owned.push(pod);
            } else if !pod.meta.deleting() && !self.meta.deleting() {
                outcome.actions.push(self.release(&Resource::PODS, &pod.meta));
            }
        }
        if !self.meta.deleting() {
            let orphans = snapshot.pods_in(&self.meta.namespace).filter(|pod| {
                pod.meta.controller().is_none()
                    && !pod.meta.deleting()
                    && selector.selects(&pod.meta.labels)
            });
            outcome.actions.extend(orphans.filter_map(|pod| adopt(pod)));
        }
        owned
    }

    /// Takes what has no controller.
    pub(super) fn adopt(&self, resource: &Resource, meta: &Meta) -> Action {
        let mut owner_references = meta.owner_references.clone();
        owner_references.retain(|owner| owner.uid != self.meta.uid);
        owner_references.push(self.reference());
        Action::SetOwnerReferences { target: Target::of(resource, meta), owner_references }
    }

    /// Lets go of what is its own no more.
    pub(super) fn release(&self, resource: &Resource, meta: &Meta) -> Action {
        let others = meta.owner_references.iter().filter(|owner| owner.uid != self.meta.uid);
        let owner_references = others.cloned().collect();
        Action::SetOwnerReferences { target: Target::of(resource, meta), owner_references }
    }

    /// A pod made from a template, under this name.
    pub(super) fn pod(&self, template: &Value, name: &str) -> Value {
        let mut metadata = Map::new();
        for field in ["labels", "annotations", "finalizers"] {
            let copied = template.pointer(&format!("/metadata/{field}"));
            if let Some(value) = copied.filter(|value| !value.is_null()) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
        metadata.insert("name".to_owned(), json!(name));
        metadata.insert("namespace".to_owned(), json!(self.meta.namespace));
        metadata.insert("ownerReferences".to_owned(), json!([self.reference()]));
        let spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    /// Creates an object in its namespace.
    pub(super) fn create(&self, resource: Resource, object: Value) -> Action {
        Action::Create { resource, namespace: Arc::clone(&self.meta.namespace), object }
    }

    /// Writes the status if it differs from the present one; `null` stands for an absent field.
    pub(super) fn report(&self, present: &Value, wanted: Value) -> Option<Action> {
        let fields = wanted.as_object().into_iter().flatten();
        let mut fields = fields.map(|(field, value)| (present.get(field), value));
        if fields.all(|(present, wanted)| plain(present.unwrap_or(&Value::Null)) == plain(wanted)) {
            return None;
        }
        let patch = json!({"status": wanted});
        Some(Action::UpdateStatus { target: self.target(), patch })
    }
}

/// A value without what is absent: nulls, and objects that hold nothing else.
fn plain(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let fields: Map<String, Value> = fields
        .iter()
        .map(|(field, value)| (field.clone(), plain(value)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}

/// Deletes a pod as a user would, with the pod's own grace.
pub(super) fn delete_pod(pod: &PodView) -> Action {
    Action::Delete {
        target: Target::of(&Resource::PODS, &pod.meta),
        grace_seconds: None,
        propagation: None,
    }
}

/// Sets a label or another field of a pod's metadata.
pub(super) fn set_metadata(object: &mut Value, map: &str, key: &str, value: &str) {
    set(object, &["metadata", map], key, json!(value));
}

/// Sets a field of an object's part, whose way is made if it is not there.
pub(super) fn set(object: &mut Value, way: &[&str], key: &str, value: Value) {
    let mut part = object;
    for step in way {
        if !part.is_object() {
            *part = json!({});
        }
        let Some(fields) = part.as_object_mut() else { return };
        part = fields.entry((*step).to_owned()).or_insert_with(|| json!({}));
    }
    if !part.is_object() {
        *part = json!({});
    }
    if let Some(fields) = part.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// A count as the API writes it where none is written as absence.
pub(super) fn or_absent(count: usize) -> Value {
    if count == 0 { Value::Null } else { json!(count) }
}
