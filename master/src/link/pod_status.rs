//! A pod's state, as its node reports it, as the API's `status`.
//!
//! Keeps what others have written there: the scheduler's condition, foreign conditions, the
//! quality-of-service class.

use bramble_api::timestamp;
use bramble_shared::link::{ContainerState, ContainerStatus, PodPhase, PodStatus};
use serde_json::{Map, Value, json};

use super::field::Field;
use super::pod::{counted, unmet_gates};

/// Writes a report into a pod object; `now_ms` is the time of day. `host_ip` is the node's address.
pub(super) fn apply(object: &mut Value, report: &PodStatus, host_ip: &str, now_ms: u64) {
    let old = object.get("status").cloned().unwrap_or_default();
    let mut status = old.as_object().cloned().unwrap_or_default();
    let ended = matches!(report.phase, PodPhase::Succeeded | PodPhase::Failed);
    let conditions = conditions(Field(object), report, ended, now_ms);
    let mut set = |name: &str, value: Value| {
        let empty = value.is_null() || value == "" || value == json!([]);
        if empty { drop(status.remove(name)) } else { drop(status.insert(name.to_owned(), value)) }
    };
    set("phase", Value::from(phase(report.phase)));
    set("reason", Value::from(report.reason.clone()));
    set("message", Value::from(report.message.clone()));
    set("observedGeneration", Value::from(report.observed_generation));
    set("hostIP", Value::from(host_ip));
    set("hostIPs", json!([{"ip": host_ip}]));
    let ip = report.pod_ip.map(|ip| ip.to_string());
    set("podIPs", ip.as_ref().map_or(Value::Null, |ip| json!([{"ip": ip}])));
    set("podIP", ip.map_or(Value::Null, Value::from));
    set("startTime", Value::from(time(report.started_ms)));
    set("conditions", Value::from(conditions));
    let spec = Field(object).get("spec");
    for (list, reported, status) in [
        ("initContainers", &report.init_containers, "initContainerStatuses"),
        ("containers", &report.containers, "containerStatuses"),
        ("ephemeralContainers", &report.ephemeral_containers, "ephemeralContainerStatuses"),
    ] {
        let of = |reported: &ContainerStatus| {
            let mut shown = container(reported);
            let old = Field(&old).get(status).items().map(|old| old.0);
            let old = old.into_iter().find(|old| old.get("name") == shown.get("name")).cloned();
            let found = spec.get(list).items().find(|one| one.get("name").text() == reported.name);
            if let Some(found) = found {
                resources(&mut shown, reported, found, old.as_ref());
            }
            shown
        };
        set(status, reported.iter().map(of).collect());
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("status".to_owned(), Value::Object(status));
    }
}

/// Shows what a container may use: what the spec says once its node has done so, and otherwise what
/// was shown before.
fn resources(shown: &mut Value, reported: &ContainerStatus, spec: Field<'_>, old: Option<&Value>) {
    let actual = reported.resources;
    let done = actual.is_none() || actual == counted(spec);
    let Some(shown) = shown.as_object_mut() else { return };
    let mut set = |name: &str, value: Option<&Value>| {
        if let Some(value) = value.filter(|value| !value.is_null() && **value != json!({})) {
            shown.insert(name.to_owned(), value.clone());
        }
    };
    let wanted = spec.0.get("resources");
    // What is asked for was let in with the pod, or with its resize.
    set("allocatedResources", wanted.and_then(|wanted| wanted.get("requests")));
    match (done, wanted) {
        (true, Some(wanted)) => drop(shown.insert("resources".to_owned(), wanted.clone())),
        (true, None) => {}
        (false, _) => set("resources", old.and_then(|old| old.get("resources"))),
    }
}

/// True once a pod has ended: nothing that comes later may revive it.
pub(super) fn has_ended(object: &Value) -> bool {
    matches!(Field(object).get("status").get("phase").text(), "Succeeded" | "Failed")
}

/// The API's spelling of a phase.
pub(super) const fn phase(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "Pending",
        PodPhase::Running => "Running",
        PodPhase::Succeeded => "Succeeded",
        PodPhase::Failed => "Failed",
    }
}

fn time(ms: u64) -> String {
    timestamp::format(i64::try_from(ms / 1_000).unwrap_or(i64::MAX))
}

fn conditions(pod: Field<'_>, report: &PodStatus, ended: bool, now_ms: u64) -> Vec<Value> {
    let old = pod.get("status").get("conditions");
    let completed = if report.phase == PodPhase::Succeeded { "PodCompleted" } else { "PodFailed" };
    let not_ready = || {
        let waiting = report.containers.iter().filter(|container| !container.ready);
        let names: Vec<&str> = waiting.map(|container| container.name.as_str()).collect();
        let message = format!("containers with unready status: [{}]", names.join(" "));
        if ended { (completed, String::new()) } else { ("ContainersNotReady", message) }
    };
    let uninitialized = || {
        let waiting = report.init_containers.iter().filter(|container| !container.ready);
        let names: Vec<&str> = waiting.map(|container| container.name.as_str()).collect();
        let message = format!("containers with incomplete status: [{}]", names.join(" "));
        ("ContainersNotInitialized", message)
    };
    let nothing = || ("", String::new());
    let of = |kind: &str, holds: bool, why: (&str, String)| {
        condition(old, report, kind, holds, why, now_ms)
    };
    // Readiness gates are conditions that others set.
    let ours = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodResizePending",
        "PodResizeInProgress",
    ];
    let foreign = old.items().filter(|condition| !ours.contains(&condition.get("type").text()));
    let foreign: Vec<Value> = foreign.map(|condition| condition.0.clone()).collect();
    // The gates may have changed since the node was told of them; it will hear of it.
    let gates = gates(pod);
    let ready = report.ready && gates.is_empty();
    let containers_unready = if report.containers_ready { nothing() } else { not_ready() };
    let unready = match (ready, report.containers_ready, gates.is_empty()) {
        (true, _, _) => nothing(),
        (false, true, false) => ("ReadinessGatesNotReady", gates),
        (false, _, _) => containers_unready.clone(),
    };
    let mut conditions = vec![
        of("PodReadyToStartContainers", report.sandbox_ready, nothing()),
        of(
            "Initialized",
            report.initialized,
            if report.initialized { nothing() } else { uninitialized() },
        ),
        of("Ready", ready, unready),
        of("ContainersReady", report.containers_ready, containers_unready),
    ];
    if resizing(pod, report) && !ended {
        let failure = report.resize_failure.clone();
        let why = if failure.is_empty() { nothing() } else { ("Error", failure) };
        conditions.push(of("PodResizeInProgress", true, why));
    }
    if !foreign.iter().any(|condition| Field(condition).get("type").text() == "PodScheduled") {
        conditions.push(of("PodScheduled", true, nothing()));
    }
    conditions.extend(foreign);
    conditions
}

/// Whether a container does not have yet what its spec says.
fn resizing(pod: Field<'_>, report: &PodStatus) -> bool {
    let spec = pod.get("spec");
    [("initContainers", &report.init_containers), ("containers", &report.containers)]
        .into_iter()
        .flat_map(|(list, reported)| reported.iter().map(move |reported| (list, reported)))
        .any(|(list, reported)| {
            let found = spec.get(list).items().find(|one| one.get("name").text() == reported.name);
            reported.resources.is_some() && reported.resources != found.and_then(counted)
        })
}

/// What the pod's readiness gates lack, in upstream's words; empty if they all hold.
fn gates(pod: Field<'_>) -> String {
    let word = |(kind, status): (&str, &str)| match status {
        "" => format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."),
        status => {
            format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {status}")
        }
    };
    unmet_gates(pod).map(word).collect::<Vec<_>>().join(", ")
}

fn condition(
    old: Field<'_>,
    report: &PodStatus,
    kind: &str,
    holds: bool,
    (reason, message): (&str, String),
    now_ms: u64,
) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = old.items().find(|condition| condition.get("type").text() == kind);
    let since = before.filter(|before| before.get("status").text() == status);
    let since = since.map(|before| before.get("lastTransitionTime").text());
    let since = since.filter(|since| !since.is_empty());
    let mut condition = Map::new();
    let mut set = |name: &str, value: Value| drop(condition.insert(name.to_owned(), value));
    set("type", Value::from(kind));
    set("status", Value::from(status));
    set("observedGeneration", Value::from(report.observed_generation));
    set("lastProbeTime", Value::Null);
    set("lastTransitionTime", since.map_or_else(|| Value::from(time(now_ms)), Value::from));
    if !reason.is_empty() {
        set("reason", Value::from(reason));
    }
    if !message.is_empty() {
        set("message", Value::from(message));
    }
    Value::Object(condition)
}

fn container(status: &ContainerStatus) -> Value {
    let mut object = json!({
        "name": status.name,
        "image": status.image,
        "imageID": status.image_id,
        "ready": status.ready,
        "started": status.started,
        "restartCount": status.restart_count,
        "state": state(&status.state, &status.container_id),
        "lastState": status
            .last_state
            .as_ref()
            .map_or_else(|| json!({}), |last| state(last, "")),
    });
    if !status.container_id.is_empty()
        && let Some(object) = object.as_object_mut()
    {
        object.insert("containerID".to_owned(), Value::from(status.container_id.clone()));
    }
    object
}

fn state(state: &ContainerState, container_id: &str) -> Value {
    let mut inner = Map::new();
    let mut set = |name: &str, value: Value| {
        if value != "" {
            inner.insert(name.to_owned(), value);
        }
    };
    let kind = match state {
        ContainerState::Waiting { reason, message } => {
            set("reason", Value::from(reason.as_str()));
            set("message", Value::from(message.as_str()));
            "waiting"
        }
        ContainerState::Running { started_ms } => {
            set("startedAt", Value::from(time(*started_ms)));
            "running"
        }
        ContainerState::Terminated {
            exit_code,
            signal,
            reason,
            message,
            started_ms,
            finished_ms,
        } => {
            set("exitCode", Value::from(*exit_code));
            if *signal != 0 {
                set("signal", Value::from(*signal));
            }
            set("reason", Value::from(reason.as_str()));
            set("message", Value::from(message.as_str()));
            set("startedAt", Value::from(time(*started_ms)));
            set("finishedAt", Value::from(time(*finished_ms)));
            set("containerID", Value::from(container_id));
            "terminated"
        }
    };
    json!({ kind: inner })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn report(ready: bool) -> PodStatus {
        PodStatus {
            namespace: "n".to_owned(),
            name: "a".to_owned(),
            uid: "u".to_owned(),
            observed_generation: 2,
            phase: PodPhase::Running,
            reason: String::new(),
            message: String::new(),
            pod_ip: Some(Ipv4Addr::new(10, 42, 0, 5)),
            started_ms: 1_000,
            sandbox_ready: true,
            initialized: true,
            containers_ready: ready,
            ready,
            init_containers: vec![],
            ephemeral_containers: vec![],
            resize_failure: String::new(),
            containers: vec![ContainerStatus {
                name: "c".to_owned(),
                resources: None,
                container_id: "bramble://1".to_owned(),
                image: "i".to_owned(),
                image_id: "i@sha256:0".to_owned(),
                restart_count: 1,
                ready,
                started: true,
                state: ContainerState::Running { started_ms: 5_000 },
                last_state: Some(ContainerState::Terminated {
                    exit_code: 137,
                    signal: 9,
                    reason: "OOMKilled".to_owned(),
                    message: String::new(),
                    started_ms: 2_000,
                    finished_ms: 4_000,
                }),
            }],
        }
    }

    fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
        let conditions = object["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == kind).unwrap()
    }

    #[test]
    fn report_becomes_a_status() {
        let mut object = json!({"status": {"qosClass": "Burstable", "phase": "Pending"}});
        apply(&mut object, &report(true), "192.0.2.1", 6_000);
        let status = &object["status"];
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["qosClass"], "Burstable");
        assert_eq!(status["podIPs"], json!([{"ip": "10.42.0.5"}]));
        assert_eq!(status["hostIP"], "192.0.2.1");
        assert_eq!(status["startTime"], "1970-01-01T00:00:01Z");
        assert_eq!(
            status["containerStatuses"][0],
            json!({
                "name": "c", "image": "i", "imageID": "i@sha256:0", "containerID": "bramble://1",
                "ready": true, "started": true, "restartCount": 1,
                "state": {"running": {"startedAt": "1970-01-01T00:00:05Z"}},
                "lastState": {"terminated": {
                    "exitCode": 137, "signal": 9, "reason": "OOMKilled",
                    "startedAt": "1970-01-01T00:00:02Z", "finishedAt": "1970-01-01T00:00:04Z",
                }},
            })
        );
        for kind in
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        {
            assert_eq!(condition(&object, kind)["status"], "True", "{kind}");
        }
    }

    #[test]
    fn conditions_keep_their_time_until_they_change() {
        let scheduled =
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "x"});
        let mut object = json!({"status": {"conditions": [scheduled]}});
        apply(&mut object, &report(false), "192.0.2.1", 6_000);
        apply(&mut object, &report(false), "192.0.2.1", 7_000);
        let ready = condition(&object, "Ready");
        assert_eq!(ready["lastTransitionTime"], "1970-01-01T00:00:06Z");
        assert_eq!(ready["reason"], "ContainersNotReady");
        assert_eq!(ready["message"], "containers with unready status: [c]");
        assert_eq!(condition(&object, "PodScheduled")["lastTransitionTime"], "x");
        apply(&mut object, &report(true), "192.0.2.1", 9_000);
        assert_eq!(condition(&object, "Ready")["lastTransitionTime"], "1970-01-01T00:00:09Z");
        assert!(condition(&object, "Ready").get("reason").is_none());
    }

    #[test]
    fn readiness_gates_hold_a_pod_back_until_somebody_says_that_they_are_met() {
        let mut object = json!({"spec": {"readinessGates": [{"conditionType": "up"}]}});
        apply(&mut object, &report(true), "192.0.2.1", 6_000);
        assert_eq!(condition(&object, "ContainersReady")["status"], "True");
        let ready = condition(&object, "Ready");
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("ReadinessGatesNotReady"))
        );
        let told = "corresponding condition of pod readiness gate \"up\" does not exist.";
        assert_eq!(ready["message"], told);
        let conditions = object["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"type": "up", "status": "False"}));
        apply(&mut object, &report(true), "192.0.2.1", 6_000);
        let told = "the status of pod readiness gate \"up\" is not \"True\", but False";
        assert_eq!(condition(&object, "Ready")["message"], told);
        let conditions = object["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|condition| condition["type"] != "up");
        conditions.push(json!({"type": "up", "status": "True"}));
        apply(&mut object, &report(true), "192.0.2.1", 6_000);
        assert_eq!(condition(&object, "Ready")["status"], "True");
    }

    #[test]
    fn resources_are_shown_once_the_node_has_given_them() {
        use bramble_shared::link::Resources;
        let mut object = json!({"spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "20m", "memory": "35Mi"}}},
        ]}});
        let mut report = report(true);
        let given = |milli| Resources {
            cpu_request_milli: Some(milli),
            memory_request: Some(35 << 20),
            ..Resources::default()
        };
        report.containers[0].resources = Some(given(20));
        apply(&mut object, &report, "192.0.2.1", 6_000);
        let amounts = json!({"cpu": "20m", "memory": "35Mi"});
        let shown =
            |object: &Value, field: &str| object["status"]["containerStatuses"][0][field].clone();
        assert_eq!(shown(&object, "allocatedResources"), amounts);
        assert_eq!(shown(&object, "resources"), json!({"requests": amounts}));
        object["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("25m");
        report.resize_failure = "not now".to_owned();
        apply(&mut object, &report, "192.0.2.1", 7_000);
        assert_eq!(shown(&object, "allocatedResources")["cpu"], "25m");
        assert_eq!(shown(&object, "resources")["requests"]["cpu"], "20m");
        let running = condition(&object, "PodResizeInProgress");
        assert_eq!((&running["reason"], &running["message"]), (&json!("Error"), &json!("not now")));
        report.containers[0].resources = Some(given(25));
        apply(&mut object, &report, "192.0.2.1", 8_000);
        assert_eq!(shown(&object, "resources")["requests"]["cpu"], "25m");
        let conditions = object["status"]["conditions"].as_array().unwrap();
        assert!(conditions.iter().all(|one| one["type"] != "PodResizeInProgress"));
    }

    #[test]
    fn the_same_report_changes_nothing() {
        let mut object = json!({});
        apply(&mut object, &report(true), "192.0.2.1", 6_000);
        let before = object.clone();
        apply(&mut object, &report(true), "192.0.2.1", 60_000);
        assert_eq!(object, before);
    }
}
