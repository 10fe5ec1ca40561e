//! How one container is told to end: its hook, its stop signal, the kill.
//!
//! ```text
//!  No --begin_end--> Hook --done, or the grace is over--> Signal --grace is over--> killed, again
//!   `--------------- without a hook ---------------------^          and again until it ends
//! ```

use bramble_shared::link::RestartPolicy;
use embassy_time::{Duration, Instant};

use super::container_life::{ContainerLife, Step};
use super::event_text::EventText;
use super::{Action, Hook, KILL_REPEAT, Signal};
use crate::moment::Moment;
use crate::stop_signal::SIGKILL;

/// Least time between the stop signal and the kill after a hook that took all of the grace; the
/// kubelet's `minimumGracePeriodInSeconds`.
const AFTER_HOOK_MIN: Duration = Duration::from_secs(2);

/// How far a container's end has been brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nobody wants it to end.
    No,
    /// Its hook runs.
    Hook,
    /// It was sent a signal.
    Signal,
}

impl ContainerLife {
    /// Tells the container to end by `kill_at`; `message` says why. Once told, it is not told again.
    pub(super) fn begin_end(
        &mut self,
        message: &str,
        now: Moment,
        kill_at: Instant,
        text: &EventText,
        actions: &mut Vec<Action>,
    ) {
        if self.ending != Ending::No {
            return;
        }
        actions.push(text.normal(&self.field_path(), "Killing", message));
        self.kill_at = Some(kill_at);
        self.probes.end();
        // A program that does not run yet has nothing to prepare.
        let hook = self.spec.lifecycle.pre_stop.is_some()
            && self.step == Step::Running
            && kill_at > now.instant;
        if hook {
            self.ending = Ending::Hook;
            actions.push(self.hook(Hook::PreStop));
        } else {
            self.send(Signal::Term, actions);
        }
    }

    /// The end is wanted earlier.
    pub(super) fn hasten_end(&mut self, kill_at: Instant) {
        self.kill_at = self.kill_at.map(|at| at.min(kill_at));
    }

    /// Does what is due of an end that was begun.
    pub(super) fn continue_end(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.kill_at.is_none_or(|at| at > now.instant) {
            return;
        }
        match self.ending {
            Ending::No => {}
            Ending::Hook => {
                self.kill_at = Some(now.instant + AFTER_HOOK_MIN);
                self.send(Signal::Term, actions);
            }
            Ending::Signal => self.kill(now, actions),
        }
    }

    /// Kills it, and looks again whether it has died.
    pub(super) fn kill(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.kill_at = Some(now.instant + KILL_REPEAT);
        self.send(Signal::Kill, actions);
    }

    /// A hook has ended; `failed` says that it did not do what it should.
    pub(super) fn hook_done(
        &mut self,
        hook: Hook,
        failed: bool,
        now: Moment,
        grace: Duration,
        text: &EventText,
        actions: &mut Vec<Action>,
    ) {
        let path = self.field_path();
        match hook {
            Hook::PostStart if self.post_start => {
                self.post_start = false;
                if failed {
                    let message = "PostStartHook failed";
                    actions.push(text.warning(&path, "FailedPostStartHook", message));
                    let kill_at = now.instant + grace;
                    self.begin_end("FailedPostStartHook", now, kill_at, text, actions);
                }
            }
            Hook::PreStop if self.ending == Ending::Hook => {
                if failed {
                    let message = "PreStopHook failed";
                    actions.push(text.warning(&path, "FailedPreStopHook", message));
                }
                let earliest = now.instant + AFTER_HOOK_MIN;
                self.kill_at = Some(self.kill_at.map_or(earliest, |at| at.max(earliest)));
                self.send(Signal::Term, actions);
            }
            // Late: the container has ended meanwhile, or its grace is over.
            Hook::PostStart | Hook::PreStop => {}
        }
    }

    /// A probe says that the container must end; it is started again if the policy allows it at all.
    pub(super) fn end_unhealthy(
        &mut self,
        probe: &str,
        policy: RestartPolicy,
        now: Moment,
        grace: Duration,
        text: &EventText,
        actions: &mut Vec<Action>,
    ) {
        if self.ending != Ending::No {
            return;
        }
        let mut message = format!("Container {} failed {probe} probe", self.name);
        if policy != RestartPolicy::Never {
            // Whatever its exit code will be.
            self.forced = true;
            message.push_str(", will be restarted");
        }
        self.begin_end(&message, now, now.instant + grace, text, actions);
    }

    /// Whether its hook after the first start is still to come, or under way.
    pub(super) fn hook_to_come(&self) -> bool {
        let begun = matches!(self.step, Step::Idle | Step::Pulling | Step::Starting);
        self.post_start || begun && !self.ran && self.spec.lifecycle.post_start.is_some()
    }

    /// The action that runs a hook.
    pub(super) fn hook(&self, hook: Hook) -> Action {
        Action::RunHook { container: self.name.clone(), attempt: self.attempt, hook }
    }

    fn send(&mut self, signal: Signal, actions: &mut Vec<Action>) {
        self.ending = Ending::Signal;
        actions.push(Action::Signal {
            container: self.name.clone(),
            attempt: self.attempt,
            signal,
            number: match signal {
                Signal::Term => self.stop_signal,
                Signal::Kill => SIGKILL,
            },
        });
    }
}
