//! Has quotas counted anew when something of their namespace is gone or may use less.
//!
//! Knows no amounts: `crate::admission::resource_quota` does, and the shell brings it the objects.

use super::Outcome;
use crate::action::{Action, Target};
use crate::snapshot::Snapshot;
use crate::view::resource::{ObjectId, ObjectKey, Resource};

/// Has one quota counted.
#[must_use]
pub fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey) -> Outcome {
    let mut outcome = Outcome::default();
    let id = ObjectId { resource: Resource::RESOURCE_QUOTAS, key: key.clone() };
    if let Some(meta) = snapshot.meta(&id).filter(|meta| !meta.deleting()) {
        let target = Target::of(&Resource::RESOURCE_QUOTAS, meta);
        outcome.actions.push(Action::RecountQuota { target });
    }
    outcome
}

/// The quotas that a change of an object concerns. What is new was counted when it was admitted.
#[must_use]
pub fn concerned(snapshot: &Snapshot, id: &ObjectId, going: bool) -> Vec<ObjectKey> {
    let ended = || snapshot.pods().get(&id.key).is_some_and(|pod| pod.terminated());
    let may_shrink =
        [Resource::SERVICES, Resource::PERSISTENT_VOLUME_CLAIMS].contains(&id.resource);
    if id.resource == Resource::RESOURCE_QUOTAS {
        return vec![id.key.clone()];
    }
    if !(going || may_shrink || id.resource == Resource::PODS && ended()) {
        return Vec::new();
    }
    let resource = Resource::RESOURCE_QUOTAS;
    let quotas = snapshot.others_in(&resource, &id.key.namespace);
    quotas.map(|quota| ObjectKey::new(&quota.metadata.namespace, &quota.metadata.name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_is_counted_when_something_may_use_less() {
        let mut snapshot = Snapshot::new();
        let mut put = |key: &str, object: serde_json::Value| {
            let bytes = serde_json::to_vec(&object).unwrap();
            snapshot.apply(key, Some(&bytes), 1).unwrap();
        };
        put("/core/resourcequotas/d/q", json!({"metadata": {"uid": "q"}}));
        put("/core/pods/d/runs", json!({"status": {"phase": "Running"}}));
        put("/core/pods/d/ended", json!({"status": {"phase": "Succeeded"}}));
        let check = |key: &str, going: bool, wanted: usize| {
            let id = ObjectId::from_store_key(key).unwrap();
            assert_eq!(concerned(&snapshot, &id, going).len(), wanted, "{key}");
        };
        check("/core/pods/d/runs", false, 0);
        check("/core/pods/d/runs", true, 1);
        check("/core/pods/d/ended", false, 1);
        check("/core/pods/other/runs", true, 0);
        check("/core/services/d/web", false, 1);
        check("/core/resourcequotas/d/q", false, 1);
        let outcome = reconcile_key(&snapshot, &ObjectKey::new("d", "q"));
        assert!(matches!(outcome.actions[..], [Action::RecountQuota { .. }]));
        assert_eq!(reconcile_key(&snapshot, &ObjectKey::new("d", "gone")), Outcome::default());
    }
}
