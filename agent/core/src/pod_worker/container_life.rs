//! One container's life in its pod: pull, start, run, end, wait, and again.
//!
//! ```text
//!  Idle -> Pulling -> Starting -> Running -> Ended --policy says so, back-off over--> Pulling
//!            |  ^        |  ^
//!            v  |        v  |
//!         PullWaiting  CreateWaiting
//! ```

use bramble_shared::link::{Container, ContainerState, ContainerStatus, Resources, RestartPolicy};
use embassy_time::{Duration, Instant};

use super::ending::Ending;
use super::event_text::EventText;
use super::{Action, Event, Exit, Hook};
use crate::moment::Moment;
use crate::probe::{Outcome, Probes};
use crate::restart::{self, BackOff, PullBackOff};
use crate::status::exit_code;
use crate::stop_signal::SIGTERM;

/// A failed pull shows its error for this long before it is shown as a back-off, so that a
/// watcher sees both, as with the kubelet's next sync.
const ERROR_SHOWN: Duration = Duration::from_secs(2);
/// Wait until a container whose configuration was wrong is tried again.
const CREATE_WAIT: Duration = Duration::from_secs(10);

/// Reasons of a container that waits for its first start.
const INITIALIZING: &str = "PodInitializing";
const CREATING: &str = "ContainerCreating";

/// What a container's life depends on besides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The pod does not stop.
    pub(super) wanted: bool,
    /// After an end.
    pub(super) policy: RestartPolicy,
    /// The pod's grace.
    pub(super) grace: Duration,
}

/// One container's life.
#[derive(Clone, Debug)]
pub(super) struct ContainerLife {
    pub(super) name: String,
    pub(super) image: String,
    /// The container as it is wanted.
    pub(super) spec: Container,
    /// The image of the current or last run, which may be an earlier one; empty before the first.
    pub(super) run_image: String,
    /// Number of the signal by which that image wants to be stopped.
    pub(super) stop_signal: i32,
    pub(super) init: bool,
    /// Reason that it shows before its first start.
    waits_for: &'static str,
    pub(super) sidecar: bool,
    /// It came later, to look at the pod; nothing depends on it.
    pub(super) ephemeral: bool,
    /// What it may use: what it was started with, or was given since.
    pub(super) applied: Resources,
    /// What it is just being given.
    resizing: Option<Resources>,
    /// What it could not be given, and why.
    pub(super) resize_failure: Option<(Resources, String)>,
    pub(super) step: Step,
    /// Number of the current start; equals the restart count.
    pub(super) attempt: u32,
    pub(super) shown: ContainerState,
    pub(super) last_state: Option<ContainerState>,
    pub(super) container_id: String,
    pub(super) image_id: String,
    pub(super) back_off: BackOff,
    pub(super) probes: Probes,
    /// The hook after its start runs: it does not count as running yet.
    pub(super) post_start: bool,
    pub(super) ending: Ending,
    /// When a container that was told to end is killed.
    pub(super) kill_at: Option<Instant>,
    pull_back_off: PullBackOff,
    /// The image has changed: the next end is followed by a start whatever the policy says.
    pub(super) changed: bool,
    /// It was ended to be started again, whatever its exit code.
    pub(super) forced: bool,
    /// Its startup probe has succeeded once, whatever became of it since.
    pub(super) was_up: bool,
    /// At least one start was made.
    pub(super) ran: bool,
}

/// Where a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Idle,
    Pulling,
    PullWaiting {
        shown_until: Option<Instant>,
        until: Instant,
    },
    Starting,
    CreateWaiting {
        until: Instant,
    },
    Running,
    Ended {
        restart_at: Option<Instant>,
    },
    /// The pod stops and this container has nothing running.
    Given,
}

impl ContainerLife {
    /// `after_init` says whether the pod has init containers at all.
    pub(super) fn new(container: &Container, init: bool, after_init: bool) -> Self {
        // As upstream: of a pod with init containers all wait for its initialization, those
        // themselves and those whose turn has come, too.
        let reason = if after_init { INITIALIZING } else { CREATING };
        Self {
            waits_for: reason,
            name: container.name.clone(),
            image: container.image.clone(),
            spec: container.clone(),
            run_image: String::new(),
            stop_signal: SIGTERM,
            init,
            sidecar: container.sidecar,
            ephemeral: false,
            applied: container.resources,
            resizing: None,
            resize_failure: None,
            step: Step::Idle,
            attempt: 0,
            shown: waiting(reason, ""),
            last_state: None,
            container_id: String::new(),
            image_id: String::new(),
            back_off: BackOff::default(),
            probes: Probes::default(),
            post_start: false,
            ending: Ending::No,
            kill_at: None,
            pull_back_off: PullBackOff::default(),
            changed: false,
            forced: false,
            was_up: false,
            ran: false,
        }
    }

    /// An ephemeral container.
    pub(super) fn ephemeral(container: &Container) -> Self {
        Self { ephemeral: true, ..Self::new(container, false, false) }
    }

    /// Whether it is one of those that make the pod.
    pub(super) fn regular(&self) -> bool {
        !self.init && !self.ephemeral
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let running = self.runs();
        let ended_well = exit_code(&self.shown) == Some(0);
        ContainerStatus {
            name: self.name.clone(),
            container_id: match self.container_id.as_str() {
                "" => String::new(),
                id => format!("bramble://{id}"),
            },
            image: match self.run_image.as_str() {
                "" => self.image.clone(),
                image => image.to_owned(),
            },
            image_id: self.image_id.clone(),
            restart_count: self.attempt,
            // An init container is ready once it is done.
            ready: running && self.probes.ready() && (self.sidecar || !self.init)
                || self.init && !self.sidecar && ended_well,
            started: running && self.probes.started(),
            state: match self.post_start {
                true => waiting(self.waits_for, ""),
                false => self.shown.clone(),
            },
            last_state: self.last_state.clone(),
            resources: (self.step == Step::Running).then_some(self.applied),
        }
    }

    /// What happens after its end, with this policy of its pod: init containers of a pod that is always
    /// restarted are restarted after a failure only, sidecars always.
    pub(super) fn policy(&self, pod: RestartPolicy) -> RestartPolicy {
        if self.ephemeral {
            return RestartPolicy::Never;
        }
        match (self.sidecar, self.init && pod == RestartPolicy::Always) {
            (true, _) => RestartPolicy::Always,
            (false, true) => RestartPolicy::OnFailure,
            (false, false) => pod,
        }
    }

    /// Says why the container still waits for its pod to be set up.
    pub(super) fn explain_waiting(&mut self, why: &str) {
        if let ContainerState::Waiting { message, .. } = &mut self.shown {
            why.clone_into(message);
        }
    }

    pub(super) fn alive(&self) -> bool {
        matches!(self.step, Step::Starting | Step::Running)
    }

    /// Whether it runs and its hook after the start is done.
    pub(super) fn runs(&self) -> bool {
        matches!(self.shown, ContainerState::Running { .. }) && !self.post_start
    }

    /// Remembers that it was up.
    pub(super) fn note_up(&mut self) {
        self.was_up |= self.runs() && self.probes.started();
    }

    /// A sidecar counts as passed once it was up, even while it is started again.
    pub(super) fn has_started(&self) -> bool {
        self.was_up
    }

    pub(super) fn last_code(&self) -> Option<i32> {
        exit_code(&self.shown)
    }

    pub(super) fn ended_for_good(&self, policy: RestartPolicy) -> bool {
        matches!(self.step, Step::Ended { .. } | Step::Given)
            && !self.changed
            && !self.forced
            && self.last_code().is_some_and(|code| !restart::restarts(policy, code))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::PullWaiting { shown_until, until } => {
                Some(shown_until.map_or(until, |shown| shown.min(until)))
            }
            Step::CreateWaiting { until } => Some(until),
            Step::Ended { restart_at } => restart_at,
            Step::Running => {
                let probe = self.probes.next_deadline().filter(|_| self.runs());
                self.kill_at.into_iter().chain(probe).min()
            }
            Step::Starting => self.kill_at,
            Step::Idle | Step::Pulling | Step::Given => None,
        }
    }

    pub(super) fn data_changed(&mut self, now: Instant) {
        if matches!(self.step, Step::CreateWaiting { .. }) {
            self.step = Step::CreateWaiting { until: now };
        }
    }

    pub(super) fn change_image(&mut self, container: &Container) {
        self.image.clone_from(&container.image);
        self.spec.clone_from(container);
        self.pull_back_off.note_success();
        match self.step {
            Step::Running | Step::Starting => self.changed = true,
            // The answer to the old image's pull will be of no use: the new one is asked for.
            Step::Pulling | Step::PullWaiting { .. } | Step::CreateWaiting { .. } => {
                self.step = Step::Idle;
            }
            // A container that waits for its restart need not wait with another image.
            Step::Ended { restart_at: Some(_) } => {
                self.changed = true;
                self.back_off = BackOff::default();
                self.step = Step::Ended { restart_at: None };
            }
            Step::Idle | Step::Ended { restart_at: None } | Step::Given => {}
        }
    }

    /// Notes what it is to use, and when that takes another start.
    pub(super) fn change_resources(&mut self, container: &Container) {
        self.spec.resources = container.resources;
        self.spec.restart_for_cpu = container.restart_for_cpu;
        self.spec.restart_for_memory = container.restart_for_memory;
    }

    /// Gives a running container what it is to use by now, or another start.
    fn resize(&mut self, actions: &mut Vec<Action>) {
        let (wanted, has) = (self.spec.resources, self.applied);
        let refused = self.resize_failure.as_ref().is_some_and(|(refused, _)| *refused == wanted);
        if wanted == has {
            self.resize_failure = None;
            return;
        }
        if self.resizing.is_some() || self.changed || refused {
            return;
        }
        let cpu = (wanted.cpu_request_milli, wanted.cpu_limit_milli)
            != (has.cpu_request_milli, has.cpu_limit_milli);
        let memory =
            (wanted.memory_request, wanted.memory_limit) != (has.memory_request, has.memory_limit);
        if cpu && self.spec.restart_for_cpu || memory && self.spec.restart_for_memory {
            self.changed = true;
            return;
        }
        self.resizing = Some(wanted);
        actions.push(Action::Resize {
            container: self.name.clone(),
            attempt: self.attempt,
            resources: wanted,
        });
    }

    /// The pod stops: what is only waited for is given up.
    pub(super) fn stop_waiting(&mut self) {
        match self.step {
            Step::Ended { .. } => self.step = Step::Ended { restart_at: None },
            Step::Idle | Step::Pulling | Step::PullWaiting { .. } | Step::CreateWaiting { .. } => {
                self.step = Step::Given;
            }
            Step::Starting | Step::Running | Step::Given => {}
        }
    }

    /// Asks for the next step if it is due. A container that is told to end now has until `kill_at`.
    pub(super) fn drive(
        &mut self,
        policy: RestartPolicy,
        now: Moment,
        kill_at: Instant,
        text: &EventText,
        actions: &mut Vec<Action>,
    ) {
        match self.step {
            Step::Idle => self.pull(actions),
            Step::PullWaiting { until, .. } if until <= now.instant => self.pull(actions),
            Step::PullWaiting { shown_until: Some(shown), until } if shown <= now.instant => {
                self.step = Step::PullWaiting { shown_until: None, until };
                let message = format!("Back-off pulling image \"{}\"", self.image);
                let path = self.field_path();
                actions.push(text.normal(&path, "BackOff", &message));
                actions.push(text.warning(&path, "Failed", "Error: ImagePullBackOff"));
                self.shown = waiting("ImagePullBackOff", &message);
            }
            Step::CreateWaiting { until } if until <= now.instant => self.pull(actions),
            Step::Running => {
                self.resize(actions);
                if self.changed {
                    let message =
                        format!("Container {} definition changed, will be restarted", self.name);
                    self.begin_end(&message, now, kill_at, text, actions);
                }
                self.continue_end(now, actions);
                self.probe(now, actions);
            }
            Step::Ended { restart_at: Some(at) } if at <= now.instant => {
                self.changed = false;
                self.forced = false;
                self.attempt = self.attempt.saturating_add(1);
                self.pull(actions);
            }
            Step::Ended { restart_at: None } => {
                let code = self.last_code().unwrap_or(0);
                if self.changed || self.forced || restart::restarts(policy, code) {
                    self.wait_for_restart(now, text, actions);
                    if self.step == (Step::Ended { restart_at: Some(now.instant) }) {
                        self.drive(policy, now, kill_at, text, actions);
                    }
                }
            }
            Step::PullWaiting { .. }
            | Step::CreateWaiting { .. }
            | Step::Pulling
            | Step::Starting
            | Step::Ended { .. }
            | Step::Given => {}
        }
    }

    /// Asks for the probes that are due; what is being ended is still asked for its readiness.
    pub(super) fn probe(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.step != Step::Running || !self.runs() {
            return;
        }
        actions.extend(self.probes.poll(now.instant).into_iter().map(|kind| Action::Probe {
            container: self.name.clone(),
            attempt: self.attempt,
            kind,
        }));
    }

    fn wait_for_restart(&mut self, now: Moment, text: &EventText, actions: &mut Vec<Action>) {
        let wait = match self.changed {
            true => Duration::from_ticks(0),
            false => self.back_off.wait(now.instant),
        };
        self.step = Step::Ended { restart_at: Some(now.instant + wait) };
        if wait.as_ticks() == 0 {
            return;
        }
        let pod = text.pod();
        self.last_state = Some(self.shown.clone());
        self.shown = waiting(
            "CrashLoopBackOff",
            &format!(
                "back-off {} restarting failed container={} pod={pod}",
                go_duration(wait),
                self.name
            ),
        );
        let message = format!("Back-off restarting failed container {} in pod {pod}", self.name);
        actions.push(text.warning(&self.field_path(), "BackOff", &message));
    }

    fn pull(&mut self, actions: &mut Vec<Action>) {
        self.step = Step::Pulling;
        let (container, image) = (self.name.clone(), self.image.clone());
        actions.push(Action::PullImage { container, image });
    }

    /// Takes in an event about this container. `wanted` is false once the pod stops; `policy` and
    /// `grace` are the pod's.
    pub(super) fn on_event(
        &mut self,
        event: Event,
        now: Moment,
        Terms { wanted, policy, grace }: Terms,
        text: &EventText,
        actions: &mut Vec<Action>,
    ) {
        let path = self.field_path();
        match event {
            Event::ImagePulling { image, .. } => {
                if self.step == Step::Pulling && image == self.image {
                    let message = format!("Pulling image \"{}\"", self.image);
                    actions.push(text.normal(&path, "Pulling", &message));
                }
            }
            Event::ImageReady { image, image_id, stop_signal, pulled, .. } => {
                if self.step != Step::Pulling || image != self.image || !wanted {
                    return;
                }
                self.image_id = image_id;
                self.run_image = image;
                self.stop_signal = stop_signal;
                self.pull_back_off.note_success();
                let message = match pulled {
                    Some(pulled) => {
                        let took = go_duration(Duration::from_millis(pulled.took_ms));
                        format!(
                            "Successfully pulled image \"{}\" in {took} ({took} including \
                             waiting). Image size: {} bytes.",
                            self.image, pulled.bytes
                        )
                    }
                    None => {
                        format!("Container image \"{}\" already present on machine", self.image)
                    }
                };
                actions.push(text.normal(&path, "Pulled", &message));
                self.step = Step::Starting;
                self.applied = self.spec.resources;
                self.resizing = None;
                self.resize_failure = None;
                self.ending = Ending::No;
                self.kill_at = None;
                self.changed = false;
                self.forced = false;
                actions.push(Action::StartContainer {
                    container: self.name.clone(),
                    attempt: self.attempt,
                });
            }
            Event::ImageFailed { image, reason, message, .. } => {
                if self.step != Step::Pulling || image != self.image {
                    return;
                }
                let until = now.instant + self.pull_back_off.note_failure();
                let message = match reason.as_str() {
                    "ErrImagePull" => {
                        format!("failed to pull image \"{}\": {message}", self.image)
                    }
                    _ => message,
                };
                let sentence = capitalized(&message);
                actions.push(text.warning(&path, "Failed", &sentence));
                actions.push(text.warning(&path, "Failed", &format!("Error: {reason}")));
                // What no pull can mend stays as it is; every pull that failed becomes a back-off.
                let pulled = !matches!(reason.as_str(), "ErrImageNeverPull" | "InvalidImageName");
                let shown_until = pulled.then_some(now.instant + ERROR_SHOWN);
                self.keep_last();
                self.shown = waiting(&reason, &message);
                self.step = Step::PullWaiting { shown_until, until };
            }
            Event::ContainerStarted { attempt, id, .. } => {
                if attempt != self.attempt || self.step != Step::Starting {
                    return;
                }
                self.container_id = id;
                self.keep_last();
                self.step = Step::Running;
                self.ran = true;
                // A signal that was sent before the program ran has reached nobody.
                self.ending = Ending::No;
                self.kill_at = None;
                self.probes = Probes::begin(&self.spec, now.instant);
                self.shown = ContainerState::Running { started_ms: now.time_of_day_ms };
                if attempt > 0 {
                    self.back_off.note_start(now.instant);
                }
                let created = format!("Created container: {}", self.name);
                actions.push(text.normal(&path, "Created", &created));
                let started = format!("Started container {}", self.name);
                actions.push(text.normal(&path, "Started", &started));
                if self.spec.lifecycle.post_start.is_some() {
                    self.post_start = true;
                    actions.push(self.hook(Hook::PostStart));
                }
            }
            Event::Probed { attempt, kind, outcome, .. } => {
                if attempt != self.attempt || self.step != Step::Running {
                    return;
                }
                let word = kind.word();
                let told = match &outcome {
                    Outcome::Success => None,
                    Outcome::Warning { message } => {
                        Some(("ProbeWarning", format!("{word} probe warning: {message}")))
                    }
                    Outcome::Failure { message } => {
                        Some(("Unhealthy", format!("{word} probe failed: {message}")))
                    }
                    Outcome::Unknown { message } => Some((
                        "Unhealthy",
                        format!("{word} probe errored and resulted in unknown state: {message}"),
                    )),
                };
                if let Some((reason, message)) = told {
                    actions.push(text.warning(&path, reason, &message));
                }
                let fatal = self.probes.outcome(kind, &outcome, now.instant);
                if fatal && wanted {
                    let grace = match kind.of(&self.spec).and_then(|p| p.termination_grace_s) {
                        Some(own) => super::grace(own),
                        None => grace,
                    };
                    let word = word.to_lowercase();
                    self.end_unhealthy(&word, policy, now, grace, text, actions);
                }
            }
            Event::HookDone { attempt, hook, failed, .. } => {
                if attempt == self.attempt && self.step == Step::Running {
                    self.hook_done(hook, failed, now, grace, text, actions);
                }
            }
            Event::Resized { attempt, resources, failure, .. } => {
                if attempt != self.attempt || self.step != Step::Running {
                    return;
                }
                self.resizing = None;
                match failure {
                    None => self.applied = resources,
                    Some(why) => {
                        actions.push(text.warning(&path, "ResizeError", &why));
                        self.resize_failure = Some((resources, why));
                    }
                }
            }
            Event::ContainerNotCreated { attempt, reason, message, .. } => {
                if attempt != self.attempt || self.step != Step::Starting {
                    return;
                }
                actions.push(text.warning(&path, "Failed", &format!("Error: {message}")));
                self.keep_last();
                self.shown = waiting(&reason, &message);
                self.step = Step::CreateWaiting { until: now.instant + CREATE_WAIT };
            }
            Event::ContainerNotStarted { attempt, id, exit_code, reason, message, .. } => {
                if attempt != self.attempt || self.step != Step::Starting {
                    return;
                }
                actions.push(text.warning(&path, "Failed", &format!("Error: {message}")));
                self.container_id = id;
                self.keep_last();
                if attempt > 0 {
                    self.back_off.note_start(now.instant);
                }
                let finished_ms = now.time_of_day_ms;
                let exit = Exit { code: exit_code, signal: 0, reason, message, finished_ms };
                self.end(exit, now.time_of_day_ms, actions);
            }
            Event::ContainerExited { attempt, exit, .. } => {
                // The exit of a container whose start is still to be answered counts at once:
                // the program was short and the answer is late.
                if attempt != self.attempt || !self.alive() {
                    return;
                }
                let started_ms = match self.shown {
                    ContainerState::Running { started_ms } => started_ms,
                    ContainerState::Waiting { .. } | ContainerState::Terminated { .. } => {
                        now.time_of_day_ms
                    }
                };
                if self.step == Step::Starting {
                    self.keep_last();
                    self.ran = true;
                    if attempt > 0 {
                        self.back_off.note_start(now.instant);
                    }
                }
                self.end(exit, started_ms, actions);
            }
            Event::Desired(_)
            | Event::Gone
            | Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::DataChanged
            | Event::LogBudgetUsedUp { .. }
            | Event::TornDown
            | Event::TearDownFailed { .. }
            | Event::Timer => {}
        }
    }

    fn end(&mut self, exit: Exit, started_ms: u64, actions: &mut Vec<Action>) {
        self.shown = ContainerState::Terminated {
            exit_code: exit.code,
            signal: exit.signal,
            reason: exit.reason,
            message: exit.message,
            started_ms,
            finished_ms: exit.finished_ms.max(started_ms),
        };
        self.step = Step::Ended { restart_at: None };
        self.kill_at = None;
        self.post_start = false;
        self.ending = Ending::No;
        actions
            .push(Action::RemoveContainer { container: self.name.clone(), attempt: self.attempt });
    }

    /// Keeps the end of the run before as `lastState` when a new state is shown over it.
    fn keep_last(&mut self) {
        if matches!(self.shown, ContainerState::Terminated { .. }) {
            self.last_state = Some(self.shown.clone());
        }
    }

    pub(super) fn field_path(&self) -> String {
        let list = match (self.init, self.ephemeral) {
            (true, _) => "initContainers",
            (false, true) => "ephemeralContainers",
            (false, false) => "containers",
        };
        format!("spec.{list}{{{}}}", self.name)
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.to_owned(), message: message.to_owned() }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A duration as Go prints it: `1m20s`, `10s`, `340ms`, `1.234s`.
fn go_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (minutes, seconds, rest) = (ms / 60_000, ms / 1000 % 60, ms % 1000);
    let fraction = match rest {
        0 => String::new(),
        _ => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    match (minutes, seconds) {
        (0, 0) if rest > 0 => format!("{rest}ms"),
        (0, _) => format!("{seconds}{fraction}s"),
        _ => format!("{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_upstream() {
        let text = |ms| go_duration(Duration::from_millis(ms));
        assert_eq!(text(10_000), "10s");
        assert_eq!(text(80_000), "1m20s");
        assert_eq!(text(300_000), "5m0s");
        assert_eq!(text(340), "340ms");
        assert_eq!(text(1_230), "1.23s");
        assert_eq!(text(0), "0s");
    }
}
