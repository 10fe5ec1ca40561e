//! One pod's life on this node: what it wants next, given what has happened.
//!
//! Knows nothing of libcontainer, registries or files: actions are done by the shell, and every
//! outcome comes back as an event. Level-based inside: an event changes what is known, then one
//! pass decides what is missing, so late and repeated events find nothing to do.
//!
//! ```text
//!  SettingUp --sandbox ready--> Active --all ended--> Stopping(completed) --> Finished
//!      |  ^ retry                 |                                             |
//!      |                          +--deadline--> Stopping(failed) ------------->+
//!   deleted                    deleted --> Stopping(deleted)                 deleted
//!      |                                        | all exited                    |
//!      +-------------------> TearingDown <------+-------------------------------+
//!                                | torn down
//!                                v
//!                             Stopped
//! ```

mod container_life;
mod ending;
mod event_text;
#[doc(hidden)]
pub mod example;
mod record;

use std::net::Ipv4Addr;

use bramble_shared::link::{
    Container, Deletion, Event as PodEvent, Pod, PodPhase, PodStatus, Resources, RestartPolicy,
};
use embassy_time::{Duration, Instant};

use crate::admission::Rejection;
use crate::moment::Moment;
use crate::probe::{Outcome, ProbeKind};
use crate::status::{self, PhaseInput};
use container_life::{ContainerLife, Terms};
use ending::Ending;
use event_text::EventText;
pub use record::{ContainerRecord, Found, PodRecord};

/// Shortest time between the stop signal and the kill; the kubelet's.
const GRACE_MIN: Duration = Duration::from_secs(1);
/// Time after which a kill that had no effect yet is repeated.
const KILL_REPEAT: Duration = Duration::from_secs(5);
/// First wait after a sandbox or volume that could not be set up; doubled up to the longest.
const SET_UP_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait between two tries of a sandbox.
const SET_UP_WAIT_MAX: Duration = Duration::from_secs(60);
/// Wait until a tear-down that failed is tried again.
const TEAR_DOWN_WAIT: Duration = Duration::from_secs(2);

/// The life of one pod on this node.
#[derive(Clone, Debug)]
pub struct PodWorker {
    pod: Pod,
    state: State,
    /// Init containers first, then containers, then ephemeral ones, each in the order of the spec.
    lives: Vec<ContainerLife>,
    pod_ip: Option<Ipv4Addr>,
    started_ms: u64,
    started: Instant,
    failure: Option<Failure>,
    reported: Option<PodStatus>,
}

/// Why a pod as a whole has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    SettingUp { wait: Duration, retry_at: Option<Instant> },
    Active,
    Stopping { purpose: Purpose, kill_at: Instant },
    Finished,
    TearingDown { retry_at: Option<Instant> },
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Deleted,
    Failed,
    Completed,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The master wants the pod in this form; deletion comes this way, too.
    Desired(Box<Pod>),
    /// The master knows no such pod any more: stop it and clean up.
    Gone,
    /// Namespaces, network and volumes are there.
    SandboxReady {
        /// Address of the pod.
        ip: Ipv4Addr,
    },
    /// They are not.
    SandboxFailed {
        /// `FailedMount`, `FailedCreatePodSandBox`, ...
        reason: String,
        /// In words.
        message: String,
    },
    /// A registry is asked for the image.
    ImagePulling {
        /// Container.
        container: String,
        /// The image as the container names it.
        image: String,
    },
    /// The image is here.
    ImageReady {
        /// Container.
        container: String,
        /// The image as the container names it.
        image: String,
        /// Digest reference.
        image_id: String,
        /// Number of the signal that ends its program, by its `STOPSIGNAL`.
        stop_signal: i32,
        /// How it came; none if it was here.
        pulled: Option<Pulled>,
    },
    /// The image is not here.
    ImageFailed {
        /// Container.
        container: String,
        /// The image as the container names it.
        image: String,
        /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The container runs.
    ContainerStarted {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Id in the runtime.
        id: String,
    },
    /// It could not be made; tried again without counting as a restart.
    ContainerNotCreated {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// `CreateContainerConfigError`, `CreateContainerError`.
        reason: String,
        /// In words.
        message: String,
    },
    /// It was made but its program could not be started: counts as an exit.
    ContainerNotStarted {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Id in the runtime.
        id: String,
        /// Exit code as Kubernetes users expect it: 126, 127 or 128.
        exit_code: i32,
        /// `StartError`, `ContainerCannotRun`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The container has ended.
    ContainerExited {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// How.
        exit: Exit,
    },
    /// A probe was made.
    Probed {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Which.
        kind: ProbeKind,
        /// What came of it.
        outcome: Outcome,
    },
    /// A hook has ended.
    HookDone {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Which.
        hook: Hook,
        /// It did not do what it should.
        failed: bool,
    },
    /// A running container was given other resources, or could not be.
    Resized {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// What it was to have.
        resources: Resources,
        /// Why it does not have it.
        failure: Option<String>,
    },
    /// A ConfigMap or Secret that the pod uses has changed.
    DataChanged,
    /// The pod's containers have written more logs than the node's disk takes of one pod in a day.
    LogBudgetUsedUp {
        /// What it takes, in bytes.
        budget_bytes: u64,
    },
    /// Nothing of the pod is left.
    TornDown,
    /// Something of the pod is left.
    TearDownFailed {
        /// In words.
        message: String,
    },
    /// A deadline of [`PodWorker::next_deadline`] has passed.
    Timer,
}

/// How an image came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Time that it took, in milliseconds.
    pub took_ms: u64,
    /// Size, in bytes.
    pub bytes: u64,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal when one ended it.
    pub code: i32,
    /// Signal, 0 for none.
    pub signal: i32,
    /// `Completed`, `Error`, `OOMKilled`, ...
    pub reason: String,
    /// Termination message.
    pub message: String,
    /// Time of day of the end, in milliseconds.
    pub finished_ms: u64,
}

/// Something that the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes namespaces, network and volumes. Answer: sandbox ready or failed.
    SetUpSandbox,
    /// Makes sure that the image is here. Answer: image ready or failed.
    PullImage {
        /// Container.
        container: String,
        /// The image as the container names it.
        image: String,
    },
    /// Creates and starts the container. Answer: started, not created or not started.
    StartContainer {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
    },
    /// Probes the container. Answer: probed.
    Probe {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Which probe.
        kind: ProbeKind,
    },
    /// Runs a hook of the container. Answer: hook done.
    RunHook {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// Which hook.
        hook: Hook,
    },
    /// Gives a running container other resources. Answer: resized.
    Resize {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// What it is to have.
        resources: Resources,
    },
    /// Signals the container.
    Signal {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
        /// What for.
        signal: Signal,
        /// Its number.
        number: i32,
    },
    /// Removes what is left of a container that has ended, but not its log.
    RemoveContainer {
        /// Container.
        container: String,
        /// Number of the start.
        attempt: u32,
    },
    /// Gives network and volumes back; logs stay. No answer.
    ReleaseSandbox,
    /// Removes everything. Answer: torn down or failed.
    TearDown,
    /// Tells the master the pod's state.
    Report(Box<PodStatus>),
    /// Tells people what has happened.
    EmitEvent(PodEvent),
    /// Tells the master that nothing of the pod is left; the worker's last action.
    ReportRemoved,
}

/// A hook of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// After its start.
    PostStart,
    /// Before its stop signal.
    PreStop,
}

/// A signal to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The image's stop signal, SIGTERM by default.
    Term,
    /// SIGKILL to all of its processes.
    Kill,
}

impl PodWorker {
    /// A pod that has just been bound here, with its first actions.
    #[must_use]
    pub fn new(pod: Pod, now: Moment) -> (Self, Vec<Action>) {
        let after_init = !pod.init_containers.is_empty();
        let lives = pod
            .init_containers
            .iter()
            .map(|container| ContainerLife::new(container, true, after_init))
            .chain(
                pod.containers
                    .iter()
                    .map(|container| ContainerLife::new(container, false, after_init)),
            )
            .chain(pod.ephemeral_containers.iter().map(ContainerLife::ephemeral))
            .collect();
        let mut worker = Self {
            pod,
            state: State::SettingUp { wait: SET_UP_WAIT_MIN, retry_at: None },
            lives,
            pod_ip: None,
            started_ms: now.time_of_day_ms,
            started: now.instant,
            failure: None,
            reported: None,
        };
        let mut actions = Vec::new();
        match worker.pod.deletion {
            // Nothing of it can be here: it was deleted before this node ever saw it.
            Some(_) => worker.tear_down(&mut actions),
            None => actions.push(Action::SetUpSandbox),
        }
        worker.report(&mut actions);
        (worker, actions)
    }

    /// A pod that has been bound here and that the node does not take: it has failed, and nothing
    /// of it is begun.
    #[must_use]
    pub fn rejected(pod: Pod, rejection: Rejection, now: Moment) -> (Self, Vec<Action>) {
        if pod.deletion.is_some() {
            return Self::new(pod, now);
        }
        let (mut worker, _) = Self::new(pod, now);
        let Rejection { reason, message } = rejection;
        let mut actions = vec![worker.text().warning("", reason, &message)];
        worker.state = State::Finished;
        worker.lives.iter_mut().for_each(ContainerLife::stop_waiting);
        let message = format!("Pod was rejected: {message}");
        worker.failure = Some(Failure { reason: reason.to_owned(), message });
        worker.reported = None;
        worker.report(&mut actions);
        (worker, actions)
    }

    /// Whether the pod holds nothing of the node any more.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Finished | State::Stopped)
    }

    /// The pod as it is wanted.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The pod's address.
    #[must_use]
    pub fn pod_ip(&self) -> Option<Ipv4Addr> {
        self.pod_ip
    }

    /// Whether the worker is done for good.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// When [`Event::Timer`] is due, at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::SettingUp { retry_at, .. } => earliest([*retry_at, self.active_deadline()]),
            State::Active => earliest(
                self.lives.iter().map(ContainerLife::deadline).chain([self.active_deadline()]),
            ),
            State::Stopping { kill_at, .. } => {
                earliest(self.lives.iter().map(ContainerLife::deadline).chain([Some(*kill_at)]))
            }
            State::TearingDown { retry_at } => *retry_at,
            State::Finished | State::Stopped => None,
        }
    }

    /// Takes in what has happened and returns what must be done.
    pub fn on_event(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Desired(pod) => self.desired(*pod, now, &mut actions),
            Event::Gone => {
                // Nobody asked for haste: its containers get what the deletion left them, or
                // what the pod says, as with the kubelet.
                let grace_s = match self.pod.deletion {
                    Some(Deletion { grace_s }) => grace_s,
                    None => self.pod.termination_grace_s,
                };
                self.delete(grace_s, now, &mut actions);
            }
            Event::SandboxReady { ip } => {
                // Late answers of a try that a deletion overtook: the tear-down takes it away.
                if matches!(self.state, State::SettingUp { .. }) {
                    self.pod_ip = Some(ip);
                    self.state = State::Active;
                    self.lives.iter_mut().for_each(|life| life.explain_waiting(""));
                }
            }
            Event::SandboxFailed { reason, message } => {
                if let State::SettingUp { wait, retry_at } = &mut self.state {
                    *retry_at = Some(now.instant + *wait);
                    *wait = (*wait * 2).min(SET_UP_WAIT_MAX);
                    self.lives.iter_mut().for_each(|life| life.explain_waiting(&message));
                    actions.push(self.text().warning("", &reason, &message));
                }
            }
            Event::DataChanged => self.data_changed(now),
            Event::LogBudgetUsedUp { budget_bytes } => {
                let mib = budget_bytes >> 20;
                let message = format!(
                    "The pod has used up the {mib} MiB of logs that it may write to the disk in a \
                     day; until then only the newest 64 KiB of each container are kept, in memory"
                );
                actions.push(self.text().warning("", "LogBudgetExceeded", &message));
            }
            Event::TornDown => {
                if matches!(self.state, State::TearingDown { .. }) {
                    self.state = State::Stopped;
                    actions.push(Action::ReportRemoved);
                }
            }
            Event::TearDownFailed { message } => {
                if let State::TearingDown { retry_at } = &mut self.state {
                    *retry_at = Some(now.instant + TEAR_DOWN_WAIT);
                    actions.push(self.text().warning("", "FailedKillPod", &message));
                }
            }
            Event::Timer => {}
            Event::ImagePulling { .. }
            | Event::ImageReady { .. }
            | Event::ImageFailed { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerNotCreated { .. }
            | Event::ContainerNotStarted { .. }
            | Event::ContainerExited { .. }
            | Event::Probed { .. }
            | Event::Resized { .. }
            | Event::HookDone { .. } => self.container_event(event, now, &mut actions),
        }
        self.advance(now, &mut actions);
        self.report(&mut actions);
        actions
    }

    /// The state as the master should see it; for sending everything again after a reconnect.
    #[must_use]
    pub fn status(&self) -> PodStatus {
        let init: Vec<_> = self
            .lives
            .iter()
            .filter(|life| life.init)
            .map(|life| (life.status(), life.sidecar))
            .collect();
        let containers: Vec<_> =
            self.lives.iter().filter(|life| life.regular()).map(ContainerLife::status).collect();
        let ephemeral = self.lives.iter().filter(|life| life.ephemeral);
        let refused = self.lives.iter().find_map(|life| life.resize_failure.as_ref());
        let computed = status::phase(&PhaseInput {
            restart_policy: self.pod.restart_policy,
            init: &init,
            containers: &containers,
        });
        // A pod that failed as a whole stays running until its containers are gone.
        let over = matches!(self.state, State::TearingDown { .. } | State::Stopped);
        let phase = match (&self.failure, self.alive()) {
            (Some(_), false) => PodPhase::Failed,
            (None, false) if over => status::phase_at_end(computed, &containers),
            (Some(_), true) | (None, _) => computed,
        };
        let active = matches!(self.state, State::Active | State::Stopping { .. });
        let containers_ready = phase == PodPhase::Running
            && containers.iter().all(|status| status.ready)
            && init.iter().all(|(status, sidecar)| !sidecar || status.ready);
        PodStatus {
            namespace: self.pod.namespace.clone(),
            name: self.pod.name.clone(),
            uid: self.pod.uid.clone(),
            observed_generation: self.pod.generation,
            phase,
            reason: self.failure.as_ref().map(|f| f.reason.clone()).unwrap_or_default(),
            message: self.failure.as_ref().map(|f| f.message.clone()).unwrap_or_default(),
            pod_ip: self.pod_ip,
            started_ms: self.started_ms,
            sandbox_ready: active,
            initialized: self.initialized(),
            containers_ready,
            ready: containers_ready && self.pod.readiness_gates_met,
            init_containers: init.into_iter().map(|(status, _)| status).collect(),
            containers,
            ephemeral_containers: ephemeral.map(ContainerLife::status).collect(),
            resize_failure: refused.map(|(_, why)| why.clone()).unwrap_or_default(),
        }
    }

    fn desired(&mut self, pod: Pod, now: Moment, actions: &mut Vec<Action>) {
        let deletion = pod.deletion;
        for life in &mut self.lives {
            let wanted = pod
                .init_containers
                .iter()
                .chain(&pod.containers)
                .find(|container| container.name == life.name);
            // The image and the resources are all of a container that the API lets change.
            match wanted {
                Some(container) if container.image != life.image => life.change_image(container),
                Some(container) => life.change_resources(container),
                None => {}
            }
        }
        for container in &pod.ephemeral_containers {
            if !self.lives.iter().any(|life| life.name == container.name) {
                self.lives.push(ContainerLife::ephemeral(container));
            }
        }
        // A container whose configuration was wrong may be made of them.
        let fields = self.pod.labels != pod.labels || self.pod.annotations != pod.annotations;
        self.pod = pod;
        if fields {
            self.lives.iter_mut().for_each(|life| life.data_changed(now.instant));
        }
        if let Some(Deletion { grace_s }) = deletion {
            self.delete(grace_s, now, actions);
        }
    }

    fn delete(&mut self, grace_s: u32, now: Moment, actions: &mut Vec<Action>) {
        let kill_at = now.instant + grace(grace_s);
        match &mut self.state {
            State::SettingUp { .. } | State::Finished => self.tear_down(actions),
            State::Active => self.stop(Purpose::Deleted, kill_at),
            State::Stopping { purpose, kill_at: earlier } => {
                *purpose = Purpose::Deleted;
                // A later, shorter grace counts; a longer one does not prolong the wait.
                *earlier = (*earlier).min(kill_at);
                self.lives.iter_mut().for_each(|life| life.hasten_end(kill_at));
            }
            State::TearingDown { .. } | State::Stopped => {}
        }
    }

    fn stop(&mut self, purpose: Purpose, kill_at: Instant) {
        self.state = State::Stopping { purpose, kill_at };
    }

    fn tear_down(&mut self, actions: &mut Vec<Action>) {
        self.state = State::TearingDown { retry_at: None };
        actions.push(Action::TearDown);
    }

    fn data_changed(&mut self, now: Moment) {
        if let State::SettingUp { retry_at: Some(retry_at), .. } = &mut self.state {
            *retry_at = now.instant;
        }
        for life in &mut self.lives {
            life.data_changed(now.instant);
        }
    }

    fn container_event(&mut self, event: Event, now: Moment, actions: &mut Vec<Action>) {
        let name = match &event {
            Event::ImagePulling { container, .. }
            | Event::ImageReady { container, .. }
            | Event::ImageFailed { container, .. }
            | Event::ContainerStarted { container, .. }
            | Event::ContainerNotCreated { container, .. }
            | Event::ContainerNotStarted { container, .. }
            | Event::ContainerExited { container, .. }
            | Event::Probed { container, .. }
            | Event::Resized { container, .. }
            | Event::HookDone { container, .. } => container.clone(),
            Event::Desired(_)
            | Event::Gone
            | Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::DataChanged
            | Event::LogBudgetUsedUp { .. }
            | Event::TornDown
            | Event::TearDownFailed { .. }
            | Event::Timer => return,
        };
        let text = self.text();
        let stopping = !matches!(self.state, State::Active | State::SettingUp { .. });
        let (policy, grace) = (self.pod.restart_policy, grace(self.pod.termination_grace_s));
        if let Some(life) = self.lives.iter_mut().find(|life| life.name == name) {
            let policy = life.policy(policy);
            let terms = Terms { wanted: !stopping, policy, grace };
            life.on_event(event, now, terms, &text, actions);
            life.note_up();
        }
    }

    /// Decides what is missing now.
    fn advance(&mut self, now: Moment, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::SettingUp { retry_at, .. } => {
                let due = retry_at.is_some_and(|at| at <= now.instant);
                if due {
                    *retry_at = None;
                    actions.push(Action::SetUpSandbox);
                }
                if self.past_active_deadline(now) {
                    self.fail_past_deadline(actions);
                    self.state = State::Finished;
                    actions.push(Action::ReleaseSandbox);
                }
            }
            State::Active => self.advance_active(now, actions),
            State::Stopping { .. } => self.advance_stopping(now, actions),
            State::TearingDown { retry_at } => {
                if retry_at.is_some_and(|at| at <= now.instant) {
                    *retry_at = None;
                    actions.push(Action::TearDown);
                }
            }
            State::Finished | State::Stopped => {}
        }
    }

    fn advance_active(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.past_active_deadline(now) {
            self.fail_past_deadline(actions);
            self.stop(Purpose::Failed, self.grace_end(now));
            return self.advance_stopping(now, actions);
        }
        let policy = self.pod.restart_policy;
        let text = self.text();
        let kill_at = self.grace_end(now);
        // They look at whatever there is, at any time.
        for life in self.lives.iter_mut().filter(|life| life.ephemeral) {
            life.drive(RestartPolicy::Never, now, kill_at, &text, actions);
        }
        let mut initialized = true;
        for life in self.lives.iter_mut().filter(|life| life.init) {
            let policy = life.policy(policy);
            life.drive(policy, now, kill_at, &text, actions);
            if life.ended_for_good(policy) && !life.sidecar && life.last_code() != Some(0) {
                // An init container failed and is not tried again: the pod has failed.
                self.stop(Purpose::Completed, self.grace_end(now));
                return self.advance_stopping(now, actions);
            }
            let passed = match life.sidecar {
                true => life.has_started(),
                false => life.ended_for_good(policy),
            };
            if !passed {
                initialized = false;
                break;
            }
        }
        if !initialized {
            // What runs all the same, after a restart of the agent, is looked after.
            for life in self.lives.iter_mut().filter(|life| life.regular() && life.alive()) {
                life.continue_end(now, actions);
                life.probe(now, actions);
            }
            return;
        }
        let mut hooked = false;
        for life in self.lives.iter_mut().filter(|life| life.regular()) {
            // As with the kubelet, a hook holds up the first start of those after it.
            if !hooked || life.ran {
                life.drive(policy, now, kill_at, &text, actions);
            }
            hooked |= life.hook_to_come();
        }
        if self.lives.iter().filter(|life| life.regular()).all(|life| life.ended_for_good(policy)) {
            self.stop(Purpose::Completed, self.grace_end(now));
            self.advance_stopping(now, actions);
        }
    }

    fn advance_stopping(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let State::Stopping { purpose, kill_at } = self.state else { return };
        for life in &mut self.lives {
            life.stop_waiting();
        }
        if !self.alive() {
            match purpose {
                Purpose::Deleted => self.tear_down(actions),
                Purpose::Failed | Purpose::Completed => {
                    self.state = State::Finished;
                    actions.push(Action::ReleaseSandbox);
                }
            }
            return;
        }
        let text = self.text();
        for life in self.lives.iter_mut().filter(|life| life.alive()) {
            life.continue_end(now, actions);
            life.probe(now, actions);
        }
        if kill_at <= now.instant {
            // Those whose turn has not come; the others know their own time.
            for life in self.lives.iter_mut().filter(|life| life.alive()) {
                if life.ending == Ending::No {
                    let message = format!("Stopping container {}", life.name);
                    actions.push(text.normal(&life.field_path(), "Killing", &message));
                    life.kill(now, actions);
                }
            }
            self.state = State::Stopping { purpose, kill_at: now.instant + KILL_REPEAT };
            return;
        }
        // Sidecars serve the containers to their end, so they are told last, in reverse order.
        let serving = self.lives.iter().any(|life| life.alive() && !life.sidecar);
        let last_sidecar = self.lives.iter().rposition(|life| life.alive() && life.sidecar);
        for (index, life) in self.lives.iter_mut().enumerate().filter(|(_, life)| life.alive()) {
            let turn = if serving { !life.sidecar } else { Some(index) == last_sidecar };
            if turn {
                let message = format!("Stopping container {}", life.name);
                life.begin_end(&message, now, kill_at, &text, actions);
            }
        }
    }

    fn report(&mut self, actions: &mut Vec<Action>) {
        let status = self.status();
        if self.state != State::Stopped && self.reported.as_ref() != Some(&status) {
            self.reported = Some(status.clone());
            // The state belongs before the word that nothing is left.
            actions.push(Action::Report(Box::new(status)));
        }
    }

    fn alive(&self) -> bool {
        self.lives.iter().any(ContainerLife::alive)
    }

    fn initialized(&self) -> bool {
        self.lives.iter().filter(|life| life.init).all(|life| match life.sidecar {
            true => life.has_started(),
            false => life.last_code() == Some(0),
        })
    }

    fn active_deadline(&self) -> Option<Instant> {
        let deadline = self.pod.active_deadline_s?;
        self.started.checked_add(Duration::from_secs(u64::from(deadline)))
    }

    fn past_active_deadline(&self, now: Moment) -> bool {
        self.active_deadline().is_some_and(|deadline| deadline <= now.instant)
    }

    fn fail_past_deadline(&mut self, actions: &mut Vec<Action>) {
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        actions.push(self.text().normal("", "DeadlineExceeded", &message));
        self.failure = Some(Failure { reason: "DeadlineExceeded".to_owned(), message });
    }

    fn grace_end(&self, now: Moment) -> Instant {
        now.instant + grace(self.pod.termination_grace_s)
    }

    fn text(&self) -> EventText {
        EventText::new(&self.pod)
    }

    /// The container with this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.pod
            .containers
            .iter()
            .chain(&self.pod.init_containers)
            .find(|container| container.name == name)
    }
}

/// A grace in seconds, but never none: every program hears of its end, as with the kubelet.
fn grace(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds)).max(GRACE_MIN)
}

fn earliest(instants: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    instants.into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
