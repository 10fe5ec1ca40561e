//! Keeps the number of pods of a replication controller at `spec.replicas`.
//!
//! Replication controllers are replica sets by an older name, and are looked after as such.

use super::owner::Owner;
use super::{Outcome, replica_set};
use crate::snapshot::Snapshot;
use crate::view::replica_set::ReplicaSetView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

/// Who acts for the controller.
fn owner(controller: &ReplicaSetView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::REPLICATION_CONTROLLERS;
    Owner {
        resource: &RESOURCE,
        api_version: "v1",
        kind: "ReplicationController",
        component: "replication-controller",
        meta: &controller.meta,
    }
}

/// Compares wanted with present for every replication controller and returns the difference.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for key in snapshot.workloads().replication_controllers.keys() {
            outcome.merge(reconcile_key(snapshot, key, now));
        }
    }
    outcome
}

/// As [`reconcile`], for one controller.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let Some(found) = snapshot.workloads().replication_controllers.get(key) else {
        return Outcome::default();
    };
    replica_set::reconcile_as(&owner(&found.0), snapshot, &found.0, now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::model::{Model, NOW};
    use super::*;
    use crate::action::Action;

    const WEB: &str = "/core/replicationcontrollers/d/web";

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot, NOW).actions
    }

    fn controller(replicas: i32) -> serde_json::Value {
        json!({
            "metadata": {"uid": "rc"},
            "spec": {
                "replicas": replicas,
                "selector": {"app": "web"},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        })
    }

    #[test]
    fn pods_are_made_adopted_released_and_counted() {
        let mut model = Model::new();
        model.put("/core/pods/d/stray", json!({"metadata": {"labels": {"app": "web"}}}));
        model.put(WEB, controller(3));
        model.live(None, run);
        assert_eq!(model.snapshot().pods_controlled_by("rc").count(), 3);
        let owner = model.get("/core/pods/d/stray")["metadata"]["ownerReferences"][0].clone();
        assert_eq!(
            (&owner["kind"], &owner["apiVersion"]),
            (&json!("ReplicationController"), &json!("v1"))
        );
        let status = model.get(WEB)["status"].clone();
        for field in ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"] {
            assert_eq!(status[field], 3, "{field}");
        }
        model.merge("/core/pods/d/stray", &json!({"metadata": {"labels": {"app": "other"}}}));
        model.put(WEB, controller(1));
        model.live(None, run);
        assert_eq!(model.snapshot().pods_controlled_by("rc").count(), 1);
        assert_eq!(model.snapshot().pods().len(), 2);
        assert!(
            model
                .events
                .iter()
                .any(|event| event.starts_with("SuccessfulDelete: Deleted pod: web-"))
        );
    }
}
