//! Reaps processes and turns their ends into exits of containers.

use std::time::Duration;

use super::Runtime;
use crate::clock::{monotonic_ms, wall_us};
use crate::parking::ReapedExit;
use crate::process;
use crate::protocol::{ContainerState, Event, Exit};
use crate::sys::wait_any::ended_child;

/// How a process ended.
pub(super) type Ended = ReapedExit;

/// How long the supervisor has to hand over the exit of an adopted container.
const HAND_OVER: Duration = Duration::from_millis(1_000);

/// Exit code of a container whose end nobody saw.
const UNKNOWN_CODE: i32 = 255;

impl Runtime {
    /// Reaps all children that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            match ended_child(true) {
                Ok(None) => break,
                Ok(Some(end)) => self.process_ended(end.pid, Ended::now(end)),
                Err(error) => {
                    tracing::error!(%error, "could not reap");
                    break;
                }
            }
        }
        if self.under_way.is_empty() {
            // Nobody can report these any more: helpers of libcontainer.
            self.held.clear();
        }
    }

    fn process_ended(&mut self, pid: i32, end: Ended) {
        if self.under_way.iter().any(|under_way| under_way.operation.child == pid) {
            self.operation_ended(pid);
            return;
        }
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) {
            exec.ended = Some(end);
            return;
        }
        match self.container_of(pid) {
            Some(id) => self.container_ended(&id, Some(end)),
            None => drop(self.held.insert(pid, end)),
        }
    }

    fn container_of(&self, pid: i32) -> Option<String> {
        self.containers
            .iter()
            .find(|(_, container)| container.pid() == Some(pid))
            .map(|(id, _)| id.clone())
    }

    /// Records the end of a container's init and tells everyone.
    pub(super) fn container_ended(&mut self, id: &str, end: Option<Ended>) {
        // What it wrote last, before the news of its end.
        self.take_terminal(id);
        self.drain(id);
        self.detach_all(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        let oom_killed = self.cgroups.oom_kills(&container.record.cgroup_path) > 0;
        let exit = match end {
            Some(end) => Exit {
                code: end.code,
                signal: end.signal,
                oom_killed,
                known: true,
                finished_at_us: end.at_us,
            },
            None => Exit {
                code: UNKNOWN_CODE,
                signal: None,
                oom_killed,
                known: false,
                finished_at_us: wall_us(),
            },
        };
        let adopted = container.adopted.take().is_some();
        container.awaits_exit_since_ms = None;
        container.set_state(ContainerState::Exited(exit.clone()));
        tracing::info!(id, code = exit.code, oom_killed, "container exited");
        if adopted {
            self.forget_recorded_exits();
        }
        self.wake_log_writer();
        self.publish(&Event::Exited { id: id.to_owned(), exit });
    }

    /// Looks whether an adopted container has ended.
    pub(super) fn look_after_adopted(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(pid) = container.pid().filter(|_| container.adopted.is_some()) else { return };
        let ticks = container.record.start_ticks;
        if process::runs(pid, ticks) {
            return;
        }
        if let Some(end) = Ended::read(&self.run_dir.reaped(), pid, ticks) {
            self.container_ended(id, Some(end));
            return;
        }
        let now = monotonic_ms();
        let since = *container.awaits_exit_since_ms.get_or_insert(now);
        let patience = u64::try_from(HAND_OVER.as_millis()).unwrap_or(0);
        // Without a supervisor nobody hands anything over.
        if self.parking.is_none() || now.saturating_sub(since) >= patience {
            self.container_ended(id, None);
        }
    }

    pub(super) fn look_after_all_adopted(&mut self) {
        self.look_after(|_| true);
        self.forget_recorded_exits();
    }

    /// Removes the exits that the supervisor left and that nobody waits for any more.
    ///
    /// Not before the containers' records have them: this process may be killed at any time.
    pub(super) fn forget_recorded_exits(&self) {
        let awaited: Vec<(i32, u64)> = self
            .containers
            .values()
            .filter_map(|container| Some((container.pid()?, container.record.start_ticks)))
            .collect();
        Ended::forget_all_but(&self.run_dir.reaped(), &awaited);
    }

    /// Looks again at adopted containers whose exit is awaited.
    pub(super) fn look_after_unknown(&mut self) {
        self.look_after(super::container::Container::end_is_awaited);
    }

    fn look_after(&mut self, wanted: fn(&super::container::Container) -> bool) {
        let ids: Vec<String> = self
            .containers
            .iter()
            .filter(|(_, container)| container.adopted.is_some() && wanted(container))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.look_after_adopted(&id);
        }
    }
}
