//! What is kept of a node's words: of its own pods' containers only, and no more than people read.
//!
//! Pure. A node that was taken over is not refused for saying too much, it is cut short: whoever
//! reads the status of its pods still sees the beginning.

use std::collections::BTreeSet;

use bramble_shared::link::{
    BootReport, ContainerState, ContainerStatus, Hello, NodeConditions, PodStatus,
};
use serde_json::Value;

use super::field::Field;

/// Longest reason, in bytes: upstream's for events.
const REASON_LEN_MAX: usize = 128;
/// Longest message, in bytes: upstream's for events.
const MESSAGE_LEN_MAX: usize = 1_024;
/// Longest termination message of a container, and of all of a pod's together, in bytes: upstream's.
const TERMINATION_LEN_MAX: usize = 4_096;
const TERMINATIONS_LEN_MAX: usize = 12 * 1_024;
/// Longest image reference or id, in bytes: 255 for the name, a tag and a digest, and room.
const REFERENCE_LEN_MAX: usize = 512;
/// Longest word that a board has for what it is, in bytes.
const FACT_LEN_MAX: usize = 256;
/// End of the year 9999: a later time cannot be written as RFC 3339.
const TIME_MS_MAX: u64 = 253_402_300_799_000;
/// Largest capacities that a board is believed to have: 1,024 cores, 1 PiB; and as many pods as its
/// range has addresses.
const CPU_MILLI_MAX: u64 = 1_024_000;
const BYTES_MAX: u64 = 1 << 50;
const PODS_MAX: u32 = 253;

/// A text of at most `len_max` bytes, with dots if it was longer.
pub(super) fn cut(text: &str, len_max: usize) -> String {
    const DOTS: &str = "...";
    if text.len() <= len_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(len_max.saturating_sub(DOTS.len()));
    format!("{}{DOTS}", text.get(..end).unwrap_or_default())
}

/// A report of `pod`, with the containers that this has.
pub(super) fn report(report: &PodStatus, pod: &Value) -> PodStatus {
    let spec = Field(pod).get("spec");
    let named = |list: &str| -> BTreeSet<String> {
        spec.get(list).items().map(|container| container.get("name").string()).collect()
    };
    let generation = Field(pod).get("metadata").get("generation").integer().unwrap_or(0_u64);
    let init_containers = containers(&report.init_containers, named("initContainers"));
    let ephemeral_containers =
        containers(&report.ephemeral_containers, named("ephemeralContainers"));
    let containers = containers(&report.containers, named("containers"));
    let mut report = PodStatus {
        namespace: report.namespace.clone(),
        name: report.name.clone(),
        uid: report.uid.clone(),
        // A node cannot have seen what was not written yet.
        observed_generation: report.observed_generation.min(generation),
        phase: report.phase,
        reason: cut(&report.reason, REASON_LEN_MAX),
        message: cut(&report.message, MESSAGE_LEN_MAX),
        pod_ip: report.pod_ip,
        started_ms: report.started_ms.min(TIME_MS_MAX),
        sandbox_ready: report.sandbox_ready,
        initialized: report.initialized,
        containers_ready: report.containers_ready,
        ready: report.ready,
        init_containers,
        containers,
        ephemeral_containers,
        resize_failure: cut(&report.resize_failure, MESSAGE_LEN_MAX),
    };
    share_terminations(&mut report);
    report
}

/// The containers that are in the spec, each once, with bounded words.
fn containers(said: &[ContainerStatus], mut names: BTreeSet<String>) -> Vec<ContainerStatus> {
    let of = |status: &ContainerStatus| ContainerStatus {
        name: status.name.clone(),
        container_id: cut(&status.container_id, REFERENCE_LEN_MAX),
        image: cut(&status.image, REFERENCE_LEN_MAX),
        image_id: cut(&status.image_id, REFERENCE_LEN_MAX),
        // The API's numbers are signed.
        restart_count: status.restart_count.min(i32::MAX.unsigned_abs()),
        ready: status.ready,
        started: status.started,
        state: state(&status.state),
        last_state: status.last_state.as_ref().map(state),
        resources: status.resources,
    };
    said.iter().filter(|status| names.remove(&status.name)).map(of).collect()
}

fn state(said: &ContainerState) -> ContainerState {
    let mut state = said.clone();
    match &mut state {
        ContainerState::Waiting { reason, message } => {
            *reason = cut(reason, REASON_LEN_MAX);
            *message = cut(message, MESSAGE_LEN_MAX);
        }
        ContainerState::Running { started_ms } => *started_ms = (*started_ms).min(TIME_MS_MAX),
        ContainerState::Terminated { reason, message, started_ms, finished_ms, .. } => {
            *reason = cut(reason, REASON_LEN_MAX);
            *message = cut(message, TERMINATION_LEN_MAX);
            *started_ms = (*started_ms).min(TIME_MS_MAX);
            *finished_ms = (*finished_ms).min(TIME_MS_MAX);
        }
    }
    state
}

/// Gives every termination message an equal part if all together are too long.
fn share_terminations(report: &mut PodStatus) {
    let mut messages: Vec<&mut String> = report
        .init_containers
        .iter_mut()
        .chain(&mut report.containers)
        .chain(&mut report.ephemeral_containers)
        .flat_map(|status| std::iter::once(&mut status.state).chain(&mut status.last_state))
        .filter_map(|state| match state {
            ContainerState::Terminated { message, .. } if !message.is_empty() => Some(message),
            ContainerState::Terminated { .. }
            | ContainerState::Waiting { .. }
            | ContainerState::Running { .. } => None,
        })
        .collect();
    if messages.iter().map(|message| message.len()).sum::<usize>() > TERMINATIONS_LEN_MAX {
        let part = TERMINATIONS_LEN_MAX / messages.len();
        messages.iter_mut().for_each(|message| **message = cut(message, part));
    }
}

/// Reason and message of an event, and the part of its object.
pub(super) fn event_words(reason: &str, message: &str, field_path: &str) -> [String; 3] {
    [cut(reason, REASON_LEN_MAX), cut(message, MESSAGE_LEN_MAX), cut(field_path, FACT_LEN_MAX)]
}

/// A node's view of its health.
pub(super) fn conditions(said: &NodeConditions) -> NodeConditions {
    NodeConditions { message: cut(&said.message, MESSAGE_LEN_MAX), ..said.clone() }
}

/// What system a board runs.
pub(super) fn boot(said: &BootReport) -> BootReport {
    BootReport {
        slot: cut(&said.slot, FACT_LEN_MAX),
        version: cut(&said.version, FACT_LEN_MAX),
        trial: said.trial,
        upgrade: cut(&said.upgrade, MESSAGE_LEN_MAX),
    }
}

/// What a board says of itself.
pub(super) fn hello(said: &Hello) -> Hello {
    let mut hello = said.clone();
    hello.serial = cut(&said.serial, FACT_LEN_MAX);
    let facts = &mut hello.facts;
    for text in [
        &mut facts.architecture,
        &mut facts.os_image,
        &mut facts.kernel_version,
        &mut facts.agent_version,
        &mut facts.machine_id,
        &mut facts.hostname,
    ] {
        *text = cut(text, FACT_LEN_MAX);
    }
    facts.cpu_milli = facts.cpu_milli.min(CPU_MILLI_MAX);
    facts.memory_bytes = facts.memory_bytes.min(BYTES_MAX);
    facts.storage_bytes = facts.storage_bytes.min(BYTES_MAX);
    facts.pods_max = facts.pods_max.min(PODS_MAX);
    facts.boot = facts.boot.as_ref().map(boot);
    hello
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::PodPhase;
    use serde_json::json;

    use super::*;
    use crate::link::node_status::tests::hello as honest;

    fn terminated(message: &str) -> ContainerState {
        ContainerState::Terminated {
            exit_code: 1,
            signal: 0,
            reason: "r".repeat(9_999),
            message: message.to_owned(),
            started_ms: u64::MAX,
            finished_ms: u64::MAX,
        }
    }

    fn container(name: &str, state: ContainerState) -> ContainerStatus {
        ContainerStatus {
            name: name.to_owned(),
            container_id: "x".repeat(9_999),
            image: "x".repeat(9_999),
            image_id: "x".repeat(9_999),
            restart_count: u32::MAX,
            ready: true,
            started: true,
            last_state: Some(state.clone()),
            resources: None,
            state,
        }
    }

    fn said(containers: Vec<ContainerStatus>) -> PodStatus {
        PodStatus {
            namespace: "n".to_owned(),
            name: "a".to_owned(),
            uid: "u".to_owned(),
            observed_generation: u64::MAX,
            phase: PodPhase::Running,
            reason: "x".repeat(9_999),
            message: "x".repeat(1 << 20),
            pod_ip: None,
            started_ms: u64::MAX,
            sandbox_ready: true,
            initialized: true,
            containers_ready: true,
            ephemeral_containers: vec![],
            resize_failure: String::new(),
            ready: true,
            init_containers: vec![],
            containers,
        }
    }

    fn pod(names: &[&str]) -> Value {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"metadata": {"generation": 2}, "spec": {"containers": containers}})
    }

    #[test]
    fn containers_that_the_pod_has_not_are_dropped_and_others_come_once() {
        let names: Vec<String> = (0..50_000).map(|number| format!("c{number}")).collect();
        let waiting = || ContainerState::Waiting { reason: String::new(), message: String::new() };
        let mut all: Vec<_> = names.iter().map(|name| container(name, waiting())).collect();
        all.push(container("c7", waiting()));
        let mut status = said(all);
        status.init_containers = vec![container("c1", waiting())];
        let kept = report(&status, &pod(&["c1", "c7", "missing"]));
        let names = kept.containers.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["c1", "c7"]);
        assert_eq!(kept.init_containers, []);
    }

    #[test]
    fn words_numbers_and_times_are_bounded() {
        let kept = report(&said(vec![container("c", terminated(""))]), &pod(&["c"]));
        assert_eq!((kept.reason.len(), kept.message.len()), (REASON_LEN_MAX, MESSAGE_LEN_MAX));
        assert_eq!((kept.observed_generation, kept.started_ms), (2, TIME_MS_MAX));
        let container = &kept.containers[0];
        assert_eq!(container.image.len(), REFERENCE_LEN_MAX);
        assert_eq!(container.restart_count, 2_147_483_647);
        let ContainerState::Terminated { reason, finished_ms, .. } = &container.state else {
            panic!("{container:?}");
        };
        assert_eq!((reason.len(), *finished_ms), (REASON_LEN_MAX, TIME_MS_MAX));
    }

    #[test]
    fn termination_messages_share_what_upstream_gives_a_pod() {
        let total = |count: usize, len: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
            let message = "m".repeat(len);
            let all = names.iter().map(|name| container(name, terminated(&message))).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let kept = report(&said(all), &pod(&names));
            let of = |state: &ContainerState| match state {
                ContainerState::Terminated { message, .. } => message.len(),
                ContainerState::Waiting { .. } | ContainerState::Running { .. } => 0,
            };
            let states = kept.containers.iter();
            states.map(|it| of(&it.state) + it.last_state.as_ref().map_or(0, of)).sum::<usize>()
        };
        assert_eq!(total(1, 9_999), 2 * TERMINATION_LEN_MAX);
        assert_eq!(total(1, 100), 200);
        assert!(total(30, 9_999) <= TERMINATIONS_LEN_MAX);
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(cut("four", 4), "four");
        assert_eq!(cut("\u{e4}\u{e4}\u{e4}\u{e4}", 6), "\u{e4}...");
        assert_eq!(cut("longer", 0), "...");
    }

    #[test]
    fn a_board_is_believed_to_be_of_this_world() {
        let mut boast = honest();
        boast.facts.memory_bytes = u64::MAX;
        boast.facts.cpu_milli = u64::MAX;
        boast.facts.pods_max = u32::MAX;
        boast.facts.os_image = "x".repeat(9_999);
        let kept = hello(&boast).facts;
        assert_eq!((kept.memory_bytes, kept.cpu_milli), (BYTES_MAX, CPU_MILLI_MAX));
        assert_eq!((kept.pods_max, kept.os_image.len()), (PODS_MAX, FACT_LEN_MAX));
        assert_eq!(hello(&honest()), honest());
    }
}
