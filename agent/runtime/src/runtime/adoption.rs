//! Takes over the containers of an earlier runtime process.
//!
//! Their inits are children of the supervisor by now, or of nobody we know; their pipes are
//! parked with the supervisor. No container is restarted or stopped for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Runtime;
use super::container::{Container, input_key, parking_key, terminal_key};
use super::exits::Ended;
use super::record::Record;
use super::requests::Deletion;
use crate::clock::monotonic_ms;
use crate::output::{OutputRing, Stream};
use crate::parking::{Received, ToRuntime};
use crate::process;
use crate::protocol::ContainerState;
use crate::sys::pidfd;

/// How long the supervisor may take to hand over what was parked, in milliseconds.
const HAND_OVER_MS: u16 = 2_000;

impl Runtime {
    /// Reads the records of the run directory and goes on where they end.
    pub(super) fn adopt(&mut self) -> io::Result<()> {
        let mut parked = self.receive_parked();
        let mut ids: Vec<String> = fs::read_dir(self.run_dir.containers())?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort_unstable();
        for id in ids {
            self.adopt_container(&id, &mut parked);
        }
        for key in parked.keys() {
            self.unpark(key);
        }
        self.forget_recorded_exits();
        Ok(())
    }

    /// Receives the descriptors that an earlier runtime process parked.
    fn receive_parked(&mut self) -> BTreeMap<String, OwnedFd> {
        let mut parked = BTreeMap::new();
        while let Some(parking) = &self.parking {
            match parking.receive::<ToRuntime>() {
                Ok(Received::Message(ToRuntime::Parked { key }, Some(descriptor))) => {
                    parked.insert(key, descriptor);
                }
                Ok(Received::Message(ToRuntime::AllParked, _)) => break,
                Ok(Received::Message(_, _)) => {}
                Ok(Received::Nothing) => {
                    let mut fds = [PollFd::new(parking.as_fd(), PollFlags::POLLIN)];
                    if poll(&mut fds, PollTimeout::from(HAND_OVER_MS)) == Ok(0) {
                        tracing::error!("the supervisor hands nothing over");
                        break;
                    }
                }
                Ok(Received::End) | Err(_) => self.parking = None,
            }
        }
        parked
    }

    fn adopt_container(&mut self, id: &str, parked: &mut BTreeMap<String, OwnedFd>) {
        let directory = self.run_dir.containers().join(id);
        let Ok(record) = Record::load(&directory) else {
            // Killed between making the directory and writing the record: nothing runs yet.
            let _gone = fs::remove_dir_all(&directory);
            return;
        };
        let output = self.run_dir.output().join(id);
        let ring = output
            .is_dir()
            .then(|| OutputRing::resume(output, record.stdio_budget_bytes).ok())
            .flatten();
        let state = record.state.clone();
        let ticks = record.start_ticks;
        let mut container = Container::new(record, directory, ring);
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(pipe) = parked.remove(&parking_key(id, stream)) {
                container.add_pipe(stream, pipe);
            }
        }
        container.input = parked.remove(&input_key(id));
        container.terminal = parked.remove(&terminal_key(id));
        container.end_output_without_pipes();
        match state {
            // Whoever asked for it is gone, or will learn from the list that it is not there.
            ContainerState::Creating => {
                self.containers.insert(id.to_owned(), container);
                self.deletions.push(Deletion::new(id, None, monotonic_ms()));
            }
            ContainerState::Exited(_) => drop(self.containers.insert(id.to_owned(), container)),
            ContainerState::Created { pid } | ContainerState::Running { pid } => {
                // One that has ended and was not reaped yet counts: its exit is on its way.
                let alive = process::start_ticks(pid) == Some(ticks);
                container.adopted = alive.then(|| pidfd::open(pid).ok()).flatten();
                let watched = container.adopted.is_some();
                self.containers.insert(id.to_owned(), container);
                if !watched {
                    let end = Ended::read(&self.run_dir.reaped(), pid, ticks);
                    self.container_ended(id, end);
                }
                tracing::info!(id, pid, alive, "container adopted");
            }
        }
    }
}
