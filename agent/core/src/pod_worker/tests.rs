//! The pod worker's table of states and events, its stories, and its properties.

use bramble_shared::link::{ContainerState, Handler, Probe, RestartPolicy};
use proptest::prelude::*;

use super::example::{container, pod};
use super::*;

fn at(ms: u64) -> Moment {
    Moment { instant: Instant::from_millis(1_000_000 + ms), time_of_day_ms: 5_000_000 + ms }
}

fn ready() -> Event {
    Event::SandboxReady { ip: Ipv4Addr::new(10, 42, 0, 2) }
}

fn image(name: &str) -> Event {
    image_named(name, "busybox:1")
}

fn image_named(name: &str, image: &str) -> Event {
    Event::ImageReady {
        container: name.to_owned(),
        image: image.to_owned(),
        stop_signal: 15,
        image_id: "busybox@sha256:1".to_owned(),
        pulled: None,
    }
}

fn started(name: &str, attempt: u32) -> Event {
    let id = format!("u1.{name}.{attempt}");
    Event::ContainerStarted { container: name.to_owned(), attempt, id }
}

fn exited(name: &str, attempt: u32, code: i32) -> Event {
    let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
    let exit = Exit { code, signal: 0, reason, message: String::new(), finished_ms: 0 };
    Event::ContainerExited { container: name.to_owned(), attempt, exit }
}

fn probe(failure_threshold: u32) -> Probe {
    Probe {
        handler: Handler::Tcp { host: String::new(), port: 80 },
        initial_delay_s: 0,
        timeout_s: 1,
        period_s: 10,
        success_threshold: 1,
        failure_threshold,
        termination_grace_s: None,
    }
}

fn probed(kind: ProbeKind, success: bool) -> Event {
    let outcome = match success {
        true => Outcome::Success,
        false => Outcome::Failure { message: "no".to_owned() },
    };
    Event::Probed { container: "main".to_owned(), attempt: 0, kind, outcome }
}

fn hook_done(hook: Hook, failed: bool) -> Event {
    Event::HookDone { container: "main".to_owned(), attempt: 0, hook, failed }
}

/// Reasons and messages of the events among actions.
fn told(actions: &[Action]) -> Vec<String> {
    let event = |action: &Action| {
        let Action::EmitEvent(event) = action else { return None };
        Some(format!("{}: {}", event.reason, event.message))
    };
    actions.iter().filter_map(event).collect()
}

fn deleted(mut pod: Pod, grace_s: u32) -> Event {
    pod.deletion = Some(Deletion { grace_s });
    Event::Desired(Box::new(pod))
}

/// Actions in one line, without reports and events.
fn short(actions: &[Action]) -> String {
    let words: Vec<String> = actions
        .iter()
        .filter_map(|action| match action {
            Action::SetUpSandbox => Some("set-up".to_owned()),
            Action::PullImage { container, .. } => Some(format!("pull {container}")),
            Action::StartContainer { container, attempt } => {
                Some(format!("start {container}#{attempt}"))
            }
            Action::Signal { container, attempt, signal, .. } => {
                Some(format!("{signal:?} {container}#{attempt}"))
            }
            Action::Probe { container, attempt, kind } => {
                Some(format!("{kind:?} {container}#{attempt}"))
            }
            Action::RunHook { container, attempt, hook } => {
                Some(format!("{hook:?} {container}#{attempt}"))
            }
            Action::RemoveContainer { container, attempt } => {
                Some(format!("remove {container}#{attempt}"))
            }
            Action::Resize { container, attempt, .. } => {
                Some(format!("resize {container}#{attempt}"))
            }
            Action::ReleaseSandbox => Some("release".to_owned()),
            Action::TearDown => Some("tear-down".to_owned()),
            Action::ReportRemoved => Some("removed".to_owned()),
            Action::Report(_) | Action::EmitEvent(_) => None,
        })
        .collect();
    words.join(", ")
}

/// Plays events one second apart and returns the actions of each.
fn play(worker: &mut PodWorker, from_s: u64, events: Vec<Event>) -> Vec<String> {
    let mut log = Vec::new();
    for (n, event) in events.into_iter().enumerate() {
        let now = at((from_s + n as u64) * 1000);
        log.push(short(&worker.on_event(event, now)));
    }
    log
}

fn waiting_reason(worker: &PodWorker, index: usize) -> String {
    match &worker.status().containers[index].state {
        ContainerState::Waiting { reason, .. } => reason.clone(),
        ContainerState::Terminated { reason, .. } => format!("terminated {reason}"),
        ContainerState::Running { .. } => "running".to_owned(),
    }
}

#[test]
fn table_of_states_and_events() {
    let states: Vec<(&str, Vec<Event>)> = vec![
        ("setting up", vec![]),
        ("pulling", vec![ready()]),
        ("starting", vec![ready(), image("main")]),
        ("running", vec![ready(), image("main"), started("main", 0)]),
        ("stopping", vec![ready(), image("main"), started("main", 0), deleted(pod(), 30)]),
        ("tearing down", vec![deleted(pod(), 30)]),
        ("stopped", vec![deleted(pod(), 30), Event::TornDown]),
    ];
    let events: Vec<(&str, Event)> = vec![
        ("sandbox ready", ready()),
        ("image ready", image("main")),
        ("started", started("main", 0)),
        ("exited 1", exited("main", 0, 1)),
        ("deleted", deleted(pod(), 30)),
        ("gone", Event::Gone),
        ("torn down", Event::TornDown),
        ("timer", Event::Timer),
    ];
    let mut table = String::new();
    for (state, path) in &states {
        for (name, event) in &events {
            let (mut worker, _) = PodWorker::new(pod(), at(0));
            play(&mut worker, 0, path.clone());
            let actions = short(&worker.on_event(event.clone(), at(60_000)));
            table.push_str(&format!("{state:<13}| {name:<14}| {actions}\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_pod_starts_runs_and_goes() {
    let (mut worker, first) = PodWorker::new(pod(), at(0));
    assert_eq!(short(&first), "set-up");
    let log = play(
        &mut worker,
        0,
        vec![
            ready(),
            image("main"),
            started("main", 0),
            deleted(pod(), 30),
            exited("main", 0, 0),
            Event::TornDown,
        ],
    );
    assert_eq!(
        log,
        ["pull main", "start main#0", "", "Term main#0", "remove main#0, tear-down", "removed"]
    );
    assert!(worker.stopped());
}

#[test]
fn a_full_disk_is_told_in_the_status_and_heals_by_itself() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let message = |worker: &PodWorker| match &worker.status().containers[0].state {
        ContainerState::Waiting { message, .. } => message.clone(),
        other @ (ContainerState::Running { .. } | ContainerState::Terminated { .. }) => {
            format!("{other:?}")
        }
    };
    let full = "could not write the pod's files: No space left on device (os error 28)";
    let failed = || Event::SandboxFailed {
        reason: "FailedCreatePodSandBox".to_owned(),
        message: full.to_owned(),
    };
    let actions = worker.on_event(failed(), at(1));
    assert!(actions.iter().any(|action| matches!(action, Action::Report(_))), "{actions:?}");
    assert_eq!(message(&worker), full);
    for minute in 1..=3 {
        assert_eq!(play(&mut worker, minute * 60, vec![Event::Timer]), ["set-up"]);
        worker.on_event(failed(), at(minute * 60_000 + 500));
    }
    assert_eq!(play(&mut worker, 600, vec![Event::Timer, ready()]), ["set-up", "pull main"]);
    assert_eq!(message(&worker), "");
    // The same later on: the image's root cannot be made on the full disk.
    worker.on_event(image("main"), at(602_000));
    let not_created = Event::ContainerNotCreated {
        container: "main".to_owned(),
        attempt: 0,
        reason: "CreateContainerError".to_owned(),
        message: full.to_owned(),
    };
    worker.on_event(not_created, at(603_000));
    assert_eq!(
        (waiting_reason(&worker, 0).as_str(), message(&worker).as_str()),
        ("CreateContainerError", full)
    );
    let healed = play(&mut worker, 660, vec![Event::Timer, image("main")]);
    assert_eq!(healed, ["pull main", "start main#0"]);
    assert_eq!(worker.status().containers[0].restart_count, 0);
}

#[test]
fn init_containers_run_one_after_another() {
    let mut pod = pod();
    pod.init_containers = vec![container("one"), container("two")];
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let log = play(
        &mut worker,
        0,
        vec![
            ready(),
            image("one"),
            started("one", 0),
            exited("one", 0, 0),
            image("two"),
            exited("two", 0, 0),
            image("main"),
            started("main", 0),
        ],
    );
    assert_eq!(
        log,
        [
            "pull one",
            "start one#0",
            "",
            "remove one#0, pull two",
            "start two#0",
            "remove two#0, pull main",
            "start main#0",
            "",
        ]
    );
    let status = worker.status();
    assert_eq!((status.phase, status.initialized, status.ready), (PodPhase::Running, true, true));
}

#[test]
fn a_failed_init_container_ends_a_pod_that_is_never_restarted() {
    let mut pod = pod();
    pod.restart_policy = RestartPolicy::Never;
    pod.init_containers = vec![container("one")];
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let before = worker.status().init_containers[0].state.clone();
    assert!(
        matches!(before, ContainerState::Waiting { reason, .. } if reason == "PodInitializing")
    );
    let events = vec![ready(), image("one"), started("one", 0), exited("one", 0, 3)];
    let log = play(&mut worker, 0, events);
    assert_eq!(log[3], "remove one#0, release");
    assert_eq!(worker.status().phase, PodPhase::Failed);
    assert_eq!(waiting_reason(&worker, 0), "PodInitializing");
}

#[test]
fn a_crashing_container_backs_off_after_one_immediate_restart() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let events = vec![
        ready(),
        image("main"),
        started("main", 0),
        exited("main", 0, 1),
        image("main"),
        started("main", 1),
        exited("main", 1, 1),
    ];
    let log = play(&mut worker, 0, events);
    assert_eq!(log[3], "remove main#0, pull main", "the first restart is immediate");
    assert_eq!(log[6], "remove main#1");
    assert_eq!(waiting_reason(&worker, 0), "CrashLoopBackOff");
    let status = &worker.status().containers[0];
    assert_eq!(
        status.state,
        ContainerState::Waiting {
            reason: "CrashLoopBackOff".to_owned(),
            message: "back-off 10s restarting failed container=main pod=web_default(u1)".to_owned(),
        }
    );
    assert!(matches!(status.last_state, Some(ContainerState::Terminated { exit_code: 1, .. })));
    assert_eq!(worker.status().phase, PodPhase::Running);
    assert_eq!(worker.next_deadline(), Some(at(16_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(15_999))), "");
    assert_eq!(short(&worker.on_event(Event::Timer, at(16_000))), "pull main");
    assert_eq!(worker.status().containers[0].restart_count, 2);
}

fn not_pulled(reason: &str) -> Event {
    Event::ImageFailed {
        container: "main".to_owned(),
        image: "busybox:1".to_owned(),
        reason: reason.to_owned(),
        message: "no such image".to_owned(),
    }
}

#[test]
fn a_failed_pull_is_an_error_and_then_a_back_off() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), not_pulled("ErrImagePull")]);
    assert_eq!(waiting_reason(&worker, 0), "ErrImagePull");
    assert_eq!(worker.status().phase, PodPhase::Pending);
    assert_eq!(worker.next_deadline(), Some(at(3_000).instant));
    worker.on_event(Event::Timer, at(3_000));
    assert_eq!(waiting_reason(&worker, 0), "ImagePullBackOff");
    assert_eq!(worker.next_deadline(), Some(at(11_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(11_000))), "pull main");
    assert_eq!(waiting_reason(&worker, 0), "ImagePullBackOff", "shown until there is news");
}

#[test]
fn missing_data_is_retried_as_soon_as_it_comes() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let event = Event::ContainerNotCreated {
        container: "main".to_owned(),
        attempt: 0,
        reason: "CreateContainerConfigError".to_owned(),
        message: "configmap \"settings\" not found".to_owned(),
    };
    play(&mut worker, 0, vec![ready(), image("main"), event]);
    assert_eq!(waiting_reason(&worker, 0), "CreateContainerConfigError");
    assert_eq!(short(&worker.on_event(Event::DataChanged, at(4_000))), "pull main");
    assert_eq!(worker.status().containers[0].restart_count, 0);
}

#[test]
fn a_container_that_could_not_be_made_is_tried_again_with_other_annotations() {
    let mut named = pod();
    let (mut worker, _) = PodWorker::new(named.clone(), at(0));
    play(&mut worker, 0, vec![ready(), image("main")]);
    let refused = Event::ContainerNotCreated {
        container: "main".to_owned(),
        attempt: 0,
        reason: "CreateContainerConfigError".to_owned(),
        message: "missing value for \"A\"".to_owned(),
    };
    worker.on_event(refused, at(1_000));
    let same = Event::Desired(Box::new(named.clone()));
    assert_eq!(short(&worker.on_event(same, at(2_000))), "");
    named.annotations.insert("a".to_owned(), "b".to_owned());
    let changed = Event::Desired(Box::new(named));
    assert_eq!(short(&worker.on_event(changed, at(3_000))), "pull main");
}

fn resized(worker: &PodWorker, failure: Option<&str>) -> Event {
    let resources = worker.pod().containers[0].resources;
    let failure = failure.map(str::to_owned);
    Event::Resized { container: "main".to_owned(), attempt: 0, resources, failure }
}

#[test]
fn a_running_container_is_given_other_resources() {
    let mut wanted = pod();
    let (mut worker, _) = PodWorker::new(wanted.clone(), at(0));
    let before = wanted.containers[0].resources;
    wanted.containers[0].resources.cpu_limit_milli = Some(700);
    // A change that comes before the start is only told to the node once it runs.
    let change = Event::Desired(Box::new(wanted.clone()));
    let log = play(&mut worker, 0, vec![ready(), image("main"), change, started("main", 0)]);
    assert_eq!(log, ["pull main", "start main#0", "", "resize main#0"]);
    assert_eq!(worker.status().containers[0].resources, Some(before));
    let done = resized(&worker, None);
    assert_eq!(play(&mut worker, 5, vec![done, Event::Timer]), ["", ""]);
    assert_eq!(worker.status().containers[0].resources, Some(wanted.containers[0].resources));
    // What cannot be given is told, and not tried again before something else is wanted.
    wanted.containers[0].resources.memory_limit = Some(1);
    let change = Event::Desired(Box::new(wanted.clone()));
    assert_eq!(play(&mut worker, 10, vec![change]), ["resize main#0"]);
    let refused = resized(&worker, Some("too little"));
    assert_eq!(play(&mut worker, 11, vec![refused, Event::Timer]), ["", ""]);
    assert_eq!(worker.status().resize_failure, "too little");
    wanted.containers[0].resources.memory_limit = None;
    let change = Event::Desired(Box::new(wanted));
    assert_eq!(play(&mut worker, 15, vec![change]), [""]);
    assert_eq!(worker.status().resize_failure, "");
}

#[test]
fn a_container_that_wants_it_is_started_again_with_other_resources() {
    let mut wanted = pod();
    wanted.containers[0].restart_for_memory = true;
    let (mut worker, _) = PodWorker::new(wanted.clone(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    wanted.containers[0].resources.cpu_limit_milli = Some(700);
    let change = Event::Desired(Box::new(wanted.clone()));
    assert_eq!(play(&mut worker, 5, vec![change]), ["resize main#0"]);
    wanted.containers[0].resources.memory_limit = Some(1 << 30);
    let change = Event::Desired(Box::new(wanted.clone()));
    let done = resized(&worker, None);
    let log = play(&mut worker, 6, vec![done, change, exited("main", 0, 143), image("main")]);
    assert_eq!(log, ["", "Term main#0", "remove main#0, pull main", "start main#1"]);
    play(&mut worker, 12, vec![started("main", 1)]);
    assert_eq!(worker.status().containers[0].resources, Some(wanted.containers[0].resources));
}

#[test]
fn an_ephemeral_container_comes_later_runs_once_and_keeps_no_pod_alive() {
    let mut wanted = pod();
    wanted.restart_policy = RestartPolicy::Never;
    let (mut worker, _) = PodWorker::new(wanted.clone(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    wanted.ephemeral_containers = vec![container("debugger")];
    let change = Event::Desired(Box::new(wanted));
    let log = play(&mut worker, 5, vec![change, image("debugger"), started("debugger", 0)]);
    assert_eq!(log, ["pull debugger", "start debugger#0", ""]);
    let status = worker.status();
    assert_eq!((status.containers.len(), status.ephemeral_containers.len()), (1, 1));
    assert!(status.ready);
    let log = play(&mut worker, 10, vec![exited("debugger", 0, 3), Event::Timer]);
    assert_eq!(log, ["remove debugger#0", ""]);
    assert_eq!(worker.status().phase, PodPhase::Running);
    let (record, now) = (worker.record(), at(13_000));
    assert_eq!(record.containers.len(), 2);
    let found =
        Found { container: "main".to_owned(), attempt: 0, id: "u1.main.0".to_owned(), exit: None };
    let (adopted, _) = PodWorker::adopt(record, &[found], true, now);
    assert_eq!(adopted.status().ephemeral_containers, worker.status().ephemeral_containers);
    let log = play(&mut worker, 15, vec![exited("main", 0, 0)]);
    assert_eq!(log, ["remove main#0, release"]);
    assert_eq!(worker.status().phase, PodPhase::Succeeded);
}

#[test]
fn a_job_pod_succeeds_and_gives_its_sandbox_back() {
    let mut job = pod();
    job.restart_policy = RestartPolicy::OnFailure;
    let (mut worker, _) = PodWorker::new(job.clone(), at(0));
    let log = play(
        &mut worker,
        0,
        vec![ready(), image("main"), started("main", 0), exited("main", 0, 0), deleted(job, 0)],
    );
    assert_eq!(log[3], "remove main#0, release");
    assert_eq!(log[4], "tear-down");
    assert_eq!(worker.status().phase, PodPhase::Succeeded);
}

#[test]
fn grace_over_means_kill_and_kill_again() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let events = vec![ready(), image("main"), started("main", 0), deleted(pod(), 5)];
    play(&mut worker, 0, events);
    assert_eq!(worker.next_deadline(), Some(at(8_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(7_999))), "");
    assert_eq!(short(&worker.on_event(Event::Timer, at(8_000))), "Kill main#0");
    assert_eq!(short(&worker.on_event(Event::Timer, at(13_000))), "Kill main#0");
    // The master forgot the pod: not sooner than it would be for that.
    assert_eq!(short(&worker.on_event(Event::Gone, at(13_500))), "");
    assert_eq!(short(&worker.on_event(Event::Timer, at(18_000))), "Kill main#0");
    assert_eq!(
        short(&worker.on_event(exited("main", 0, 137), at(18_500))),
        "remove main#0, tear-down"
    );
}

#[test]
fn a_deadline_fails_the_pod() {
    let mut pod = pod();
    pod.active_deadline_s = Some(10);
    let (mut worker, _) = PodWorker::new(pod, at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert_eq!(short(&worker.on_event(Event::Timer, at(10_000))), "Term main#0");
    assert_eq!(worker.status().phase, PodPhase::Running);
    assert_eq!(
        short(&worker.on_event(exited("main", 0, 143), at(11_000))),
        "remove main#0, release"
    );
    let status = worker.status();
    assert_eq!((status.phase, status.reason.as_str()), (PodPhase::Failed, "DeadlineExceeded"));
}

#[test]
fn sidecars_start_first_and_end_last() {
    let mut pod = pod();
    let mut side = container("side");
    side.sidecar = true;
    pod.init_containers = vec![side];
    pod.restart_policy = RestartPolicy::Never;
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let log = play(
        &mut worker,
        0,
        vec![
            ready(),
            image("side"),
            started("side", 0),
            image("main"),
            started("main", 0),
            exited("main", 0, 0),
            exited("side", 0, 143),
        ],
    );
    assert_eq!(log[2], "pull main");
    assert_eq!(log[5], "remove main#0, Term side#0");
    assert_eq!(log[6], "remove side#0, release");
    assert_eq!(worker.status().phase, PodPhase::Succeeded);
}

#[test]
fn a_new_image_restarts_the_container_at_once() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let mut changed = pod();
    changed.containers[0].image = "busybox:2".to_owned();
    let log = play(
        &mut worker,
        10,
        vec![
            Event::Desired(Box::new(changed)),
            exited("main", 0, 143),
            image_named("main", "busybox:2"),
        ],
    );
    assert_eq!(log, ["Term main#0", "remove main#0, pull main", "start main#1"]);
}

#[test]
fn a_start_that_a_deletion_overtook_is_stopped() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let log =
        play(&mut worker, 0, vec![ready(), image("main"), deleted(pod(), 30), started("main", 0)]);
    assert_eq!(log[2], "Term main#0");
    assert_eq!(log[3], "Term main#0");
}

#[test]
fn an_adopted_pod_keeps_its_running_containers() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let before = worker.status();
    let found =
        Found { container: "main".to_owned(), attempt: 0, id: "u1.main.0".to_owned(), exit: None };
    let (adopted, actions) = PodWorker::adopt(worker.record(), &[found], true, at(9_000));
    assert_eq!(short(&actions), "");
    assert_eq!(adopted.status(), before);
}

#[test]
fn what_ended_while_no_agent_watched_is_told_and_restarted() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let exit = Exit {
        code: 7,
        signal: 0,
        reason: "Error".to_owned(),
        message: String::new(),
        finished_ms: 5_004_000,
    };
    let found = Found {
        container: "main".to_owned(),
        attempt: 0,
        id: "u1.main.0".to_owned(),
        exit: Some(exit),
    };
    let (_, actions) = PodWorker::adopt(worker.record(), &[found], true, at(9_000));
    assert_eq!(short(&actions), "remove main#0, pull main");
    let (lost, actions) = PodWorker::adopt(worker.record(), &[], true, at(9_000));
    assert_eq!(short(&actions), "remove main#0, pull main");
    assert_eq!(waiting_reason(&lost, 0), "terminated ContainerStatusUnknown");
}

fn any_event() -> impl Strategy<Value = Event> {
    let name = prop_oneof![Just("one"), Just("main"), Just("side")];
    (0..13_u8, name, 0..3_u32, 0..3_i32).prop_map(|(kind, name, attempt, code)| match kind {
        0 => ready(),
        1 => image(name),
        2 => started(name, attempt),
        3 => exited(name, attempt, code),
        4 => Event::SandboxFailed { reason: "FailedMount".to_owned(), message: String::new() },
        5 => Event::ImageFailed {
            container: name.to_owned(),
            image: "busybox:1".to_owned(),
            reason: "ErrImagePull".to_owned(),
            message: String::new(),
        },
        6 => Event::ContainerNotCreated {
            container: name.to_owned(),
            attempt,
            reason: "CreateContainerError".to_owned(),
            message: String::new(),
        },
        7 => Event::ContainerNotStarted {
            container: name.to_owned(),
            attempt,
            id: String::new(),
            exit_code: 128,
            reason: "StartError".to_owned(),
            message: String::new(),
        },
        8 => Event::DataChanged,
        9 => Event::Timer,
        10 => Event::HookDone {
            container: name.to_owned(),
            attempt,
            hook: if code == 0 { Hook::PostStart } else { Hook::PreStop },
            failed: code == 2,
        },
        11 => Event::Probed {
            container: name.to_owned(),
            attempt,
            kind: match code {
                0 => ProbeKind::Startup,
                1 => ProbeKind::Liveness,
                _ => ProbeKind::Readiness,
            },
            outcome: Outcome::Failure { message: String::new() },
        },
        _ => Event::TornDown,
    })
}

/// Answers every action as a runtime that works would, until nothing is left to do.
fn answer_all(worker: &mut PodWorker, mut actions: Vec<Action>, mut ms: u64) -> Vec<Action> {
    let mut seen = actions.clone();
    for _ in 0..200 {
        let mut answers = Vec::new();
        for action in actions.drain(..) {
            match action {
                Action::SetUpSandbox => answers.push(ready()),
                Action::PullImage { container, image } => {
                    answers.push(image_named(&container, &image));
                }
                Action::StartContainer { container, attempt } => {
                    answers.push(started(&container, attempt));
                }
                Action::Signal { container, attempt, .. } => {
                    answers.push(exited(&container, attempt, 143));
                }
                Action::Resize { container, attempt, resources } => {
                    let failure = None;
                    answers.push(Event::Resized { container, attempt, resources, failure });
                }
                Action::TearDown => answers.push(Event::TornDown),
                Action::RunHook { container, attempt, hook } => {
                    let failed = false;
                    answers.push(Event::HookDone { container, attempt, hook, failed });
                }
                Action::Probe { container, attempt, kind } => answers.push(Event::Probed {
                    container,
                    attempt,
                    kind,
                    outcome: Outcome::Success,
                }),
                Action::RemoveContainer { .. }
                | Action::ReleaseSandbox
                | Action::Report(_)
                | Action::EmitEvent(_)
                | Action::ReportRemoved => {}
            }
        }
        ms += 60_000;
        answers.push(Event::Timer);
        for event in answers {
            actions.extend(worker.on_event(event, at(ms)));
        }
        seen.extend(actions.iter().cloned());
        if worker.stopped() {
            break;
        }
    }
    seen
}

proptest! {
    #[test]
    fn whatever_happened_a_deleted_pod_ends_torn_down(
        policy in prop_oneof![
            Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)
        ],
        events in proptest::collection::vec(any_event(), 0..40),
    ) {
        let mut pod = pod();
        pod.restart_policy = policy;
        let mut side = container("side");
        side.sidecar = true;
        side.startup_probe = Some(probe(2));
        pod.containers[0].liveness_probe = Some(probe(1));
        pod.containers[0].readiness_probe = Some(probe(1));
        let sleep = Some(Handler::Sleep { seconds: 1 });
        pod.containers[0].lifecycle.post_start.clone_from(&sleep);
        pod.containers[0].lifecycle.pre_stop = sleep;
        pod.init_containers = vec![container("one"), side];
        let (mut worker, mut actions) = PodWorker::new(pod, at(0));
        for (n, event) in events.into_iter().enumerate() {
            actions.extend(worker.on_event(event, at(n as u64 * 700)));
        }
        actions.extend(worker.on_event(Event::Gone, at(100_000)));
        let seen = answer_all(&mut worker, actions, 100_000);
        prop_assert!(worker.stopped(), "{worker:?}");
        prop_assert!(seen.contains(&Action::TearDown));
        prop_assert_eq!(seen.last(), Some(&Action::ReportRemoved));
        prop_assert_eq!(worker.next_deadline(), None);
    }

    #[test]
    fn a_second_timer_at_the_same_time_changes_nothing(
        events in proptest::collection::vec(any_event(), 0..40),
    ) {
        let (mut worker, _) = PodWorker::new(pod(), at(0));
        for (n, event) in events.into_iter().enumerate() {
            worker.on_event(event, at(n as u64 * 700));
        }
        worker.on_event(Event::Timer, at(50_000));
        prop_assert_eq!(worker.on_event(Event::Timer, at(50_000)), vec![]);
    }
}

#[test]
fn a_used_up_log_budget_is_told_on_the_pod_and_changes_nothing() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let before = worker.status();
    let actions = worker.on_event(Event::LogBudgetUsedUp { budget_bytes: 64 << 20 }, at(5_000));
    let [Action::EmitEvent(event)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(event.reason, "LogBudgetExceeded");
    assert!(event.message.contains("64 MiB"), "{}", event.message);
    assert_eq!(worker.status(), before);
}

fn with_image(image: &str) -> Event {
    let mut pod = pod();
    pod.containers[0].image = image.to_owned();
    Event::Desired(Box::new(pod))
}

#[test]
fn an_image_that_is_changed_while_it_is_pulled_is_never_started() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready()]);
    let actions = worker.on_event(with_image("busybox:2"), at(1_000));
    assert!(actions.contains(&Action::PullImage {
        container: "main".to_owned(),
        image: "busybox:2".to_owned(),
    }));
    // The old one comes, or cannot be had; neither is of interest any more.
    assert_eq!(play(&mut worker, 2, vec![image("main"), not_pulled("ErrImagePull")]), ["", ""]);
    assert_eq!(waiting_reason(&worker, 0), "ContainerCreating");
    let log = play(&mut worker, 4, vec![image_named("main", "busybox:2"), started("main", 0)]);
    assert_eq!(log, ["start main#0", ""]);
    assert_eq!(worker.status().containers[0].image, "busybox:2");
}

#[test]
fn a_changed_container_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert_eq!(short(&worker.on_event(with_image("busybox:2"), at(10_000))), "Term main#0");
    assert_eq!(worker.status().containers[0].image, "busybox:1", "that is what runs");
    assert_eq!(worker.next_deadline(), Some(at(40_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(39_999))), "");
    assert_eq!(short(&worker.on_event(Event::Timer, at(40_000))), "Kill main#0");
    assert_eq!(short(&worker.on_event(Event::Timer, at(45_000))), "Kill main#0");
    let ended = worker.on_event(exited("main", 0, 137), at(46_000));
    assert_eq!(short(&ended), "remove main#0, pull main");
    let log = play(&mut worker, 50, vec![image_named("main", "busybox:2"), started("main", 1)]);
    assert_eq!(log, ["start main#1", ""]);
    assert_eq!(worker.next_deadline(), None);
}

#[test]
fn a_change_of_the_image_outlives_the_agent() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0), with_image("busybox:2")]);
    let found =
        Found { container: "main".to_owned(), attempt: 0, id: "u1.main.0".to_owned(), exit: None };
    let (adopted, actions) = PodWorker::adopt(worker.record(), &[found], true, at(9_000));
    assert_eq!(short(&actions), "Term main#0");
    assert_eq!(adopted.next_deadline(), Some(at(39_000).instant));
}

#[test]
fn a_crashing_container_is_restarted_at_once_with_another_image() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let crashes = vec![
        ready(),
        image("main"),
        started("main", 0),
        exited("main", 0, 1),
        image("main"),
        started("main", 1),
        exited("main", 1, 1),
    ];
    play(&mut worker, 0, crashes);
    assert_eq!(waiting_reason(&worker, 0), "CrashLoopBackOff");
    assert_eq!(short(&worker.on_event(with_image("busybox:2"), at(7_000))), "pull main");
}

#[test]
fn a_registry_that_is_down_becomes_a_back_off_and_what_no_pull_mends_does_not() {
    let shown = |reason| {
        let (mut worker, _) = PodWorker::new(pod(), at(0));
        play(&mut worker, 0, vec![ready(), not_pulled(reason)]);
        let first = waiting_reason(&worker, 0);
        worker.on_event(Event::Timer, at(3_000));
        (first, waiting_reason(&worker, 0))
    };
    let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
    assert_eq!(shown("RegistryUnavailable"), pair("RegistryUnavailable", "ImagePullBackOff"));
    assert_eq!(shown("InvalidImageName"), pair("InvalidImageName", "InvalidImageName"));
    assert_eq!(shown("ErrImageNeverPull"), pair("ErrImageNeverPull", "ErrImageNeverPull"));
}

#[test]
fn a_pod_that_the_master_forgot_gets_its_stop_signal_and_its_grace() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert_eq!(short(&worker.on_event(Event::Gone, at(10_000))), "Term main#0");
    assert_eq!(worker.next_deadline(), Some(at(40_000).instant));
    // A deletion without grace, too, gives a program a second.
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert_eq!(short(&worker.on_event(deleted(pod(), 0), at(10_000))), "Term main#0");
    assert_eq!(short(&worker.on_event(Event::Timer, at(11_000))), "Kill main#0");
}

#[test]
fn a_deleted_pod_is_over_when_its_containers_are() {
    for (code, phase) in [(0, PodPhase::Succeeded), (143, PodPhase::Failed)] {
        let (mut worker, _) = PodWorker::new(pod(), at(0));
        play(&mut worker, 0, vec![ready(), image("main"), started("main", 0), deleted(pod(), 30)]);
        assert_eq!(worker.status().phase, PodPhase::Running);
        let last = worker.on_event(exited("main", 0, code), at(5_000));
        assert_eq!(short(&last), "remove main#0, tear-down");
        let told = last
            .iter()
            .any(|action| matches!(action, Action::Report(status) if status.phase == phase));
        assert!(told, "{last:?}");
    }
}

#[test]
fn a_sidecar_in_back_off_leaves_the_pod_running() {
    let mut pod = pod();
    pod.init_containers = vec![container("side")];
    pod.init_containers[0].sidecar = true;
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let events = vec![
        ready(),
        image("side"),
        started("side", 0),
        image("main"),
        started("main", 0),
        exited("side", 0, 1),
        image("side"),
        started("side", 1),
        exited("side", 1, 1),
    ];
    play(&mut worker, 0, events);
    let status = worker.status();
    assert!(matches!(&status.init_containers[0].state, ContainerState::Waiting { .. }));
    assert_eq!((status.phase, status.ready), (PodPhase::Running, false));
}

#[test]
fn the_stop_signal_of_an_image_outlives_the_agent() {
    let (mut worker, _) = PodWorker::new(pod(), at(0));
    let quits = Event::ImageReady {
        container: "main".to_owned(),
        image: "busybox:1".to_owned(),
        image_id: String::new(),
        stop_signal: 37,
        pulled: None,
    };
    play(&mut worker, 0, vec![ready(), quits, started("main", 0)]);
    let found =
        Found { container: "main".to_owned(), attempt: 0, id: "u1.main.0".to_owned(), exit: None };
    let (mut adopted, _) = PodWorker::adopt(worker.record(), &[found], true, at(9_000));
    let actions = adopted.on_event(deleted(pod(), 30), at(10_000));
    let told = actions.iter().any(|action| matches!(action, Action::Signal { number: 37, .. }));
    assert!(told, "{actions:?}");
}

#[test]
fn liveness_that_fails_restarts_the_container_whatever_its_exit_code() {
    let mut pod = pod();
    pod.restart_policy = RestartPolicy::OnFailure;
    pod.containers[0].liveness_probe = Some(probe(1));
    pod.containers[0].readiness_probe = Some(probe(1));
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let log = play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert_eq!(log[2], "Liveness main#0, Readiness main#0");
    assert!(!worker.status().ready && worker.status().containers[0].started);
    play(&mut worker, 3, vec![probed(ProbeKind::Readiness, true)]);
    assert!(worker.status().ready && worker.status().containers_ready);
    let actions = worker.on_event(probed(ProbeKind::Liveness, false), at(4_000));
    assert_eq!(short(&actions), "Term main#0");
    let words = [
        "Unhealthy: Liveness probe failed: no",
        "Killing: Container main failed liveness probe, will be restarted",
    ];
    assert_eq!(told(&actions), words);
    let log = play(&mut worker, 5, vec![exited("main", 0, 0)]);
    assert_eq!(log, ["remove main#0, pull main"], "although it ended well");
}

#[test]
fn liveness_ends_a_pod_that_is_never_restarted_within_the_probes_own_grace() {
    let mut pod = pod();
    pod.restart_policy = RestartPolicy::Never;
    let mut own = probe(1);
    own.termination_grace_s = Some(3);
    pod.containers[0].liveness_probe = Some(own);
    let (mut worker, _) = PodWorker::new(pod, at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let actions = worker.on_event(probed(ProbeKind::Liveness, false), at(4_000));
    assert!(told(&actions).contains(&"Killing: Container main failed liveness probe".to_owned()));
    assert_eq!(worker.next_deadline(), Some(at(7_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(7_000))), "Kill main#0");
    play(&mut worker, 8, vec![exited("main", 0, 137)]);
    assert_eq!(worker.status().phase, PodPhase::Failed);
}

#[test]
fn sidecar_with_a_startup_probe_holds_up_what_comes_after_it() {
    let mut pod = pod();
    let mut side = container("side");
    side.sidecar = true;
    side.startup_probe = Some(probe(3));
    pod.init_containers = vec![side];
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let log = play(&mut worker, 0, vec![ready(), image("side"), started("side", 0)]);
    assert_eq!(log[2], "Startup side#0");
    assert!(!worker.status().initialized);
    let up = Event::Probed {
        container: "side".to_owned(),
        attempt: 0,
        kind: ProbeKind::Startup,
        outcome: Outcome::Success,
    };
    assert_eq!(play(&mut worker, 3, vec![up]), ["pull main"]);
    assert!(worker.status().initialized);
}

#[test]
fn hook_after_the_start_holds_up_the_next_container_and_the_running_state() {
    let mut pod = pod();
    pod.containers[0].lifecycle.post_start = Some(Handler::Sleep { seconds: 1 });
    pod.containers[0].readiness_probe = Some(probe(1));
    pod.containers.push(container("other"));
    let (mut worker, _) = PodWorker::new(pod.clone(), at(0));
    assert_eq!(play(&mut worker, 0, vec![ready(), image("main")]), ["pull main", "start main#0"]);
    let log = play(&mut worker, 2, vec![started("main", 0)]);
    assert_eq!(log, ["PostStart main#0"]);
    assert_eq!(waiting_reason(&worker, 0), "ContainerCreating");
    let log = play(&mut worker, 3, vec![hook_done(Hook::PostStart, false)]);
    assert_eq!(log, ["Readiness main#0, pull other"]);
    assert_eq!(waiting_reason(&worker, 0), "running");

    let (mut worker, _) = PodWorker::new(pod, at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    let actions = worker.on_event(hook_done(Hook::PostStart, true), at(3_000));
    assert_eq!(short(&actions), "Term main#0, Readiness main#0, pull other");
    let words = ["FailedPostStartHook: PostStartHook failed", "Killing: FailedPostStartHook"];
    assert_eq!(told(&actions), words);
}

#[test]
fn hook_before_the_end_comes_before_the_signal_and_within_the_grace() {
    let mut pod = pod();
    pod.containers[0].lifecycle.pre_stop = Some(Handler::Sleep { seconds: 9 });
    let running = || {
        let (mut worker, _) = PodWorker::new(pod.clone(), at(0));
        play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
        worker
    };
    let mut worker = running();
    let log = play(
        &mut worker,
        10,
        vec![deleted(pod.clone(), 30), hook_done(Hook::PreStop, false), exited("main", 0, 0)],
    );
    assert_eq!(log, ["PreStop main#0", "Term main#0", "remove main#0, tear-down"]);

    let mut worker = running();
    play(&mut worker, 10, vec![deleted(pod.clone(), 5)]);
    assert_eq!(worker.next_deadline(), Some(at(15_000).instant));
    assert_eq!(short(&worker.on_event(Event::Timer, at(15_000))), "Term main#0");
    let late = worker.on_event(hook_done(Hook::PreStop, true), at(16_000));
    assert_eq!((short(&late).as_str(), told(&late).len()), ("", 0), "it is too late");
    assert_eq!(short(&worker.on_event(Event::Timer, at(17_000))), "Kill main#0");

    let mut worker = running();
    play(&mut worker, 10, vec![deleted(pod.clone(), 30)]);
    let failed = worker.on_event(hook_done(Hook::PreStop, true), at(12_000));
    assert_eq!(told(&failed), ["FailedPreStopHook: PreStopHook failed"]);
    assert_eq!(short(&failed), "Term main#0");
}

#[test]
fn readiness_gates_hold_back_the_pod_but_not_its_containers() {
    let mut gated = pod();
    gated.readiness_gates_met = false;
    let (mut worker, _) = PodWorker::new(gated, at(0));
    play(&mut worker, 0, vec![ready(), image("main"), started("main", 0)]);
    assert!(worker.status().containers_ready && !worker.status().ready);
    play(&mut worker, 3, vec![Event::Desired(Box::new(pod()))]);
    assert!(worker.status().ready);
}

#[test]
fn a_ready_container_stays_so_over_a_restart_of_the_agent() {
    let mut pod = pod();
    pod.containers[0].startup_probe = Some(probe(1));
    pod.containers[0].readiness_probe = Some(probe(1));
    let (mut worker, _) = PodWorker::new(pod, at(0));
    let up = vec![
        ready(),
        image("main"),
        started("main", 0),
        probed(ProbeKind::Startup, true),
        probed(ProbeKind::Readiness, true),
    ];
    play(&mut worker, 0, up);
    assert!(worker.status().ready);
    let found =
        Found { container: "main".to_owned(), attempt: 0, id: "u1.main.0".to_owned(), exit: None };
    let (worker, actions) = PodWorker::adopt(worker.record(), &[found], true, at(60_000));
    assert!(worker.status().ready && worker.status().containers[0].started);
    assert_eq!(short(&actions), "Readiness main#0");
}

#[test]
fn pod_that_the_node_does_not_take_has_failed_and_goes_when_it_is_deleted() {
    let rejection = Rejection { reason: "NodePorts", message: "taken".to_owned() };
    let (mut worker, actions) = PodWorker::rejected(pod(), rejection, at(0));
    let begun = |action: &Action| !matches!(action, Action::Report(_) | Action::EmitEvent(_));
    assert_eq!(actions.iter().find(|action| begun(action)), None);
    let status = worker.status();
    assert_eq!((status.phase, status.reason.as_str()), (PodPhase::Failed, "NodePorts"));
    assert_eq!(status.message, "Pod was rejected: taken");
    assert!(worker.ended() && worker.next_deadline().is_none());
    let mut gone = pod();
    gone.deletion = Some(Deletion { grace_s: 30 });
    let actions = worker.on_event(Event::Desired(Box::new(gone)), at(1));
    assert!(actions.contains(&Action::TearDown), "{actions:?}");
}
