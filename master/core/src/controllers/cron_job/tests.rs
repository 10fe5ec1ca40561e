//! Cron jobs from start to end against the model.

use serde_json::{Value, json};

use super::super::model::{Model, NOW};
use super::reconcile;
use crate::action::Action;
use crate::snapshot::Snapshot;
use crate::view::timestamp::Timestamp;

const CRON: &str = "/batch/cronjobs/d/tick";
const MINUTE_MS: i64 = 60_000;

fn cron(spec: Value) -> Value {
    let mut object = json!({
        "metadata": {"uid": "cron", "creationTimestamp": NOW},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {}}}},
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

/// NOW is 2001-09-09T01:46:40Z.
fn at(minutes: i64) -> Timestamp {
    Timestamp(NOW.0 + minutes * MINUTE_MS)
}

fn settle(model: &mut Model, now: Timestamp) {
    model.settle(|snapshot: &Snapshot| acts(snapshot, now));
}

/// What is done; why nothing is started is said whenever it is looked at.
fn acts(snapshot: &Snapshot, now: Timestamp) -> Vec<Action> {
    let actions = reconcile(snapshot, now).actions;
    if actions.iter().all(Action::tells) { Vec::new() } else { actions }
}

/// Reasons and messages of what is said and not done.
fn said(model: &Model, now: Timestamp) -> Vec<String> {
    let actions = reconcile(model.snapshot(), now).actions.into_iter();
    actions
        .map(|action| {
            let Action::Event { reason, message, .. } = action else { panic!("{action:?}") };
            format!("{reason}: {message}")
        })
        .collect()
}

fn jobs(model: &Model) -> Vec<String> {
    model.snapshot().workloads().jobs.keys().map(|key| key.name.to_string()).collect()
}

fn end(model: &mut Model, name: &str, kind: &str, now: Timestamp) {
    let condition = json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let status = json!({"conditions": [condition], "completionTime": now});
    model.merge(&format!("/batch/jobs/d/{name}"), &json!({"status": status}));
}

#[test]
fn jobs_come_at_their_times_and_the_status_tells() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({})));
    settle(&mut model, at(0));
    assert!(jobs(&model).is_empty());
    let next = reconcile(model.snapshot(), at(0)).next_deadline.unwrap();
    assert_eq!(next.to_string(), "2001-09-09T01:47:00Z");
    settle(&mut model, next);
    assert_eq!(jobs(&model), ["tick-16666667"]);
    let job = model.get("/batch/jobs/d/tick-16666667");
    assert_eq!(job["metadata"]["labels"]["a"], "b");
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(
        annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2001-09-09T01:47:00Z"
    );
    let status = model.get(CRON)["status"].clone();
    assert_eq!(status["lastScheduleTime"], "2001-09-09T01:47:00Z");
    assert_eq!(status["active"][0]["name"], "tick-16666667");
    end(&mut model, "tick-16666667", "Complete", next);
    settle(&mut model, next);
    let status = model.get(CRON)["status"].clone();
    assert_eq!(status["lastSuccessfulTime"], "2001-09-09T01:47:00Z");
    assert!(status.get("active").is_none());
    assert_eq!(
        model.events,
        [
            "SuccessfulCreate: Created job tick-16666667",
            "SawCompletedJob: Saw completed job: tick-16666667, condition: Complete",
        ]
    );
}

#[test]
fn of_missed_times_only_the_latest_counts_whatever_the_clock_did() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({})));
    // A year without the master, or a clock that jumps ahead.
    settle(&mut model, at(525_600));
    assert_eq!(jobs(&model).len(), 1);
    // The clock is put right again: the time that it had been ahead says nothing.
    let early = jobs(&model);
    end(&mut model, &early[0], "Complete", at(525_600));
    settle(&mut model, at(2));
    settle(&mut model, at(3));
    let all = jobs(&model);
    assert!(
        all.contains(&"tick-16666668".to_owned()) || all.contains(&"tick-16666669".to_owned()),
        "{all:?}"
    );
    assert!(all.len() <= 3, "{all:?}");
    // Before 1970 is over nothing is due.
    settle(&mut model, Timestamp(5 * MINUTE_MS));
    assert_eq!(jobs(&model).len(), all.len());
}

#[test]
fn deadline_forgets_what_is_too_late_and_suspended_ones_rest() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({"schedule": "0 * * * *", "startingDeadlineSeconds": 100})));
    settle(&mut model, at(20));
    assert!(jobs(&model).is_empty());
    let missed = "MissSchedule: Missed scheduled time to start a job: \
         Sun, 09 Sep 2001 02:00:00 +0000";
    assert_eq!(said(&model, at(20)), [missed]);
    settle(&mut model, at(14));
    assert_eq!(jobs(&model).len(), 1);
    let mut model = Model::new();
    model.put(CRON, cron(json!({"suspend": true})));
    settle(&mut model, at(5));
    assert!(jobs(&model).is_empty());
}

#[test]
fn policies_decide_about_a_job_that_still_runs() {
    for (policy, left) in [("Allow", 2), ("Forbid", 1), ("Replace", 1)] {
        let mut model = Model::new();
        model.put(CRON, cron(json!({"concurrencyPolicy": policy})));
        settle(&mut model, at(1));
        settle(&mut model, at(2));
        assert_eq!(jobs(&model).len(), left, "{policy}");
        let first = jobs(&model).contains(&"tick-16666667".to_owned());
        assert_eq!(first, policy != "Replace");
    }
}

#[test]
fn what_keeps_a_job_from_its_start_is_told() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({"concurrencyPolicy": "Forbid"})));
    settle(&mut model, at(1));
    settle(&mut model, at(2));
    let why = "JobAlreadyActive: Not starting job because prior execution is running and \
         concurrency policy is Forbid";
    assert_eq!(said(&model, at(2)), [why]);
    model.put(CRON, cron(json!({"timeZone": "Nowhere"})));
    let unknown = "UnknownTimeZone: invalid timeZone: \"Nowhere\": unknown time zone Nowhere";
    assert_eq!(said(&model, at(2)), [unknown]);
    model.put(CRON, cron(json!({"schedule": "never"})));
    assert!(
        said(&model, at(2))[0].starts_with("UnparseableSchedule: unparseable schedule: \"never\"")
    );
    // Somebody else's job, and a night without the master.
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": "cron",
        "controller": true}]);
    let job = json!({"metadata": {"ownerReferences": owner}, "spec": {}});
    model.put("/batch/jobs/d/odd", job);
    model.put(CRON, cron(json!({})));
    settle(&mut model, at(600));
    let told = model.events.join("\n");
    assert!(
        told.contains("UnexpectedJob: Saw a job that the controller did not create or forgot: odd"),
        "{told}"
    );
    assert!(told.contains("TooManyMissedTimes: too many missed start times."), "{told}");
    assert!(!told.contains("forgot: tick-"), "{told}");
}

#[test]
fn history_is_kept_to_its_limits() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1})));
    for minute in 1..=8 {
        settle(&mut model, at(minute));
        let newest = jobs(&model).pop().unwrap();
        end(&mut model, &newest, if minute % 2 == 0 { "Complete" } else { "Failed" }, at(minute));
    }
    settle(&mut model, at(8));
    assert_eq!(jobs(&model).len(), 3);
}

#[test]
fn job_started_by_hand_is_as_young_as_its_start() {
    let mut model = Model::new();
    model.put(CRON, cron(json!({"successfulJobsHistoryLimit": 1})));
    settle(&mut model, at(1));
    end(&mut model, "tick-16666667", "Complete", at(1));
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": "cron",
        "controller": true}]);
    let metadata = json!({"ownerReferences": owner, "creationTimestamp": at(1)});
    let status = json!({"startTime": at(1)});
    model.put("/batch/jobs/d/by-hand", json!({"metadata": metadata, "spec": {}, "status": status}));
    end(&mut model, "by-hand", "Complete", at(1));
    settle(&mut model, at(1));
    assert_eq!(jobs(&model), ["by-hand"]);
}

#[test]
fn any_single_lost_action_is_healed_and_a_second_run_changes_nothing() {
    let story = |lost: Option<usize>| {
        let mut model = Model::new();
        model.put(CRON, cron(json!({"concurrencyPolicy": "Replace"})));
        let count = model.live(lost, |snapshot| acts(snapshot, at(1)));
        let left = lost.and_then(|lost| lost.checked_sub(count));
        let count = count + model.live(left, |snapshot| acts(snapshot, at(2)));
        assert_eq!(jobs(&model), ["tick-16666668"]);
        assert_eq!(model.get(CRON)["status"]["lastScheduleTime"], "2001-09-09T01:48:00Z");
        assert_eq!(reconcile(model.snapshot(), at(2)).actions, []);
        count
    };
    for lost in 0..story(None) {
        story(Some(lost));
    }
}
