//! Who is attached to a container's own program: its output from now on, and its input.
//!
//! Output goes to the log in any case. Who is attached gets it, too, through a pipe of his own; when
//! that is full, the container is held up, as by any pipe, but not for long: who does not read is
//! cut off.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, write};

use super::Runtime;
use super::container::{input_key, parking_key, terminal_key};
use super::io_failure;
use super::requests::Requester;
use crate::clock::monotonic_ms;
use crate::output::Stream;
use crate::protocol::{
    Attach, ContainerState, ExecOutcome, Failure, FailureReason, Response, ServerFrame,
};
use crate::sys::pass;

/// Most who are attached to one container.
const ATTACHED_MAX: usize = 8;
/// How long who is attached may hold a container up, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// One who is attached.
#[derive(Debug)]
pub(super) struct Attached {
    requester: Requester,
    outputs: Vec<Output>,
    /// He has its input.
    has_input: bool,
    /// Since when he is behind, in milliseconds.
    behind_since_ms: Option<u64>,
}

#[derive(Debug)]
struct Output {
    stream: Stream,
    pipe: OwnedFd,
    /// What did not fit into the pipe: at most one read of the container's.
    unsent: Vec<u8>,
}

impl Attached {
    pub(super) fn is_behind(&self) -> bool {
        self.outputs.iter().any(|output| !output.unsent.is_empty())
    }

    /// Takes a piece of output.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8], now_ms: u64) {
        for output in self.outputs.iter_mut().filter(|output| output.stream == stream) {
            output.unsent.extend_from_slice(bytes);
        }
        // Whether he is still there is for the next look.
        self.flush(now_ms);
    }

    /// Passes on what waits; false once he is gone or was behind for too long.
    pub(super) fn flush(&mut self, now_ms: u64) -> bool {
        for output in &mut self.outputs {
            if output.flush().is_err() {
                return false;
            }
        }
        if !self.is_behind() {
            self.behind_since_ms = None;
            return true;
        }
        let since = *self.behind_since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since) < PATIENCE_MS
    }
}

impl Output {
    fn flush(&mut self) -> Result<(), Errno> {
        while !self.unsent.is_empty() {
            match write(&self.pipe, &self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Runtime {
    /// Attaches somebody to a running container.
    pub(super) fn attach(&mut self, from: Requester, attach: &Attach) -> Result<(), Failure> {
        let container = self.container(&attach.id)?;
        if !matches!(container.record.state, ContainerState::Running { .. }) {
            let text = format!("container `{}` is not running", attach.id);
            return Err(Failure::new(FailureReason::WrongState, text));
        }
        if container.attached.len() >= ATTACHED_MAX {
            let text = "too many are attached to this container";
            return Err(Failure::new(FailureReason::Busy, text));
        }
        let terminal = container.record.streams.terminal;
        let opened = || -> io::Result<(Vec<OwnedFd>, Vec<Output>)> {
            let mut given = Vec::new();
            let mut outputs = Vec::new();
            let input = if terminal { container.master() } else { container.input_fd() };
            // A terminal's master is given in any case: it has a size.
            if let Some(input) = input.filter(|_| attach.stdin || terminal) {
                given.push(input.try_clone_to_owned()?);
            } else if attach.stdin || terminal {
                given.push(nowhere()?);
            }
            for (stream, wanted) in
                [(Stream::Stdout, attach.stdout), (Stream::Stderr, attach.stderr && !terminal)]
            {
                if wanted {
                    let (read, pipe) = pipe2(OFlag::O_CLOEXEC)?;
                    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                    given.push(read);
                    outputs.push(Output { stream, pipe, unsent: Vec::new() });
                }
            }
            Ok((given, outputs))
        };
        let (given, outputs) = opened().map_err(|error| io_failure("attach", &error))?;
        let has_input = attach.stdin;
        container.attached.push(Attached {
            requester: from,
            outputs,
            has_input,
            behind_since_ms: None,
        });
        if let Some(connection) = self.connections.get_mut(&from.connection) {
            let frame = ServerFrame::Response { number: from.number, result: Ok(Response::Opened) };
            let borrowed: Vec<BorrowedFd<'_>> = given.iter().map(|fd| fd.as_fd()).collect();
            connection.send_with(&frame, &borrowed);
        }
        Ok(())
    }

    /// Ends a container's input if it ends with the first who was attached.
    pub(super) fn close_input(&mut self, id: &str) -> Result<Response, Failure> {
        let container = self.container(id)?;
        if container.record.streams.stdin_once && container.input.take().is_some() {
            self.unpark(&input_key(id));
        }
        Ok(Response::Updated)
    }

    /// The master of a container's terminal has arrived.
    pub(super) fn take_terminal(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(socket) = &container.terminal else { return };
        let master = match pass::receive(socket.as_fd()) {
            Ok(None) => return,
            Ok(Some((_, descriptors))) => descriptors.into_iter().next(),
            Err(_) => None,
        };
        container.terminal = None;
        if let Some(master) = master {
            let unblocked = fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR));
            if let Err(error) = unblocked {
                tracing::warn!(id, %error, "the terminal of a container is of no use");
                return;
            }
            self.park(&parking_key(id, Stream::Stdout), &master);
            if let Some(container) = self.containers.get_mut(id) {
                container.add_pipe(Stream::Stdout, master);
            }
        }
        self.unpark(&terminal_key(id));
    }

    /// The container's program has ended: who is attached is told once he has everything.
    pub(super) fn detach_all(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let attached = std::mem::take(&mut container.attached);
        self.parting.extend(attached);
    }

    /// Lets go of who is gone, and tells who has everything.
    pub(super) fn look_after_attached(&mut self) {
        let now_ms = monotonic_ms();
        let connections = &self.connections;
        let there = |one: &Attached| connections.contains_key(&one.requester.connection);
        let mut left = Vec::new();
        for (id, container) in &mut self.containers {
            let before = container.attached.len();
            let had_input = container.attached.iter().any(|one| one.has_input && !there(one));
            container.attached.retain(|one| there(one));
            if had_input && container.attached.len() < before && container.record.streams.stdin_once
            {
                left.push(id.clone());
            }
        }
        for id in left {
            // A container that is just going has no input, either.
            let _gone = self.close_input(&id);
        }
        let mut parting = std::mem::take(&mut self.parting);
        parting.retain(|one| self.connections.contains_key(&one.requester.connection));
        for mut one in parting {
            if one.flush(now_ms) && one.is_behind() {
                self.parting.push(one);
                continue;
            }
            let outcome = ExecOutcome {
                exit_code: 0,
                timed_out: false,
                stdout: Vec::new(),
                stderr: Vec::new(),
            };
            self.respond(one.requester, Ok(Response::ExecDone(outcome)));
        }
    }
}

/// Somewhere for input that nobody reads.
fn nowhere() -> io::Result<OwnedFd> {
    Ok(std::fs::File::options().write(true).open("/dev/null")?.into())
}
