//! Empties namespaces that are being deleted, pods first, then lets them go.
//!
//! Pods may need what else is there until they have ended. Events tell of the end, so they go last,
//! and hold nothing up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use crate::action::{Action, Propagation, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::meta::Meta;
use crate::view::namespace::NamespaceView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// Most deletions of one run.
pub const DELETIONS_MAX: usize = 500;

/// The finalizer in `spec` that stands for this controller.
pub const FINALIZER: &str = "kubernetes";

/// Deletes the content of terminating namespaces and finalizes those that are empty.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    if !snapshot.synced {
        return Outcome::default();
    }
    reconcile_some(snapshot, snapshot.namespaces().values(), now)
}

/// As [`reconcile`], for one namespace.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    reconcile_some(snapshot, snapshot.namespaces().get(key).into_iter(), now)
}

fn reconcile_some<'a>(
    snapshot: &'a Snapshot,
    namespaces: impl Iterator<Item = &'a Arc<NamespaceView>> + Clone,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    let going = namespaces.filter(|namespace| namespace.meta.deleting());
    let mut content: BTreeMap<Arc<str>, Vec<(&Resource, &Meta)>> =
        going.clone().map(|namespace| (Arc::clone(&namespace.meta.name), Vec::new())).collect();
    if content.is_empty() {
        return outcome;
    }
    for (resource, meta) in snapshot.metas() {
        if let Some(objects) = content.get_mut(&meta.namespace) {
            objects.push((resource, meta));
        }
    }
    let mut budget = DELETIONS_MAX;
    for namespace in going {
        let all = content.remove(&namespace.meta.name).unwrap_or_default();
        let (events, objects): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(resource, _)| **resource == Resource::EVENTS);
        let pods = objects.iter().any(|(resource, _)| **resource == Resource::PODS);
        let next = if objects.is_empty() { &events } else { &objects };
        let next = next
            .iter()
            .filter(|(resource, meta)| !meta.deleting() && (!pods || **resource == Resource::PODS));
        for (resource, meta) in next.take(budget) {
            budget -= 1;
            outcome.actions.push(Action::Delete {
                target: Target::of(resource, meta),
                grace_seconds: None,
                propagation: Some(Propagation::Background),
            });
        }
        if objects.is_empty() {
            let ours = namespace.spec.finalizers.iter().find(|it| &***it == FINALIZER);
            outcome.actions.extend(ours.map(|finalizer| Action::FinalizeNamespace {
                target: Target::of(&Resource::NAMESPACES, &namespace.meta),
                finalizer: Arc::clone(finalizer),
            }));
        } else {
            outcome.actions.extend(report(namespace, &objects, now));
        }
    }
    outcome
}

/// The conditions that tell people what holds the namespace up.
fn report(
    namespace: &NamespaceView,
    objects: &[(&Resource, &Meta)],
    now: Timestamp,
) -> Option<Action> {
    let mut resources: BTreeMap<&Resource, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (resource, meta) in objects {
        *resources.entry(resource).or_default() += 1;
        for finalizer in &meta.finalizers {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let listed = resources.iter().map(|(resource, count)| {
        format!("{}.{} has {count} resource instances", resource.plural, resource.group)
    });
    let listed: Vec<String> = listed.collect();
    let message = format!("Some resources are remaining: {}", listed.join(", "));
    let kind = "NamespaceContentRemaining";
    let content = Condition::new(kind, Status::True, "SomeResourcesRemain", &message, now);
    let listed = finalizers.iter();
    let listed = listed.map(|(name, count)| format!("{name} in {count} resource instances"));
    let listed: Vec<String> = listed.collect();
    let finalizers = if listed.is_empty() {
        let message = "All content-preserving finalizers finished";
        ok("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", message, now)
    } else {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            listed.join(", ")
        );
        let kind = "NamespaceFinalizersRemaining";
        Condition::new(kind, Status::True, "SomeFinalizersRemain", &message, now)
    };
    let all = "All resources successfully discovered";
    let parsed = "All legacy kube types successfully parsed";
    let deleted = "All content successfully deleted, may be waiting on finalization";
    let wanted = [
        ok("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", all, now),
        ok("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", parsed, now),
        ok("NamespaceDeletionContentFailure", "ContentDeleted", deleted, now),
        content,
        finalizers,
    ];
    let differs = |condition: &Condition| {
        let present = find(&namespace.status.conditions, &condition.kind);
        !present.is_some_and(|present| present.says_the_same(condition))
    };
    let conditions: Vec<Condition> = wanted.into_iter().filter(differs).collect();
    let target = Target::of(&Resource::NAMESPACES, &namespace.meta);
    (!conditions.is_empty()).then_some(Action::SetConditions { target, conditions })
}

/// A condition of failure that does not hold.
fn ok(kind: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition::new(kind, Status::False, reason, message, now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::model::{Model, NOW};
    use super::*;

    const NAMESPACE: &str = "/core/namespaces/_/d";

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot, NOW).actions
    }

    fn model() -> Model {
        let mut model = Model::new();
        model.put(NAMESPACE, json!({"spec": {"finalizers": ["kubernetes"]}}));
        model.put("/core/configmaps/d/a", json!({}));
        model.put("/core/configmaps/other/a", json!({}));
        model
    }

    #[test]
    fn a_deleted_namespace_is_emptied_and_goes() {
        let mut model = model();
        assert_eq!(run(model.snapshot()), []);
        model.delete_as_client(NAMESPACE, Propagation::Background);
        model.settle(run);
        let left: Vec<_> = model.snapshot().metas().map(|(_, meta)| &*meta.namespace).collect();
        assert_eq!(left, ["other"]);
    }

    #[test]
    fn pods_go_before_what_they_may_need_and_events_last() {
        let mut model = model();
        let pod = "/core/pods/d/web";
        model.put(pod, json!({"spec": {"nodeName": "n1", "containers": []}}));
        model.put("/core/events/d/told", json!({}));
        model.delete_as_client(NAMESPACE, Propagation::Background);
        model.settle(run);
        assert!(!model.get("/core/configmaps/d/a").is_null(), "the pod has not ended");
        let conditions = model.get(NAMESPACE)["status"]["conditions"].to_string();
        assert!(conditions.contains("configmaps. has 1"), "{conditions}");
        assert!(conditions.contains("pods. has 1"), "{conditions}");
        assert!(conditions.contains("ResourcesDiscovered"), "{conditions}");
        model.remove(pod);
        let next = run(model.snapshot());
        model.execute(next);
        assert!(model.get("/core/configmaps/d/a").is_null());
        assert!(!model.get("/core/events/d/told").is_null());
        model.settle(run);
        assert!(model.get("/core/events/d/told").is_null());
        assert!(model.snapshot().namespaces().is_empty());
    }

    #[test]
    fn content_with_a_finalizer_holds_it_up_and_is_named() {
        let mut model = model();
        model.put("/core/configmaps/d/b", json!({"metadata": {"finalizers": ["me.io/x"]}}));
        model.delete_as_client(NAMESPACE, Propagation::Background);
        model.settle(run);
        let conditions = model.get(NAMESPACE)["status"]["conditions"].clone();
        let messages: Vec<_> = conditions
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["message"].as_str().unwrap())
            .collect();
        assert!(
            messages
                .contains(&"Some resources are remaining: configmaps. has 1 resource instances")
        );
        assert!(messages.iter().any(|message| message.contains("me.io/x in 1 resource instances")));
        model.remove("/core/configmaps/d/b");
        model.settle(run);
        assert!(model.snapshot().namespaces().is_empty());
    }
}
