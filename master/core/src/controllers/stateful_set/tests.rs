//! Stateful sets from start to end against the model.

use serde_json::{Value, json};

use super::super::model::{Model, NOW};
use super::reconcile;
use crate::action::{Action, Propagation};
use crate::snapshot::Snapshot;
use crate::view::timestamp::Timestamp;

const WEB: &str = "/apps/statefulsets/d/web";

fn set(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"uid": "set"},
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    })
}

fn with(mut set: Value, pointer: &str, value: Value) -> Value {
    *set.pointer_mut(pointer).unwrap() = value;
    set
}

fn run(snapshot: &Snapshot) -> Vec<Action> {
    reconcile(snapshot, NOW).actions
}

fn names(model: &Model) -> Vec<String> {
    model.snapshot().pods().keys().map(|key| key.name.to_string()).collect()
}

fn images(model: &Model) -> Vec<String> {
    model.snapshot().pods().values().map(|pod| pod.images[0].to_string()).collect()
}

/// Acts until the set waits for agents.
fn settle(model: &mut Model) {
    model.settle(run);
}

#[test]
fn events_tell_a_whole_life_in_the_words_of_upstream() {
    let mut model = Model::new();
    let claim = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    let mut object = set(2, "a:1");
    object["spec"]["volumeClaimTemplates"] = claim;
    model.put(WEB, object.clone());
    model.live(None, run);
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    model.put(WEB, object.clone());
    model.live(None, run);
    model.merge("/core/pods/d/web-1", &json!({"status": {"phase": "Failed"}}));
    model.live(None, run);
    object["spec"]["replicas"] = json!(0);
    model.put(WEB, object);
    model.live(None, run);
    let told = model.events.join("\n");
    let expected = "\
SuccessfulCreate: create Claim data-web-0 Pod web-0 in StatefulSet web success
SuccessfulCreate: create Pod web-0 in StatefulSet web successful
SuccessfulCreate: create Claim data-web-1 Pod web-1 in StatefulSet web success
SuccessfulCreate: create Pod web-1 in StatefulSet web successful
SuccessfulDelete: delete Pod web-1 in StatefulSet web successful
SuccessfulCreate: create Pod web-1 in StatefulSet web successful
SuccessfulDelete: delete Pod web-0 in StatefulSet web successful
SuccessfulCreate: create Pod web-0 in StatefulSet web successful
RecreatingFailedPod: StatefulSet d/web is recreating failed Pod web-1
SuccessfulCreate: create Pod web-1 in StatefulSet web successful
SuccessfulDelete: delete Pod web-1 in StatefulSet web successful
SuccessfulDelete: delete Pod web-0 in StatefulSet web successful";
    assert_eq!(told, expected);
    let status = &model.get(WEB)["status"];
    assert_eq!((&status["replicas"], &status["availableReplicas"]), (&json!(0), &json!(0)));
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert!(!model.get("/core/persistentvolumeclaims/d/data-web-1").is_null(), "claims stay");
}

#[test]
fn pods_have_names_labels_and_claims_of_their_own() {
    let mut model = Model::new();
    let mut object = set(1, "a:1");
    object["spec"]["ordinals"] = json!({"start": 4});
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    model.put(WEB, object);
    model.live(None, run);
    let pod = model.get("/core/pods/d/web-4");
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-4");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "4");
    assert_eq!(labels["controller-revision-hash"], model.get(WEB)["status"]["updateRevision"]);
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&json!("web-4"), &json!("web"))
    );
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-web-4");
    let claim = model.get("/core/persistentvolumeclaims/d/data-web-4");
    assert_eq!(claim["metadata"]["labels"]["app"], "web");
    // A user takes a label away.
    model.merge(
        "/core/pods/d/web-4",
        &json!({"metadata": {"labels": {"apps.kubernetes.io/pod-index": null}}}),
    );
    settle(&mut model);
    let labels = &model.get("/core/pods/d/web-4")["metadata"]["labels"];
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "4");
}

#[test]
fn ordered_pods_wait_for_those_before_them_and_parallel_ones_do_not() {
    let mut model = Model::new();
    model.put(WEB, set(3, "a:1"));
    settle(&mut model);
    assert_eq!(names(&model), ["web-0"]);
    model.make_ready("/core/pods/d/web-0", "n1");
    settle(&mut model);
    assert_eq!(names(&model), ["web-0", "web-1"]);

    let mut model = Model::new();
    let mut object = set(3, "a:1");
    object["spec"]["podManagementPolicy"] = json!("Parallel");
    model.put(WEB, object);
    settle(&mut model);
    assert_eq!(names(&model), ["web-0", "web-1", "web-2"]);
}

#[test]
fn no_second_pod_of_a_name_comes_while_the_first_may_still_run() {
    let mut model = Model::new();
    model.put(WEB, set(1, "a:1"));
    model.live(None, run);
    // Its node is lost: the eviction marks it, and nobody confirms.
    model.delete_as_client("/core/pods/d/web-0", Propagation::Background);
    assert!(model.snapshot().pods().values().all(|pod| pod.meta.deleting()));
    settle(&mut model);
    assert_eq!(names(&model), ["web-0"]);
    let uid = model.get("/core/pods/d/web-0")["metadata"]["uid"].clone();
    // Somebody knows that it is gone.
    model.remove("/core/pods/d/web-0");
    settle(&mut model);
    assert_ne!(model.get("/core/pods/d/web-0")["metadata"]["uid"], uid);
}

#[test]
fn partition_keeps_lower_ordinals_even_when_they_are_made_anew() {
    let mut model = Model::new();
    model.put(WEB, set(3, "a:1"));
    model.live(None, run);
    let partition = "/spec/updateStrategy/rollingUpdate/partition";
    model.put(WEB, with(set(3, "a:2"), partition, json!(2)));
    model.live(None, run);
    assert_eq!(images(&model), ["a:1", "a:1", "a:2"]);
    let status = model.get(WEB)["status"].clone();
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(2), &json!(1)));
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    model.remove("/core/pods/d/web-0");
    model.live(None, run);
    assert_eq!(images(&model), ["a:1", "a:1", "a:2"]);
    model.put(WEB, set(3, "a:2"));
    model.live(None, run);
    assert_eq!(images(&model), ["a:2"; 3]);
    let status = &model.get(WEB)["status"];
    assert_eq!(status["currentRevision"], status["updateRevision"]);
}

#[test]
fn max_unavailable_lets_several_go_at_once_and_on_delete_none() {
    let mut model = Model::new();
    model.put(WEB, set(4, "a:1"));
    model.live(None, run);
    let mut object = set(4, "a:2");
    object["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(2);
    model.put(WEB, object);
    settle(&mut model);
    let going = model.snapshot().pods().values().filter(|pod| pod.meta.deleting());
    let going: Vec<_> = going.map(|pod| pod.meta.name.to_string()).collect();
    assert_eq!(going, ["web-2", "web-3"]);
    model.live(None, run);
    assert_eq!(images(&model), ["a:2"; 4]);

    model.put(WEB, with(set(4, "a:3"), "/spec/updateStrategy", json!({"type": "OnDelete"})));
    model.live(None, run);
    assert_eq!(images(&model), ["a:2"; 4]);
    model.remove("/core/pods/d/web-1");
    model.live(None, run);
    assert_eq!(images(&model), ["a:2", "a:3", "a:2", "a:2"]);
}

#[test]
fn roll_back_takes_the_old_revision_with_a_new_number() {
    let mut model = Model::new();
    for image in ["a:1", "a:2", "a:1"] {
        model.put(WEB, set(1, image));
        model.live(None, run);
    }
    let revisions = &model.snapshot().workloads().controller_revisions;
    let mut numbers: Vec<i64> = revisions.values().map(|it| it.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(images(&model), ["a:1"]);
}

#[test]
fn history_beyond_the_limit_goes() {
    let mut model = Model::new();
    for image in ["a:1", "a:2", "a:3", "a:4"] {
        let mut object = set(1, image);
        object["spec"]["revisionHistoryLimit"] = json!(1);
        model.put(WEB, object);
        model.live(None, run);
    }
    assert_eq!(model.snapshot().workloads().controller_revisions.len(), 2);
}

#[test]
fn hash_taken_by_another_revision_is_avoided() {
    let mut model = Model::new();
    model.put(WEB, set(1, "a:1"));
    let first = run(model.snapshot());
    let Some(Action::Create { object, .. }) = first.first() else { panic!("{first:?}") };
    let name = object["metadata"]["name"].as_str().unwrap();
    model.put(&format!("/apps/controllerrevisions/d/{name}"), json!({"data": {"other": 1}}));
    model.live(None, run);
    assert_eq!(names(&model), ["web-0"]);
    assert_eq!(model.get(WEB)["status"]["collisionCount"], 1);
}

#[test]
fn claims_go_with_what_their_policy_names() {
    let mut model = Model::new();
    let mut object = set(2, "a:1");
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    object["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    model.put(WEB, object.clone());
    model.live(None, run);
    let owners = |model: &Model, ordinal: i32| {
        let claim = model.get(&format!("/core/persistentvolumeclaims/d/data-web-{ordinal}"));
        let owners = claim["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        owners.iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (owners(&model, 0), owners(&model, 1)),
        (vec!["StatefulSet".into()], vec!["StatefulSet".into()])
    );
    object["spec"]["replicas"] = json!(1);
    model.put(WEB, object);
    model.live(None, run);
    assert_eq!(
        (owners(&model, 0), owners(&model, 1)),
        (vec!["StatefulSet".into()], vec!["Pod".into()])
    );
}

#[test]
fn pod_waits_for_a_claim_that_goes_with_the_one_before_it() {
    let mut model = Model::new();
    let mut object = set(2, "a:1");
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    object["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    model.put(WEB, object.clone());
    model.live(None, run);
    object["spec"]["replicas"] = json!(1);
    model.put(WEB, object.clone());
    model.live(None, run);
    object["spec"]["replicas"] = json!(2);
    model.put(WEB, object);
    settle(&mut model);
    assert_eq!(names(&model), ["web-0"]);
    // Garbage collection takes it.
    model.remove("/core/persistentvolumeclaims/d/data-web-1");
    model.live(None, run);
    assert_eq!(names(&model), ["web-0", "web-1"]);
    let claim = model.get("/core/persistentvolumeclaims/d/data-web-1");
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
}

#[test]
fn name_that_somebody_elses_pod_has_is_waited_for() {
    let mut model = Model::new();
    model.put(WEB, set(2, "a:1"));
    model.live(None, run);
    model.merge("/core/pods/d/web-0", &json!({"metadata": {"labels": {"app": "debug"}}}));
    settle(&mut model);
    assert_eq!(model.get("/core/pods/d/web-0")["metadata"]["ownerReferences"], json!([]));
    model.remove("/core/pods/d/web-0");
    model.live(None, run);
    assert_eq!(model.snapshot().pods_controlled_by("set").count(), 2);
}

#[test]
fn generation_is_observed_with_its_revision_and_not_before() {
    let mut model = Model::new();
    model.put(WEB, set(1, "a:1"));
    model.live(None, run);
    model.put(WEB, set(1, "a:2"));
    loop {
        let actions = run(model.snapshot());
        assert_ne!(actions, []);
        model.execute(actions);
        let status = model.get(WEB)["status"].clone();
        if status["observedGeneration"] == 2 {
            assert_ne!(status["currentRevision"], status["updateRevision"]);
            return;
        }
    }
}

#[test]
fn update_is_not_over_while_pods_are_missing() {
    let mut model = Model::new();
    model.put(WEB, set(2, "a:1"));
    model.live(None, run);
    let partition = "/spec/updateStrategy/rollingUpdate/partition";
    model.put(WEB, with(set(2, "a:2"), partition, json!(1)));
    model.live(None, run);
    model.remove("/core/pods/d/web-0");
    settle(&mut model);
    model.live(None, run);
    let status = &model.get(WEB)["status"];
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(images(&model), ["a:1", "a:2"]);
}

#[test]
fn set_looks_again_when_a_pod_has_been_ready_for_long_enough() {
    let mut model = Model::new();
    let mut object = set(2, "a:1");
    object["spec"]["minReadySeconds"] = json!(30);
    model.put(WEB, object);
    settle(&mut model);
    model.make_ready("/core/pods/d/web-0", "n1");
    settle(&mut model);
    let due = Timestamp(NOW.0 + 30_000);
    assert_eq!(
        (names(&model).len(), reconcile(model.snapshot(), NOW).next_deadline),
        (1, Some(due))
    );
    model.settle(|snapshot| reconcile(snapshot, due).actions);
    assert_eq!(names(&model).len(), 2);
}

#[test]
fn any_single_lost_action_is_healed_and_a_second_run_changes_nothing() {
    let story = |lost: Option<usize>| {
        let mut model = Model::new();
        let claim = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        let object = |replicas: i32, image: &str| {
            let mut object = set(replicas, image);
            object["spec"]["volumeClaimTemplates"] = claim.clone();
            object
        };
        model.put(WEB, object(2, "a:1"));
        let mut count = model.live(lost, run);
        for next in [object(3, "a:2"), object(1, "a:2")] {
            model.put(WEB, next);
            count += model.live(lost.and_then(|lost| lost.checked_sub(count)), run);
        }
        assert_eq!((names(&model), images(&model)), (vec!["web-0".into()], vec!["a:2".into()]));
        assert_eq!(model.get(WEB)["status"]["readyReplicas"], 1);
        assert_eq!(run(model.snapshot()), []);
        count
    };
    let count = story(None);
    assert!(count > 20);
    for lost in 0..count {
        story(Some(lost));
    }
}

#[test]
fn one_run_does_a_bounded_amount() {
    let mut model = Model::new();
    let mut object = set(5_000, "a:1");
    object["spec"]["podManagementPolicy"] = json!("Parallel");
    model.put(WEB, object);
    let first = run(model.snapshot());
    model.execute(first);
    let creates = run(model.snapshot());
    let creates = creates.iter().filter(|it| matches!(it, Action::Create { .. })).count();
    assert_eq!(creates, super::BURST_MAX);
}
