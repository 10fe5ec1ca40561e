//! Roll-outs from start to end against the model, together with the replica set controller.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::model::{Model, NOW};
use super::super::{garbage, replica_set};
use super::reconcile;
use crate::action::{Action, Propagation};
use crate::snapshot::Snapshot;
use crate::view::timestamp::Timestamp;

const WEB: &str = "/apps/deployments/d/web";

fn deployment(replicas: i32, image: &str, strategy: Value) -> Value {
    let containers = json!([{"name": "c", "image": image}]);
    json!({
        "metadata": {"uid": "dep"},
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
        },
    })
}

fn both(snapshot: &Snapshot) -> Vec<Action> {
    let mut outcome = reconcile(snapshot, NOW);
    outcome.merge(replica_set::reconcile(snapshot, NOW));
    outcome.actions
}

fn active(snapshot: &Snapshot) -> usize {
    snapshot.pods().values().filter(|pod| pod.active()).count()
}

fn available(snapshot: &Snapshot) -> usize {
    snapshot.pods().values().filter(|pod| pod.active() && pod.ready()).count()
}

/// Agents: one pod after the other becomes ready, and what is being deleted goes.
fn play_agents(model: &mut Model) -> bool {
    let going: Vec<String> = model
        .snapshot()
        .pods()
        .iter()
        .filter(|(_, pod)| pod.meta.deleting())
        .map(|(key, _)| format!("/core/pods/{}/{}", key.namespace, key.name))
        .collect();
    going.iter().for_each(|key| model.remove(key));
    let pending = model.snapshot().pods().iter().find(|(_, pod)| !pod.ready());
    let Some(key) = pending.map(|(key, _)| format!("/core/pods/{}/{}", key.namespace, key.name))
    else {
        return !going.is_empty();
    };
    model.make_ready(&key, "n1");
    true
}

/// Plays controllers and agents until both are content, and checks the bounds at each step.
fn roll_out(model: &mut Model, bounds: std::ops::RangeInclusive<usize>) {
    for _ in 0..500 {
        let actions = both(model.snapshot());
        let idle = actions.is_empty();
        model.execute(actions);
        assert!(active(model.snapshot()) <= *bounds.end(), "too many pods");
        assert!(available(model.snapshot()) >= *bounds.start(), "too few available pods");
        if !play_agents(model) && idle {
            return;
        }
    }
    panic!("the roll-out does not end: {:#?}", both(model.snapshot()));
}

fn images(model: &Model) -> Vec<String> {
    model.snapshot().pods().values().map(|pod| pod.images[0].to_string()).collect()
}

fn condition(model: &Model, kind: &str) -> (String, String) {
    let object = model.get(WEB);
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

#[test]
fn a_new_deployment_gets_its_pods_and_a_complete_status() {
    let mut model = Model::new();
    model.put(WEB, deployment(3, "a:1", json!({})));
    roll_out(&mut model, 0..=4);
    assert_eq!(images(&model), ["a:1"; 3]);
    let status = &model.get(WEB)["status"];
    assert_eq!(status["availableReplicas"], 3);
    assert_eq!(status["updatedReplicas"], 3);
    assert_eq!(condition(&model, "Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(condition(&model, "Available").0, "True");
    assert_eq!(model.get(WEB)["metadata"]["annotations"][super::REVISION], "1");
    let pod = model.snapshot().pods().values().next().unwrap().clone();
    assert!(pod.meta.labels.get(super::TEMPLATE_HASH).is_some());
}

#[test]
fn a_rolling_update_keeps_its_bounds() {
    let mut model = Model::new();
    let strategy = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    model.put(WEB, deployment(3, "a:1", strategy.clone()));
    roll_out(&mut model, 0..=4);
    model.put(WEB, deployment(3, "a:2", strategy));
    roll_out(&mut model, 3..=4);
    assert_eq!(images(&model), ["a:2"; 3]);
    assert_eq!(model.get(WEB)["metadata"]["annotations"][super::REVISION], "2");
}

#[test]
fn recreate_lets_the_old_pods_end_first() {
    let mut model = Model::new();
    let strategy = json!({"type": "Recreate"});
    model.put(WEB, deployment(2, "a:1", strategy.clone()));
    roll_out(&mut model, 0..=2);
    model.put(WEB, deployment(2, "a:2", strategy));
    model.settle(both);
    assert_eq!(images(&model), ["a:1"; 2], "old pods are still there");
    assert_eq!(model.get(WEB)["status"]["terminatingReplicas"], 2);
    assert!(model.snapshot().pods().values().all(|pod| pod.meta.deleting()));
    roll_out(&mut model, 0..=2);
    assert_eq!(images(&model), ["a:2"; 2]);
}

#[test]
fn a_roll_back_takes_the_old_set_with_a_new_revision() {
    let mut model = Model::new();
    for image in ["a:1", "a:2", "a:1"] {
        model.put(WEB, deployment(2, image, json!({})));
        roll_out(&mut model, 0..=3);
    }
    assert_eq!(images(&model), ["a:1"; 2]);
    assert_eq!(model.snapshot().replica_sets().len(), 2);
    assert_eq!(model.get(WEB)["metadata"]["annotations"][super::REVISION], "3");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll_out() {
    let mut model = Model::new();
    model.put(WEB, deployment(2, "a:1", json!({})));
    roll_out(&mut model, 0..=3);
    let mut paused = deployment(4, "a:2", json!({}));
    paused["spec"]["paused"] = json!(true);
    model.put(WEB, paused);
    roll_out(&mut model, 2..=4);
    assert_eq!(images(&model), ["a:1"; 4]);
    assert_eq!(condition(&model, "Progressing"), ("Unknown".into(), "DeploymentPaused".into()));
    model.put(WEB, deployment(4, "a:2", json!({})));
    roll_out(&mut model, 2..=5);
    assert_eq!(images(&model), ["a:2"; 4]);
}

#[test]
fn history_beyond_the_limit_is_deleted() {
    let mut model = Model::new();
    for image in ["a:1", "a:2", "a:3", "a:4"] {
        let mut object = deployment(1, image, json!({}));
        object["spec"]["revisionHistoryLimit"] = json!(1);
        model.put(WEB, object);
        roll_out(&mut model, 0..=2);
    }
    assert_eq!(model.snapshot().replica_sets().len(), 2);
}

#[test]
fn a_roll_out_without_progress_is_reported_after_its_deadline() {
    let mut model = Model::new();
    model.put(WEB, deployment(1, "a:1", json!({})));
    model.settle(both);
    let outcome = reconcile(model.snapshot(), NOW);
    let deadline = Timestamp(NOW.0 + 600_000);
    assert_eq!((outcome.actions, outcome.next_deadline), (vec![], Some(deadline)));
    let late = reconcile(model.snapshot(), deadline).actions;
    model.execute(late);
    let wanted = ("False".into(), "ProgressDeadlineExceeded".into());
    assert_eq!(condition(&model, "Progressing"), wanted);
    assert_eq!(reconcile(model.snapshot(), deadline).actions, []);
}

#[test]
fn a_set_that_is_deleted_without_its_pods_is_followed_by_one_that_takes_them() {
    let mut model = Model::new();
    model.put(WEB, deployment(2, "a", json!({})));
    model.settle(both);
    let name = model.snapshot().replica_sets().values().next().unwrap().meta.name.clone();
    let set = format!("/apps/replicasets/d/{name}");
    model.delete_as_client(&set, Propagation::Orphan);
    model.settle(|snapshot| reconcile(snapshot, NOW).actions);
    assert_eq!(model.snapshot().replica_sets().len(), 1, "it waits for the end of the set");
    let all = |snapshot: &Snapshot| {
        let mut actions = both(snapshot);
        actions.extend(garbage::reconcile(snapshot).actions);
        actions
    };
    model.settle(all);
    let sets: Vec<_> = model.snapshot().replica_sets().values().cloned().collect();
    assert_eq!(sets.iter().map(|set| set.meta.name.clone()).collect::<Vec<_>>(), [name]);
    assert_eq!(model.snapshot().pods().len(), 2);
    assert!(model.get(WEB)["status"].get("collisionCount").is_none());
}

#[test]
fn a_set_that_is_taken_over_counts_with_its_pods_and_its_revision() {
    let mut model = Model::new();
    let mut set = json!({"spec": deployment(1, "a:0", json!({}))["spec"].clone()});
    set["metadata"] = json!({"labels": {"app": "web"}, "annotations": {super::REVISION: "41"}});
    model.put("/apps/replicasets/d/own", set);
    model.settle(|snapshot| replica_set::reconcile(snapshot, NOW).actions);
    play_agents(&mut model);
    let strategy = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    let mut object = deployment(1, "a:1", strategy);
    // Its pods have been ready for long enough by the set's own measure.
    object["spec"]["minReadySeconds"] = json!(10);
    model.put(WEB, object);
    model.settle(both);
    assert_eq!(images(&model).len(), 2, "the old pod stays until the new one is available");
    assert_eq!(model.get(WEB)["metadata"]["annotations"][super::REVISION], "42");
    assert_eq!(model.get(WEB)["status"]["availableReplicas"], 1);
    let first = model.events.iter().find(|event| event.starts_with("ScalingReplicaSet")).unwrap();
    assert!(first.ends_with("from 0 to 1"), "{first}");
}

#[test]
fn causes_of_changes_and_failures_of_sets_are_told() {
    let mut model = Model::new();
    model.put(WEB, deployment(1, "a:1", json!({})));
    model.settle(both);
    model.merge(WEB, &json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "why"}}}));
    model.settle(both);
    let name = model.snapshot().replica_sets().values().next().unwrap().meta.name.clone();
    let set = format!("/apps/replicasets/d/{name}");
    assert_eq!(model.get(&set)["metadata"]["annotations"]["kubernetes.io/change-cause"], "why");
    let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"});
    model.merge(&set, &json!({"status": {"conditions": [failure]}}));
    let told = reconcile(model.snapshot(), NOW).actions;
    model.execute(told);
    assert_eq!(condition(&model, "ReplicaFailure").1, "FailedCreate");
    model.merge(&set, &json!({"status": {"conditions": []}}));
    model.settle(both);
    let conditions = model.get(WEB)["status"]["conditions"].to_string();
    assert!(!conditions.contains("ReplicaFailure"), "{conditions}");
}

#[test]
fn without_a_deadline_there_is_no_progress_to_tell() {
    let mut model = Model::new();
    let mut object = deployment(1, "a:1", json!({}));
    object["spec"]["progressDeadlineSeconds"] = json!(i32::MAX);
    model.put(WEB, object);
    model.settle(both);
    let conditions = model.get(WEB)["status"]["conditions"].to_string();
    assert!(!conditions.contains("Progressing"), "{conditions}");
}

#[test]
fn a_name_taken_by_another_template_is_avoided() {
    let mut model = Model::new();
    model.put(WEB, deployment(1, "a:1", json!({})));
    let created = reconcile(model.snapshot(), NOW).actions;
    let Some(Action::Create { object, .. }) = created.first() else { panic!("{created:?}") };
    let name = object["metadata"]["name"].as_str().unwrap();
    model.put(&format!("/apps/replicasets/d/{name}"), json!({"spec": {"replicas": 0}}));
    roll_out(&mut model, 0..=2);
    assert_eq!(model.get(WEB)["status"]["collisionCount"], 1);
    assert_eq!(images(&model), ["a:1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_sequence_of_changes_ends_as_wanted(
        steps in prop::collection::vec((0_i32..6, 0_u8..3, 0_usize..6), 1..5),
        surge in 0_i32..3,
        unavailable in 0_i32..3,
    ) {
        let mut model = Model::new();
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let mut last = (0, String::new());
        for (replicas, image, ticks) in steps {
            let image = format!("a:{image}");
            model.put(WEB, deployment(replicas, &image, strategy.clone()));
            for _ in 0..ticks {
                let actions = both(model.snapshot());
                model.execute(actions);
                play_agents(&mut model);
            }
            last = (replicas, image);
        }
        roll_out(&mut model, 0..=100);
        let (replicas, image) = last;
        prop_assert_eq!(images(&model), vec![image; usize::try_from(replicas).unwrap()]);
        prop_assert_eq!(both(model.snapshot()), vec![]);
    }
}
