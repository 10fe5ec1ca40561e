//! Daemon sets from start to end against the model.

use serde_json::{Value, json};

use super::super::model::{Model, NOW};
use super::reconcile;
use crate::action::Action;
use crate::snapshot::Snapshot;
use crate::view::timestamp::Timestamp;

const SET: &str = "/apps/daemonsets/d/log";

fn set(image: &str, rolling: Value) -> Value {
    json!({
        "metadata": {"uid": "set"},
        "spec": {
            "selector": {"matchLabels": {"app": "log"}},
            "template": {
                "metadata": {"labels": {"app": "log"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        },
    })
}

fn cluster(nodes: usize) -> Model {
    let mut model = Model::new();
    (1..=nodes)
        .for_each(|number| model.put(&node(number), json!({"metadata": {"labels": {"n": "y"}}})));
    model
}

fn node(number: usize) -> String {
    format!("/core/nodes/_/n{number}")
}

fn run(snapshot: &Snapshot) -> Vec<Action> {
    reconcile(snapshot, NOW).actions
}

/// Node and image of each pod.
fn placed(model: &Model) -> Vec<(String, String)> {
    let place = |pod: &std::sync::Arc<super::PodView>| {
        (super::node_of(pod).unwrap().to_string(), pod.images[0].to_string())
    };
    let mut all: Vec<_> = model.snapshot().pods().values().map(place).collect();
    all.sort();
    all
}

fn expect(model: &Model, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(placed(model), wanted);
}

fn going(model: &Model) -> usize {
    model.snapshot().pods().values().filter(|pod| pod.meta.deleting()).count()
}

#[test]
fn every_node_has_a_pod_that_is_tied_to_it() {
    let mut model = cluster(2);
    model.put(SET, set("a:1", json!({})));
    model.live(None, run);
    expect(&model, &[("n1", "a:1"), ("n2", "a:1")]);
    let status = model.get(SET)["status"].clone();
    let wanted = json!({"observedGeneration": 1, "desiredNumberScheduled": 2,
        "currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
        "updatedNumberScheduled": 2, "numberAvailable": 2});
    assert_eq!(status, wanted);
    let pod = model.snapshot().pods().values().next().unwrap().clone();
    let key = format!("/core/pods/d/{}", pod.meta.name);
    let spec = model.get(&key)["spec"].clone();
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 6);
    assert_eq!(pod.meta.labels.get("pod-template-generation"), Some("1"));
    // A node joins, and another goes.
    model.put(&node(3), json!({}));
    model.remove(&node(1));
    model.live(None, run);
    expect(&model, &[("n2", "a:1"), ("n3", "a:1")]);
}

#[test]
fn labels_and_taints_choose_the_nodes() {
    let mut model = cluster(3);
    let mut object = set("a:1", json!({}));
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"n": "y"});
    model.merge(&node(1), &json!({"metadata": {"labels": {"n": "no"}}}));
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "mine", "effect": effect}]}});
    model.merge(&node(2), &taint("NoSchedule"));
    model.put(SET, object);
    model.live(None, run);
    expect(&model, &[("n3", "a:1")]);
    // What is there may stay for as long as it is not told to leave.
    model.merge(&node(3), &taint("NoSchedule"));
    model.live(None, run);
    expect(&model, &[("n3", "a:1")]);
    assert_eq!(model.get(SET)["status"]["numberMisscheduled"], 1);
    model.merge(&node(3), &taint("NoExecute"));
    model.live(None, run);
    expect(&model, &[]);
    // Trouble of the node itself is tolerated.
    let trouble = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
    model.merge(&node(3), &json!({"spec": {"taints": trouble}}));
    model.live(None, run);
    expect(&model, &[("n3", "a:1")]);
}

#[test]
fn rolling_update_keeps_its_bound_and_events_tell_it() {
    let mut model = cluster(2);
    model.put(SET, set("a:1", json!({"maxUnavailable": 1})));
    model.live(None, run);
    model.put(SET, set("a:2", json!({"maxUnavailable": 1})));
    model.settle(run);
    assert_eq!(going(&model), 1);
    model.live(None, run);
    expect(&model, &[("n1", "a:2"), ("n2", "a:2")]);
    let reasons: Vec<&str> = model.events.iter().filter_map(|it| it.split(": ").next()).collect();
    let created = "SuccessfulCreate";
    let deleted = "SuccessfulDelete";
    assert_eq!(reasons, [created, created, deleted, created, deleted, created]);
    assert!(model.events[0].starts_with("SuccessfulCreate: Created pod: log-"));
    assert!(model.events[2].starts_with("SuccessfulDelete: Deleted pod: log-"));
}

#[test]
fn surge_brings_the_new_pod_first() {
    let mut model = cluster(2);
    let rolling = || json!({"maxUnavailable": 0, "maxSurge": 1});
    model.put(SET, set("a:1", rolling()));
    model.live(None, run);
    model.put(SET, set("a:2", rolling()));
    model.settle(run);
    assert_eq!((model.snapshot().pods().len(), going(&model)), (3, 0));
    model.live(None, run);
    expect(&model, &[("n1", "a:2"), ("n2", "a:2")]);
}

#[test]
fn parts_are_those_of_the_nodes_that_the_set_is_for() {
    let mut model = cluster(10);
    (3..=10)
        .for_each(|other| model.merge(&node(other), &json!({"metadata": {"labels": {"n": "no"}}})));
    let object = |image: &str| {
        let mut object = set(image, json!({"maxUnavailable": 0, "maxSurge": "50%"}));
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"n": "y"});
        object
    };
    model.put(SET, object("a:1"));
    model.live(None, run);
    model.put(SET, object("a:2"));
    model.settle(run);
    assert_eq!(model.snapshot().pods().len(), 3, "half of two is one");
}

#[test]
fn on_delete_replaces_only_what_was_deleted() {
    let mut model = cluster(2);
    let object = |image: &str| {
        let mut object = set(image, json!({}));
        object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        object
    };
    model.put(SET, object("a:1"));
    model.live(None, run);
    model.put(SET, object("a:2"));
    model.live(None, run);
    expect(&model, &[("n1", "a:1"), ("n2", "a:1")]);
    let on_first = model.snapshot().pods_on("n1").next().unwrap().meta.name.clone();
    model.remove(&format!("/core/pods/d/{on_first}"));
    model.live(None, run);
    expect(&model, &[("n1", "a:2"), ("n2", "a:1")]);
}

#[test]
fn failed_pod_is_replaced_after_a_pause_that_grows() {
    let mut model = cluster(1);
    model.put(SET, set("a:1", json!({})));
    model.live(None, run);
    for pause_ms in [1_000, 2_000, 4_000] {
        let name = model.snapshot().pods().keys().next().unwrap().name.clone();
        model.merge(&format!("/core/pods/d/{name}"), &json!({"status": {"phase": "Failed"}}));
        model.settle(run);
        let due = Timestamp(NOW.0 + pause_ms);
        assert_eq!(reconcile(model.snapshot(), NOW).next_deadline, Some(due));
        model.live(None, |snapshot| reconcile(snapshot, due).actions);
        let next = model.snapshot().pods().values().next().unwrap().clone();
        assert!(next.active() && next.meta.name != name);
    }
    let told = model.events.iter().find(|it| it.starts_with("FailedDaemonPod")).unwrap();
    assert!(told.contains("Found failed daemon pod d/log-"), "{told}");
    assert!(told.ends_with("on node n1, will try to kill it"), "{told}");
}

#[test]
fn any_single_lost_action_is_healed_and_a_second_run_changes_nothing() {
    for rolling in [json!({"maxUnavailable": 1}), json!({"maxUnavailable": 0, "maxSurge": 1})] {
        let story = |lost: Option<usize>| {
            let mut model = cluster(2);
            model.put(SET, set("a:1", rolling.clone()));
            let count = model.live(lost, run);
            model.put(SET, set("a:2", rolling.clone()));
            let left = lost.and_then(|lost| lost.checked_sub(count));
            let count = count + model.live(left, run);
            expect(&model, &[("n1", "a:2"), ("n2", "a:2")]);
            assert_eq!(model.get(SET)["status"]["numberAvailable"], 2);
            assert_eq!(run(model.snapshot()), []);
            count
        };
        let count = story(None);
        assert!(count > 10);
        for lost in 0..count {
            story(Some(lost));
        }
    }
}

#[test]
fn one_run_does_a_bounded_amount() {
    let mut model = cluster(600);
    model.put(SET, set("a:1", json!({})));
    let first = run(model.snapshot());
    model.execute(first);
    let creates = run(model.snapshot());
    let creates = creates.iter().filter(|it| matches!(it, Action::Create { .. })).count();
    assert_eq!(creates, super::BURST_MAX);
    model.live(None, run);
    assert_eq!(model.snapshot().pods().len(), 600);
}
