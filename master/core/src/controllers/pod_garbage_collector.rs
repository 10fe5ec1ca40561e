//! Removes pods that nobody will end: those of nodes that are gone or out of service, those that go
//! and never had a node, and the oldest of too many that have ended.
//!
//! Node lifecycle calls it with its own keys; evicting is that one's business.

use serde_json::json;

use super::Outcome;
use crate::action::{Action, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::Status;
use crate::view::node::{NodeView, TAINT_OUT_OF_SERVICE};
use crate::view::pod::PodView;
use crate::view::resource::Resource;

/// Ended pods that are kept. Upstream keeps 12,500; they would fill a small board's memory.
pub const TERMINATED_MAX: usize = 1_000;

/// Removes the pods of a node whose object was deleted: nobody will ever report them again.
pub(super) fn remove_orphans(
    snapshot: &Snapshot,
    node: &str,
    budget: &mut usize,
    outcome: &mut Outcome,
) {
    remove(snapshot.pods_on(node).map(|pod| &**pod), budget, outcome);
}

/// Removes pods that are to go from a node that somebody says is out of service: it runs nothing any
/// more, so nobody confirms their end.
pub(super) fn remove_out_of_service(
    snapshot: &Snapshot,
    node: &NodeView,
    budget: &mut usize,
    outcome: &mut Outcome,
) {
    let ready = node.ready().is_some_and(|ready| ready.status == Status::True);
    if ready || !node.tainted(TAINT_OUT_OF_SERVICE) {
        return;
    }
    let going = snapshot.pods_on(&node.meta.name).filter(|pod| pod.meta.deleting());
    remove(going.map(|pod| &**pod), budget, outcome);
}

/// Removes pods without a node that are to go: nobody would ever confirm their end.
pub(super) fn remove_unbound(snapshot: &Snapshot, budget: &mut usize, outcome: &mut Outcome) {
    let unbound = snapshot.pods().values().filter(|pod| pod.node_name.is_none());
    let going = unbound.filter(|pod| pod.meta.deleting());
    remove(going.map(|pod| &**pod), budget, outcome);
}

/// Removes the oldest of the pods that have ended, when there are too many.
pub(super) fn remove_surplus(
    snapshot: &Snapshot,
    terminated_max: usize,
    budget: &mut usize,
    outcome: &mut Outcome,
) {
    let ended = || snapshot.pods().values().filter(|pod| pod.terminated() && !pod.meta.deleting());
    let surplus = ended().count().saturating_sub(terminated_max);
    if surplus == 0 {
        return;
    }
    let mut oldest: Vec<&PodView> = ended().map(|pod| &**pod).collect();
    oldest.sort_by_key(|pod| (pod.meta.creation_timestamp, &pod.meta.name));
    remove(oldest.into_iter().take(surplus), budget, outcome);
}

/// As upstream, a pod fails before it is removed: whoever holds it by a finalizer, such as a Job that
/// counts its pods, sees how it ended. One that was removed already waits for that.
fn remove<'a>(pods: impl Iterator<Item = &'a PodView>, budget: &mut usize, outcome: &mut Outcome) {
    let removed =
        |pod: &PodView| pod.terminated() && pod.meta.deletion_grace_period_seconds == Some(0);
    for pod in pods.filter(|pod| !removed(pod)).take(*budget) {
        *budget -= 1;
        let target = Target::of(&Resource::PODS, &pod.meta);
        outcome.actions.push(if pod.terminated() {
            Action::Delete { target, grace_seconds: Some(0), propagation: None }
        } else {
            Action::UpdateStatus { target, patch: json!({"status": {"phase": "Failed"}}) }
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::model::{Model, NOW};
    use super::*;

    fn names(model: &Model) -> Vec<String> {
        model.snapshot().pods().keys().map(|key| key.name.to_string()).collect()
    }

    fn settle(model: &mut Model, run: impl Fn(&Snapshot, &mut usize, &mut Outcome)) {
        model.settle(|snapshot| {
            let mut outcome = Outcome::default();
            run(snapshot, &mut 100, &mut outcome);
            outcome.actions
        });
    }

    #[test]
    fn the_oldest_of_too_many_ended_pods_go() {
        let mut model = Model::new();
        let pod = |second: i64, phase: &str| -> Value {
            let created = crate::view::timestamp::Timestamp(NOW.0 + second * 1000);
            json!({"metadata": {"creationTimestamp": created}, "spec": {}, "status": {"phase": phase}})
        };
        model.put("/core/pods/d/c", pod(1, "Succeeded"));
        model.put("/core/pods/d/b", pod(2, "Failed"));
        model.put("/core/pods/d/a", pod(3, "Succeeded"));
        model.put("/core/pods/d/old", pod(0, "Running"));
        settle(&mut model, |snapshot, budget, outcome| {
            remove_surplus(snapshot, 2, budget, outcome);
        });
        assert_eq!(names(&model), ["a", "b", "old"]);
    }

    #[test]
    fn a_pod_that_somebody_holds_fails_and_is_removed_once() {
        let mut model = Model::new();
        let held = json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]},
            "spec": {"nodeName": "gone"}, "status": {"phase": "Running"}});
        model.put("/core/pods/d/held", held);
        settle(&mut model, |snapshot, budget, outcome| {
            remove_orphans(snapshot, "gone", budget, outcome);
        });
        let pod = model.get("/core/pods/d/held");
        assert_eq!(pod["status"]["phase"], "Failed");
        assert!(pod["metadata"]["deletionTimestamp"].is_string());
    }

    #[test]
    fn only_pods_that_go_are_removed_from_a_node_out_of_service() {
        let check = |ready: &str, taint: &str, left: &[&str]| {
            let mut model = Model::new();
            let taint = json!({"key": taint, "effect": "NoExecute"});
            let condition = json!({"type": "Ready", "status": ready});
            model.put("/core/nodes/_/n", json!({"metadata": {}, "spec": {"taints": [taint]}, "status": {"conditions": [condition]}}));
            let going = json!({"metadata": {"deletionTimestamp": NOW}, "spec": {"nodeName": "n"}});
            model.put("/core/pods/d/going", going);
            model.put("/core/pods/d/stays", json!({"metadata": {}, "spec": {"nodeName": "n"}}));
            settle(&mut model, |snapshot, budget, outcome| {
                remove_out_of_service(snapshot, snapshot.node("n").unwrap(), budget, outcome);
            });
            assert_eq!(names(&model), left);
        };
        check("Unknown", TAINT_OUT_OF_SERVICE, &["stays"]);
        check("True", TAINT_OUT_OF_SERVICE, &["going", "stays"]);
        check("Unknown", "other", &["going", "stays"]);
    }
}
