//! What outlives the agent: enough of a pod's life to take it over after a restart.
//!
//! Kept on a tmpfs, so it ends with the boot, as the containers do. Deadlines are not kept:
//! what waited is tried again at once.

use std::net::Ipv4Addr;

use bramble_shared::link::{ContainerState, Pod, Resources};
use serde::{Deserialize, Serialize};

use super::container_life::Step;
use super::{Action, ContainerLife, Event, Exit, Failure, PodWorker, SET_UP_WAIT_MIN, State};
use crate::moment::Moment;
use crate::probe::Probes;
use crate::restart::BackOff;

/// One pod as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// The pod as it was wanted last.
    pub pod: Pod,
    /// Its address, once the sandbox was there.
    pub pod_ip: Option<Ipv4Addr>,
    /// When the agent first saw it; time of day in milliseconds.
    pub started_ms: u64,
    /// The same on the boot's monotonic clock, in milliseconds.
    pub started_at_ms: u64,
    /// The pod is over and its sandbox was given back.
    pub finished: bool,
    /// Reason and message of a pod that failed as a whole.
    pub failure: Option<(String, String)>,
    /// Init containers, then containers, then ephemeral ones.
    pub containers: Vec<ContainerRecord>,
}

/// One container as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Name.
    pub name: String,
    /// Number of the current start.
    pub attempt: u32,
    /// State as it was shown.
    pub state: ContainerState,
    /// The state before.
    pub last_state: Option<ContainerState>,
    /// Id in the runtime.
    pub container_id: String,
    /// Digest reference of the image.
    pub image_id: String,
    /// The image of the current or last run, as the container named it then.
    pub run_image: String,
    /// Number of the signal that stops it.
    pub stop_signal: i32,
    /// Wait after the next end, in seconds.
    pub back_off_s: u64,
    /// A start was asked for and may have happened.
    pub alive: bool,
    /// What it was given to use.
    pub applied: Resources,
    /// At least one start was made.
    pub ran: bool,
    /// Its startup probe has succeeded once.
    pub was_up: bool,
    /// The startup probe of this start has succeeded.
    pub started: bool,
    /// It was ready by its probes.
    pub ready: bool,
}

/// A container that the runtime still knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Container.
    pub container: String,
    /// Number of the start.
    pub attempt: u32,
    /// Id in the runtime.
    pub id: String,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

impl PodWorker {
    /// What must outlive the agent; nothing once the pod is being removed for good.
    #[must_use]
    pub fn record(&self) -> PodRecord {
        PodRecord {
            pod: self.pod.clone(),
            pod_ip: self.pod_ip,
            started_ms: self.started_ms,
            started_at_ms: self.started.as_millis(),
            finished: self.state == State::Finished,
            failure: self.failure.as_ref().map(|f| (f.reason.clone(), f.message.clone())),
            containers: self
                .lives
                .iter()
                .map(|life| ContainerRecord {
                    name: life.name.clone(),
                    attempt: life.attempt,
                    state: life.shown.clone(),
                    last_state: life.last_state.clone(),
                    container_id: life.container_id.clone(),
                    image_id: life.image_id.clone(),
                    run_image: life.run_image.clone(),
                    stop_signal: life.stop_signal,
                    back_off_s: life.back_off.wait_s(),
                    alive: life.alive(),
                    applied: life.applied,
                    ran: life.ran,
                    was_up: life.was_up,
                    started: life.probes.started(),
                    ready: life.probes.ready(),
                })
                .collect(),
        }
    }

    /// Takes a pod over from the agent before, with what the runtime still knows of it.
    ///
    /// `sandbox` says whether the pod's network namespace is still there.
    #[must_use]
    pub fn adopt(
        record: PodRecord,
        found: &[Found],
        sandbox: bool,
        now: Moment,
    ) -> (Self, Vec<Action>) {
        let started = embassy_time::Instant::from_millis(record.started_at_ms);
        let (mut worker, _) = Self::new(record.pod.clone(), now);
        worker.started_ms = record.started_ms;
        worker.started = started.min(now.instant);
        worker.pod_ip = record.pod_ip;
        worker.failure = record.failure.map(|(reason, message)| Failure { reason, message });
        let mut events = Vec::new();
        for life in &mut worker.lives {
            let Some(old) = record.containers.iter().find(|old| old.name == life.name) else {
                continue;
            };
            let found = found.iter().filter(|found| found.container == life.name);
            restore(life, old, found.max_by_key(|found| found.attempt), now, &mut events);
        }
        let mut actions = Vec::new();
        worker.state = match (record.finished, sandbox && record.pod_ip.is_some()) {
            (true, _) => State::Finished,
            (false, true) => State::Active,
            (false, false) => {
                actions.push(Action::SetUpSandbox);
                State::SettingUp { wait: SET_UP_WAIT_MIN, retry_at: None }
            }
        };
        // A pod whose sandbox is lost while containers run: they are in namespaces of their
        // own and go on; the sandbox is only made again for what starts later.
        for event in events {
            actions.extend(worker.on_event(event, now));
        }
        if let Some(deletion) = worker.pod.deletion {
            worker.delete(deletion.grace_s, now, &mut actions);
        }
        worker.reported = None;
        actions.extend(worker.on_event(Event::Timer, now));
        (worker, actions)
    }
}

fn restore(
    life: &mut ContainerLife,
    old: &ContainerRecord,
    found: Option<&Found>,
    now: Moment,
    events: &mut Vec<Event>,
) {
    life.attempt = old.attempt;
    life.applied = old.applied;
    life.shown = old.state.clone();
    life.last_state = old.last_state.clone();
    life.container_id.clone_from(&old.container_id);
    life.image_id.clone_from(&old.image_id);
    life.back_off = BackOff::resumed(old.back_off_s, now.instant);
    life.ran = old.ran;
    life.was_up = old.was_up;
    life.run_image.clone_from(&old.run_image);
    life.stop_signal = old.stop_signal;
    match (found, &old.state) {
        (Some(found), state) if old.alive || matches!(state, ContainerState::Running { .. }) => {
            life.attempt = found.attempt;
            life.step = Step::Running;
            life.ran = true;
            life.probes = Probes::resume(&life.spec, old.started, old.ready, now.instant);
            // The image was changed and the agent ended before the container did.
            life.changed = !life.run_image.is_empty() && life.run_image != life.image;
            life.container_id.clone_from(&found.id);
            if !matches!(life.shown, ContainerState::Running { .. }) {
                life.shown = ContainerState::Running { started_ms: now.time_of_day_ms };
            }
            life.note_up();
            if let Some(exit) = &found.exit {
                events.push(Event::ContainerExited {
                    container: life.name.clone(),
                    attempt: found.attempt,
                    exit: exit.clone(),
                });
            }
        }
        (None, ContainerState::Running { .. }) => {
            life.step = Step::Running;
            events.push(Event::ContainerExited {
                container: life.name.clone(),
                attempt: old.attempt,
                exit: Exit {
                    code: 137,
                    signal: 0,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: "The container could not be located when the pod was taken over"
                        .to_owned(),
                    finished_ms: now.time_of_day_ms,
                },
            });
        }
        (_, ContainerState::Terminated { .. }) => life.step = Step::Ended { restart_at: None },
        (_, ContainerState::Waiting { .. }) if old.last_state.is_some() && old.ran => {
            // It waited for its restart, whose number is the next one.
            life.shown = old.last_state.clone().unwrap_or_else(|| old.state.clone());
            life.step = Step::Ended { restart_at: None };
        }
        (_, ContainerState::Waiting { .. } | ContainerState::Running { .. }) => {
            life.step = Step::Idle;
        }
    }
}
