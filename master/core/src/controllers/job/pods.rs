//! The pods of a job: what they are made of, and when the next may come.

use serde_json::{Value, json};

use super::super::owner::{Owner, set, set_metadata};
use super::FINALIZER;
use crate::view::job::JobView;
use crate::view::pod::{Phase, PodView};
use crate::view::timestamp::Timestamp;

/// Label and annotation that tell the index of a pod.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation that counts the failures of an index before this pod.
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Pause after the first failure, as upstream.
const FIRST_MS: i64 = 10_000;
/// Longest pause, as upstream.
const LONGEST_MS: i64 = 10 * 60 * 1_000;

/// The index of a pod.
pub(super) fn index(pod: &PodView) -> Option<i32> {
    pod.meta.annotations.get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// How often the index of a pod had failed before it.
pub(super) fn failures_before(pod: &PodView) -> i32 {
    let count = pod.meta.annotations.get(INDEX_FAILURES);
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// A new pod. `index` comes with the failures that it had, if those are counted for each index.
pub(super) fn new(
    owner: &Owner<'_>,
    job: &JobView,
    template: &Value,
    name: &str,
    index: Option<(i32, Option<i32>)>,
) -> Value {
    let mut pod = owner.pod(template, name);
    let finalizers = pod.pointer("/metadata/finalizers").and_then(Value::as_array);
    let mut finalizers = finalizers.cloned().unwrap_or_default();
    finalizers.push(json!(FINALIZER));
    set(&mut pod, &["metadata"], "finalizers", json!(finalizers));
    set(&mut pod, &["metadata"], "generateName", json!(prefix(job, index.map(|it| it.0))));
    let Some((index, failures)) = index else { return pod };
    set_metadata(&mut pod, "annotations", INDEX, &index.to_string());
    set_metadata(&mut pod, "labels", INDEX, &index.to_string());
    if let Some(failures) = failures {
        set_metadata(&mut pod, "annotations", INDEX_FAILURES, &failures.to_string());
    }
    set(&mut pod, &["spec"], "hostname", json!(format!("{}-{index}", job.meta.name)));
    for list in ["/spec/containers", "/spec/initContainers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(tell_index);
    }
    pod
}

/// The beginning of the names of a job's pods.
pub(super) fn prefix(job: &JobView, index: Option<i32>) -> String {
    match index {
        Some(index) => format!("{}-{index}-", job.meta.name),
        None => format!("{}-", job.meta.name),
    }
}

/// Gives a container its index, unless it sets the variable itself.
fn tell_index(container: &mut Value) {
    let present = container.get("env").and_then(Value::as_array).cloned();
    let mut variables = present.unwrap_or_default();
    if variables.iter().any(|variable| variable["name"] == "JOB_COMPLETION_INDEX") {
        return;
    }
    let path = format!("metadata.labels['{INDEX}']");
    let from = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    variables.push(json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": from}));
    set(container, &[], "env", json!(variables));
}

fn finished_at(pod: &PodView) -> Timestamp {
    let ended = pod.exits.iter().filter_map(|exit| exit.finished_at).max();
    let ready = crate::view::condition::find(&pod.conditions, "Ready");
    ended
        .or_else(|| ready.and_then(|ready| ready.last_transition_time))
        .or(pod.meta.deletion_timestamp)
        .or(pod.meta.creation_timestamp)
        .unwrap_or_default()
}

/// When a pod may follow those that failed since the last success: pauses double.
pub(super) fn next_start(pods: &[&PodView]) -> Option<Timestamp> {
    let succeeded = pods.iter().filter(|pod| pod.phase == Phase::Succeeded);
    let last_success = succeeded.map(|pod| finished_at(pod)).max();
    let failed = pods.iter().filter(|pod| pod.phase == Phase::Failed).map(|pod| finished_at(pod));
    let failed: Vec<_> =
        failed.filter(|at| last_success.is_none_or(|success| *at > success)).collect();
    let last = failed.iter().max()?;
    Some(after(*last, failed.len().saturating_sub(1)))
}

/// When an index may have its next pod after this one failed.
pub(super) fn next_start_of_index(failed: &PodView) -> Timestamp {
    after(finished_at(failed), usize::try_from(failures_before(failed)).unwrap_or_default())
}

fn after(failure: Timestamp, doublings: usize) -> Timestamp {
    let pause_ms = FIRST_MS.saturating_mul(1_i64 << doublings.min(20)).min(LONGEST_MS);
    Timestamp(failure.0.saturating_add(pause_ms))
}
