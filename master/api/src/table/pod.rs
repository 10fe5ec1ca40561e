//! Columns of Pod, with the one-word status that kubectl's users know.

use serde_json::Value;

use super::{Column, age, name, name_column, or_none, text, wide};
use crate::{object, timestamp};

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Ready"),
    text("Status"),
    text("Restarts"),
    text("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let summary = summary(object);
    let restarts = match summary.last_restart {
        Some(then) => {
            let ago = crate::duration::human(now.saturating_sub(then));
            format!("{} ({ago} ago)", summary.restarts)
        }
        None => summary.restarts.to_string(),
    };
    let ip = match object::items(object, "/status/podIPs").first() {
        Some(first) => object::text(first, "/ip"),
        None => object::text(object, "/status/podIP"),
    };
    vec![
        name(object),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.status.into(),
        restarts.into(),
        age(object, now),
        or_none(ip),
        or_none(object::text(object, "/spec/nodeName")),
        or_none(object::text(object, "/status/nominatedNodeName")),
        gates(object),
    ]
}

struct Summary {
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<i64>,
    status: String,
}

/// An init container that goes on beside the others.
fn sidecar(container: &Value) -> bool {
    object::text(container, "/restartPolicy") == "Always"
}

fn restarted(status: &Value) -> Option<i64> {
    timestamp::parse(object::text(status, "/lastState/terminated/finishedAt"))
}

fn summary(pod: &Value) -> Summary {
    let mut status = match object::text(pod, "/status/reason") {
        "" => object::text(pod, "/status/phase"),
        reason => reason,
    }
    .to_owned();
    let scheduling_gated = object::items(pod, "/status/conditions").iter().any(|condition| {
        object::text(condition, "/type") == "PodScheduled"
            && object::text(condition, "/reason") == "SchedulingGated"
    });
    if scheduling_gated {
        "SchedulingGated".clone_into(&mut status);
    }
    let init = object::items(pod, "/spec/initContainers");
    let is_sidecar = |status: &Value| {
        let name = object::text(status, "/name");
        init.iter().any(|one| object::text(one, "/name") == name && sidecar(one))
    };
    let sidecars = init.iter().filter(|one| sidecar(one)).count();
    let mut result = Summary {
        ready: 0,
        containers: object::items(pod, "/spec/containers").len() + sidecars,
        restarts: 0,
        last_restart: None,
        status,
    };
    let mut sidecar_restarts = (0, None);
    let mut initializing = false;
    for (index, one) in object::items(pod, "/status/initContainerStatuses").iter().enumerate() {
        result.restarts += object::integer(one, "/restartCount");
        result.last_restart = result.last_restart.max(restarted(one));
        if is_sidecar(one) {
            sidecar_restarts.0 += object::integer(one, "/restartCount");
            sidecar_restarts.1 = sidecar_restarts.1.max(restarted(one));
            if object::truth(one, "/ready") {
                result.ready += 1;
            }
        }
        if initializing {
            continue;
        }
        if let Some(status) = init_status(one, is_sidecar(one), index, init.len()) {
            result.status = status;
            initializing = true;
        }
    }
    if !initializing || initialized(pod) {
        result.restarts = sidecar_restarts.0;
        result.last_restart = sidecar_restarts.1;
        container_status(pod, &mut result);
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        let finished = ["Succeeded", "Failed"].contains(&object::text(pod, "/status/phase"));
        if object::text(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut result.status);
        } else if !finished {
            "Terminating".clone_into(&mut result.status);
        }
    }
    result
}

/// What an init container that holds the pod up makes of the status; none if it does not.
fn init_status(status: &Value, sidecar: bool, index: usize, total: usize) -> Option<String> {
    if let Some(terminated) = status.pointer("/state/terminated") {
        let code = object::integer(terminated, "/exitCode");
        if code == 0 {
            return None;
        }
        return Some(match object::text(terminated, "/reason") {
            "" => match object::integer(terminated, "/signal") {
                0 => format!("Init:ExitCode:{code}"),
                signal => format!("Init:Signal:{signal}"),
            },
            reason => format!("Init:{reason}"),
        });
    }
    if sidecar && object::truth(status, "/started") {
        return None;
    }
    Some(match object::text(status, "/state/waiting/reason") {
        "" | "PodInitializing" => format!("Init:{index}/{total}"),
        reason => format!("Init:{reason}"),
    })
}

fn initialized(pod: &Value) -> bool {
    condition(pod, "Initialized")
}

fn condition(pod: &Value, kind: &str) -> bool {
    object::items(pod, "/status/conditions").iter().any(|condition| {
        object::text(condition, "/type") == kind && object::text(condition, "/status") == "True"
    })
}

fn container_status(pod: &Value, result: &mut Summary) {
    let mut running = false;
    for one in object::items(pod, "/status/containerStatuses").iter().rev() {
        result.restarts += object::integer(one, "/restartCount");
        result.last_restart = result.last_restart.max(restarted(one));
        let waiting = object::text(one, "/state/waiting/reason");
        let terminated = one.pointer("/state/terminated");
        if !waiting.is_empty() {
            waiting.clone_into(&mut result.status);
        } else if let Some(terminated) = terminated {
            result.status = match object::text(terminated, "/reason") {
                "" => match object::integer(terminated, "/signal") {
                    0 => format!("ExitCode:{}", object::integer(terminated, "/exitCode")),
                    signal => format!("Signal:{signal}"),
                },
                reason => reason.to_owned(),
            };
        } else if object::truth(one, "/ready") && one.pointer("/state/running").is_some() {
            running = true;
            result.ready += 1;
        }
    }
    // One container is done and another one works: the pod runs.
    if result.status == "Completed" && running {
        let status = if condition(pod, "Ready") { "Running" } else { "NotReady" };
        status.clone_into(&mut result.status);
    }
}

fn gates(pod: &Value) -> Value {
    let gates = object::items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let ready =
        gates.iter().filter(|gate| condition(pod, object::text(gate, "/conditionType"))).count();
    format!("{ready}/{}", gates.len()).into()
}
