//! Jobs from start to end against the model.

use serde_json::{Value, json};

use super::super::model::{Model, NOW};
use super::{FINALIZER, reconcile};
use crate::action::{Action, Propagation};
use crate::snapshot::Snapshot;
use crate::view::timestamp::Timestamp;

const JOB: &str = "/batch/jobs/d/sum";

fn job(spec: Value) -> Value {
    let mut object = json!({
        "metadata": {"uid": "job"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6,
            "selector": {"matchLabels": {"job": "sum"}},
            "template": {
                "metadata": {"labels": {"job": "sum"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]},
            },
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

fn run(snapshot: &Snapshot) -> Vec<Action> {
    reconcile(snapshot, NOW).actions
}

/// What keeps on running until long after every pause.
fn run_late(snapshot: &Snapshot) -> Vec<Action> {
    reconcile(snapshot, Timestamp(NOW.0 + 3_600_000)).actions
}

fn active(model: &Model) -> Vec<String> {
    let active = model.snapshot().pods().values().filter(|pod| pod.active());
    active.map(|pod| format!("/core/pods/d/{}", pod.meta.name)).collect()
}

/// A pod of the job ends, with this exit code.
fn end(model: &mut Model, pod: &str, code: i32) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let state = json!({"terminated": {"exitCode": code, "finishedAt": NOW}});
    let statuses = json!([{"name": "c", "state": state}]);
    let status = json!({"phase": phase, "containerStatuses": statuses, "conditions": []});
    model.merge(pod, &json!({"status": status}));
}

/// Ends one active pod after the other, until the job wants none any more.
fn play(model: &mut Model, codes: &[i32]) {
    let mut codes = codes.iter();
    for _ in 0..200 {
        model.settle(run_late);
        going_go(model);
        let Some(pod) = active(model).into_iter().next() else { break };
        let Some(code) = codes.next() else { break };
        end(model, &pod, *code);
    }
    model.settle(run_late);
}

/// Agents confirm the end of what is being deleted.
fn going_go(model: &mut Model) {
    going_go_quietly(model);
    model.settle(run_late);
}

fn conditions(model: &Model) -> Vec<String> {
    let conditions = model.get(JOB)["status"]["conditions"].as_array().cloned();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    conditions
        .unwrap_or_default()
        .iter()
        .map(|it| {
            format!(
                "{}={} {}: {}",
                text(it, "type"),
                text(it, "status"),
                text(it, "reason"),
                text(it, "message")
            )
        })
        .collect()
}

fn status(model: &Model) -> Value {
    model.get(JOB)["status"].clone()
}

#[test]
fn job_completes_and_says_so_in_the_words_of_upstream() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"completions": 2})));
    play(&mut model, &[0, 0]);
    assert_eq!(
        conditions(&model),
        [
            "SuccessCriteriaMet=True CompletionsReached: Reached expected number of succeeded pods",
            "Complete=True CompletionsReached: Reached expected number of succeeded pods",
        ]
    );
    let status = status(&model);
    assert_eq!((&status["succeeded"], &status["ready"]), (&json!(2), &json!(0)));
    assert!(status["completionTime"].is_string() && status["startTime"].is_string());
    assert!(status.get("active").is_none() && status.get("failed").is_none());
    let pods = model.snapshot().pods();
    assert!(pods.values().all(|pod| pod.meta.finalizers.is_empty()));
    let told: Vec<&str> = model.events.iter().filter_map(|it| it.split(": ").next()).collect();
    assert_eq!(told, ["SuccessfulCreate", "SuccessfulCreate", "Completed"]);
}

#[test]
fn too_many_failures_end_it() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"backoffLimit": 1, "completions": 3, "parallelism": 2})));
    play(&mut model, &[1, 1]);
    let message = "Job has reached the specified backoff limit";
    assert_eq!(
        conditions(&model),
        [
            format!("FailureTarget=True BackoffLimitExceeded: {message}"),
            format!("Failed=True BackoffLimitExceeded: {message}"),
        ]
    );
    assert_eq!(status(&model)["failed"], 3, "what was stopped has failed, too");
    assert!(model.events.contains(&format!("BackoffLimitExceeded: {message}")));
}

#[test]
fn next_pod_waits_after_a_failure_and_longer_after_the_next() {
    let mut model = Model::new();
    model.put(JOB, job(json!({})));
    model.settle(run);
    for pause_ms in [10_000, 20_000, 40_000] {
        let pod = active(&model).remove(0);
        end(&mut model, &pod, 1);
        model.settle(run);
        assert!(active(&model).is_empty());
        let due = Timestamp(NOW.0 + pause_ms);
        assert_eq!(reconcile(model.snapshot(), NOW).next_deadline, Some(due));
        model.settle(|snapshot| reconcile(snapshot, due).actions);
        assert_eq!(active(&model).len(), 1);
    }
}

#[test]
fn indexed_pods_know_their_index() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2})));
    model.settle(run);
    let first = model.get(&active(&model)[0]);
    let label = "batch.kubernetes.io/job-completion-index";
    assert_eq!(first["metadata"]["annotations"][label], "0");
    assert_eq!(first["metadata"]["labels"][label], "0");
    assert_eq!(first["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(first["spec"]["hostname"], "sum-0");
    let variable = &first["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], "JOB_COMPLETION_INDEX");
    // The second of the two ends first, then the index that is made again after a failure.
    let second = active(&model).remove(1);
    end(&mut model, &second, 0);
    model.settle(run_late);
    assert_eq!(status(&model)["completedIndexes"], "1");
    play(&mut model, &[1, 0, 0]);
    let status = status(&model);
    assert_eq!((&status["completedIndexes"], &status["succeeded"]), (&json!("0-2"), &json!(3)));
    assert_eq!(status["failed"], 1);
    assert!(conditions(&model)[1].starts_with("Complete=True"));
}

#[test]
fn each_index_may_have_its_own_limit() {
    let mut model = Model::new();
    let spec = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1});
    model.put(JOB, job(spec));
    // Index 0 fails twice; index 1 succeeds.
    for _ in 0..2 {
        model.settle(run_late);
        let pod = active(&model).into_iter().find(|it| it.contains("sum-0-")).unwrap();
        end(&mut model, &pod, 1);
    }
    model.settle(run_late);
    assert_eq!(status(&model)["failedIndexes"], "0");
    let pods = active(&model);
    assert!(pods.len() == 1 && pods[0].contains("sum-1-"), "{pods:?}");
    end(&mut model, &pods[0], 0);
    play(&mut model, &[]);
    assert_eq!(conditions(&model)[1], "Failed=True FailedIndexes: Job has failed indexes");
    assert_eq!(status(&model)["completedIndexes"], "1");
}

#[test]
fn failure_policy_decides_by_exit_code_and_condition() {
    let policy = json!({"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]});
    let mut model = Model::new();
    model.put(JOB, job(json!({"backoffLimit": 0, "podFailurePolicy": policy})));
    model.settle(run);
    let pod = active(&model).remove(0);
    end(&mut model, &pod, 1);
    let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
    model.merge(&pod, &json!({"status": {"conditions": disrupted}}));
    model.settle(run_late);
    assert_eq!(active(&model).len(), 1, "an ignored failure counts for nothing");
    assert!(status(&model).get("failed").is_none());
    let pod = active(&model).remove(0);
    let name = pod.rsplit('/').next().unwrap().to_owned();
    end(&mut model, &pod, 42);
    play(&mut model, &[]);
    let message = format!(
        "Container c for pod d/{name} failed with exit code 42 matching FailJob rule at index 0"
    );
    assert_eq!(conditions(&model)[1], format!("Failed=True PodFailurePolicy: {message}"));
}

#[test]
fn success_policy_ends_it_early() {
    let policy = json!({"rules": [{"succeededIndexes": "0", "succeededCount": 1}]});
    let mut model = Model::new();
    model.put(
        JOB,
        job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3,
        "successPolicy": policy})),
    );
    model.settle(run);
    let pod = active(&model).remove(0);
    end(&mut model, &pod, 0);
    play(&mut model, &[]);
    assert!(active(&model).is_empty());
    assert_eq!(
        conditions(&model),
        [
            "SuccessCriteriaMet=True SuccessPolicy: Matched rules at index 0",
            "Complete=True SuccessPolicy: Matched rules at index 0",
        ]
    );
}

#[test]
fn suspended_job_has_no_pods_and_forgets_none() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"suspend": true, "completions": 2})));
    model.settle(run);
    assert!(active(&model).is_empty() && status(&model).get("startTime").is_none());
    model.merge(JOB, &json!({"spec": {"suspend": false}}));
    model.settle(run);
    let pod = active(&model).remove(0);
    end(&mut model, &pod, 0);
    model.settle(run_late);
    model.merge(JOB, &json!({"spec": {"suspend": true}}));
    play(&mut model, &[]);
    assert!(active(&model).is_empty());
    let told = status(&model);
    assert_eq!((&told["succeeded"], told.get("failed")), (&json!(1), None));
    assert_eq!(conditions(&model), ["Suspended=True JobSuspended: Job suspended"]);
    model.merge(JOB, &json!({"spec": {"suspend": false}}));
    play(&mut model, &[0]);
    assert_eq!(conditions(&model)[0], "Suspended=False JobResumed: Job resumed");
    assert_eq!(status(&model)["succeeded"], 2);
    let told: Vec<&String> = model.events.iter().filter(|it| it.contains(": Job ")).collect();
    assert_eq!(
        told,
        [
            "Suspended: Job suspended",
            "Resumed: Job resumed",
            "Suspended: Job suspended",
            "Resumed: Job resumed",
            "Completed: Job completed"
        ]
    );
}

#[test]
fn deadline_ends_it_and_time_to_live_removes_it() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"activeDeadlineSeconds": 20, "ttlSecondsAfterFinished": 50})));
    model.settle(run);
    let deadline = Timestamp(NOW.0 + 20_000);
    assert_eq!(reconcile(model.snapshot(), NOW).next_deadline, Some(deadline));
    let at = |at: Timestamp| move |snapshot: &Snapshot| reconcile(snapshot, at).actions;
    model.settle(at(deadline));
    for _ in 0..3 {
        model.settle(at(deadline));
        for pod in model.snapshot().pods().clone().values().filter(|pod| pod.meta.deleting()) {
            let key = format!("/core/pods/d/{}", pod.meta.name);
            end(&mut model, &key, 137);
        }
    }
    let message = "Job was active longer than specified deadline";
    assert_eq!(conditions(&model)[1], format!("Failed=True DeadlineExceeded: {message}"));
    let due = Timestamp(deadline.0 + 50_000);
    assert_eq!(reconcile(model.snapshot(), deadline).next_deadline, Some(due));
    assert!(matches!(
        reconcile(model.snapshot(), due).actions.as_slice(),
        [Action::Delete { propagation: Some(Propagation::Foreground), .. }]
    ));
}

#[test]
fn pods_are_adopted_and_those_of_a_job_that_is_gone_are_let_go() {
    let mut model = Model::new();
    model.put("/core/pods/d/stray", json!({"metadata": {"labels": {"job": "sum"}}}));
    model.put(JOB, job(json!({})));
    model.settle(run);
    assert_eq!(active(&model), ["/core/pods/d/stray"]);
    let stray = model.get("/core/pods/d/stray");
    assert_eq!(stray["metadata"]["finalizers"], json!([FINALIZER]));
    model.remove(JOB);
    model.settle(run);
    assert_eq!(model.get("/core/pods/d/stray")["metadata"]["finalizers"], json!([]));
}

#[test]
fn pod_that_is_going_is_replaced_at_once_or_only_when_it_has_ended() {
    for (policy, pods) in [("TerminatingOrFailed", 2), ("Failed", 1)] {
        let mut model = Model::new();
        model.put(JOB, job(json!({"podReplacementPolicy": policy})));
        model.settle(run);
        let pod = active(&model).remove(0);
        model.make_ready(&pod, "n1");
        model.delete_as_client(&pod, Propagation::Background);
        model.settle(run_late);
        assert_eq!(model.snapshot().pods().len(), pods, "{policy}");
        assert_eq!(status(&model)["terminating"], 1);
    }
}

#[test]
fn job_of_another_manager_is_left_alone() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"managedBy": "example.com/other"})));
    assert_eq!(run(model.snapshot()), []);
}

#[test]
fn any_single_lost_action_is_healed_and_a_second_run_changes_nothing() {
    for mode in ["NonIndexed", "Indexed"] {
        let story = |lost: Option<usize>| {
            let mut model = Model::new();
            model
                .put(JOB, job(json!({"completions": 3, "parallelism": 2, "completionMode": mode})));
            let mut count = 0;
            let mut codes = [0, 1, 0, 0].into_iter();
            for _ in 0..40 {
                let actions = run_late(model.snapshot());
                let mut kept = Vec::new();
                for action in actions {
                    let event = matches!(action, Action::Event { .. });
                    kept.extend((event || Some(count) != lost).then_some(action));
                    count += usize::from(!event);
                }
                model.execute(kept);
                going_go_quietly(&mut model);
                if run_late(model.snapshot()).is_empty()
                    && let Some(pod) = active(&model).into_iter().next()
                {
                    end(&mut model, &pod, codes.next().unwrap_or(0));
                }
            }
            assert!(conditions(&model)[1].starts_with("Complete=True"), "{mode} {lost:?}");
            let told = status(&model);
            assert_eq!(
                (&told["succeeded"], &told["failed"]),
                (&json!(3), &json!(1)),
                "{mode} {lost:?}"
            );
            assert!(model.snapshot().pods().values().all(|pod| pod.meta.finalizers.is_empty()));
            assert_eq!(run_late(model.snapshot()), []);
            count
        };
        let count = story(None);
        assert!(count > 15);
        for lost in 0..count {
            story(Some(lost));
        }
    }
}

/// As [`going_go`], without the controller.
fn going_go_quietly(model: &mut Model) {
    for pod in model.snapshot().pods().clone().values().filter(|pod| pod.meta.deleting()) {
        let key = format!("/core/pods/d/{}", pod.meta.name);
        if pod.meta.finalizers.is_empty() {
            model.remove(&key);
        } else if !pod.terminated() {
            end(model, &key, 137);
        }
    }
}

#[test]
fn one_run_does_a_bounded_amount() {
    let mut model = Model::new();
    model.put(JOB, job(json!({"completions": 5_000, "parallelism": 5_000})));
    let creates = run(model.snapshot());
    let creates = creates.iter().filter(|it| matches!(it, Action::Create { .. })).count();
    assert_eq!(creates, super::BURST_MAX);
}

#[test]
fn failures_of_an_index_are_not_forgotten_with_its_pod() {
    let mut model = Model::new();
    let spec = json!({"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 1,
        "backoffLimit": i32::MAX});
    model.put(JOB, job(spec));
    model.settle(run);
    let first = active(&model).remove(0);
    end(&mut model, &first, 1);
    model.settle(run);
    // Somebody tidies up before the next try is due.
    model.delete_as_client(&first, Propagation::Background);
    model.settle(run);
    assert!(!model.get(&first).is_null(), "it is all that remembers");
    assert!(status(&model).get("failed").is_none());
    model.settle(run_late);
    going_go(&mut model);
    assert!(model.get(&first).is_null());
    let second = active(&model).remove(0);
    let annotations = model.get(&second)["metadata"]["annotations"].clone();
    assert_eq!(annotations["batch.kubernetes.io/job-index-failure-count"], "1");
    assert_eq!(status(&model)["failed"], 1);
    end(&mut model, &second, 1);
    model.settle(run_late);
    assert_eq!(status(&model)["failedIndexes"], "0");
    assert_eq!(status(&model)["failed"], 2);
}
