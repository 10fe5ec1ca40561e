//! Programs that are run in containers beside their own: begun, watched, killed in time, reaped.
//!
//! How a process gets into a container is [`super::entry`]'s. A program's streams are either
//! drained here, up to a bound, or handed over to whoever asked; then nothing of them stays here,
//! and a reader who is slow holds up that program alone.
//!
//! ```text
//! asked -> child at work -> entered (pid is known) -> program runs -> ended, answered
//!              |  fails         |  fails                | time over, or nobody asks any more:
//!              +----------------+--> answered           +--> killed with its process group
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, fchown, pipe2};

use super::entry::{Entry, Streams, not_running};
use super::exits::Ended;
use super::operation::{Operation, read_pipe};
use super::requests::{Requester, UnderWay, facts_of, parse_spec};
use super::{Runtime, io_failure};
use crate::clock::monotonic_ms;
use crate::output::Stream;
use crate::protocol::{
    ContainerState, EXEC_OUTPUT_LEN_MAX, ExecContainer, ExecOutcome, ExecStreams, Failure,
    FailureReason, FrameDecoder, OpenExec, Response, ServerFrame,
};
use crate::sys::pass;
use crate::sys::terminal::TerminalSize;

/// Most programs at a time in all containers: each costs the node a process and a few descriptors.
const EXECS_MAX: usize = 160;
/// Most of them whose streams are in somebody's hands: they last as long as people like, and
/// probes must find room.
const SESSIONS_MAX: usize = 96;
/// Most programs at a time in one container.
const EXECS_PER_CONTAINER_MAX: usize = 48;
const _: () = assert!(EXECS_PER_CONTAINER_MAX < SESSIONS_MAX && SESSIONS_MAX < EXECS_MAX);

/// What is done with a program that an exec begins.
#[derive(Debug)]
pub(super) struct ExecPlan {
    deadline_ms: Option<u64>,
    /// Ends when the program begins.
    status: Option<File>,
    outputs: Outputs,
}

/// Where a program's streams go.
#[derive(Debug)]
enum Outputs {
    /// Kept for the answer, up to a length.
    Kept { pipes: Vec<(Stream, OwnedFd)>, stdout: Vec<u8>, stderr: Vec<u8>, len_max: usize },
    /// Handed over when the program begins.
    Given(Vec<OwnedFd>),
    /// A terminal's master arrives here, to be handed over.
    Terminal(OwnedFd),
    /// Handed over.
    Gone,
}

/// A process that has entered a container.
#[derive(Debug)]
pub(super) struct ExecUnderWay {
    pub(super) pid: i32,
    pub(super) ended: Option<Ended>,
    id: String,
    requester: Requester,
    plan: ExecPlan,
    timed_out: bool,
    killed: bool,
}

impl ExecPlan {
    fn is_session(&self) -> bool {
        !matches!(self.outputs, Outputs::Kept { .. })
    }

    /// Milliseconds until its time is over.
    fn timeout_ms(&self, now_ms: u64) -> Option<u64> {
        Some(self.deadline_ms?.saturating_sub(now_ms).max(1))
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline| now_ms >= deadline)
    }
}

impl ExecUnderWay {
    /// What to wait for.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes: &[(Stream, OwnedFd)] = match &self.plan.outputs {
            Outputs::Kept { pipes, .. } => pipes,
            Outputs::Given(_) | Outputs::Terminal(_) | Outputs::Gone => &[],
        };
        let status = self.plan.status.iter().map(|status| status.as_fd());
        pipes.iter().map(|(_, pipe)| pipe.as_fd()).chain(status)
    }

    fn drain(&mut self) {
        let Outputs::Kept { pipes, stdout, stderr, len_max } = &mut self.plan.outputs else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        let mut ended = Vec::new();
        for (stream, pipe) in pipes.iter() {
            let kept = match stream {
                Stream::Stdout => &mut *stdout,
                Stream::Stderr => &mut *stderr,
            };
            // A writer that never stops must not hold the others up.
            for _ in 0..16 {
                let Some(len) = read_pipe(pipe, &mut buffer) else { break };
                if len == 0 {
                    ended.push(*stream);
                    break;
                }
                let room = len_max.saturating_sub(kept.len());
                kept.extend_from_slice(buffer.get(..len.min(room)).unwrap_or_default());
            }
        }
        pipes.retain(|(stream, _)| !ended.contains(stream));
    }

    /// Whether the program has begun; `None` while that is not known.
    fn begun(&mut self) -> Option<Result<(), Failure>> {
        let mut text = [0; 4096];
        match self.plan.status.as_mut()?.read(&mut text) {
            Ok(0) => {
                self.plan.status = None;
                Some(Ok(()))
            }
            Ok(len) => {
                self.plan.status = None;
                let mut decoder = FrameDecoder::default();
                decoder.push(text.get(..len).unwrap_or_default());
                let broken = || Failure::new(FailureReason::Internal, "exec broke off");
                Some(Err(decoder.next::<Failure>().ok().flatten().unwrap_or_else(broken)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => {
                self.plan.status = None;
                Some(Err(io_failure("begin a program", &error)))
            }
        }
    }

    /// Kills the program and those of its process group, once. It is a child of this process, so
    /// its pid is its own until it is reaped.
    fn kill(&mut self) {
        if self.killed || self.ended.is_some() {
            return;
        }
        self.killed = true;
        let pid = Pid::from_raw(self.pid);
        if killpg(pid, Signal::SIGKILL) == Err(Errno::ESRCH) {
            // It has not come as far as leading a group.
            let _ended = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Runtime {
    /// Runs a program and keeps what it writes.
    pub(super) fn exec(&mut self, from: Requester, exec: &ExecContainer) -> Result<(), Failure> {
        let len_max = usize::try_from(exec.output_len_max.min(EXEC_OUTPUT_LEN_MAX)).unwrap_or(0);
        self.begin_exec(from, exec, |uid, gid| {
            let (stdout, stdout_write) = output_pipe(uid, gid)?;
            let (stderr, stderr_write) = output_pipe(uid, gid)?;
            for end in [&stdout, &stderr] {
                fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            }
            let pipes = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
            let streams = Streams::Pipes([None, Some(stdout_write), Some(stderr_write)]);
            let kept = Outputs::Kept { pipes, stdout: Vec::new(), stderr: Vec::new(), len_max };
            Ok((streams, kept))
        })
    }

    /// Runs a program whose streams are handed over.
    pub(super) fn open_exec(&mut self, from: Requester, open: &OpenExec) -> Result<(), Failure> {
        if self.plans().filter(|(_, plan)| plan.is_session()).count() >= SESSIONS_MAX {
            return Err(busy("too many programs with open streams run on this node"));
        }
        self.begin_exec(from, &open.exec, |uid, gid| match open.streams {
            ExecStreams::Pipes { stdin, stdout, stderr } => {
                let (mut ours, mut theirs) = (Vec::new(), [None, None, None]);
                for (slot, (wanted, input)) in
                    theirs.iter_mut().zip([(stdin, true), (stdout, false), (stderr, false)])
                {
                    if !wanted {
                        continue;
                    }
                    let (read, write) = output_pipe(uid, gid)?;
                    let (own, other) = if input { (write, read) } else { (read, write) };
                    ours.push(own);
                    *slot = Some(other);
                }
                Ok((Streams::Pipes(theirs), Outputs::Given(ours)))
            }
            ExecStreams::Terminal { columns, rows } => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let (ours, theirs) =
                    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
                let size = TerminalSize { columns, rows };
                Ok((Streams::Terminal { socket: theirs, size }, Outputs::Terminal(ours)))
            }
        })
    }

    /// All execs, with their containers: those on their way in and those that are in.
    fn plans(&self) -> impl Iterator<Item = (&str, &ExecPlan)> {
        let coming =
            self.under_way.iter().filter_map(|one| Some((one.id.as_str(), one.exec.as_ref()?)));
        coming.chain(self.execs.iter().map(|exec| (exec.id.as_str(), &exec.plan)))
    }

    fn begin_exec(
        &mut self,
        from: Requester,
        exec: &ExecContainer,
        open: impl FnOnce(u32, u32) -> io::Result<(Streams, Outputs)>,
    ) -> Result<(), Failure> {
        let container = self.container(&exec.id)?;
        let ContainerState::Running { pid } = container.record.state else {
            return Err(not_running(&exec.id));
        };
        let (start_ticks, directory) = (container.record.start_ticks, container.directory.clone());
        check_command(exec)?;
        if self.plans().count() >= EXECS_MAX {
            return Err(busy("too many programs are run in containers of this node"));
        }
        if self.plans().filter(|(id, _)| *id == exec.id).count() >= EXECS_PER_CONTAINER_MAX {
            return Err(busy("too many programs are run in this container"));
        }
        let begun = (|| {
            let spec = fs::read(directory.join("config.json"))?;
            let spec = parse_spec(&spec).map_err(io::Error::other)?;
            let (cgroup_path, uid, gid) = facts_of(&spec).map_err(io::Error::other)?;
            let (streams, outputs) = open(uid, gid)?;
            let (status, status_write) = pipe2(OFlag::O_CLOEXEC)?;
            fcntl(&status, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let entry = Entry {
                pid,
                start_ticks,
                cgroups: self.cgroups.clone(),
                cgroup_path,
                spec,
                exec: exec.clone(),
                streams,
                status: status_write,
            };
            Ok((Operation::exec(entry)?, outputs, File::from(status)))
        })();
        let (operation, outputs, status) = begun.map_err(|error| io_failure("exec", &error))?;
        let deadline_ms = (exec.timeout_ms > 0).then(|| monotonic_ms() + exec.timeout_ms);
        let plan = ExecPlan { deadline_ms, status: Some(status), outputs };
        let id = exec.id.clone();
        self.under_way.push(UnderWay { operation, requester: from, id, exec: Some(plan) });
        Ok(())
    }

    /// A process has entered the container, or could not.
    pub(super) fn exec_begun(
        &mut self,
        id: String,
        requester: Requester,
        plan: ExecPlan,
        outcome: Result<i32, Failure>,
    ) {
        match outcome {
            Ok(pid) => {
                let ended = self.held.remove(&pid);
                self.execs.push(ExecUnderWay {
                    pid,
                    ended,
                    id,
                    requester,
                    plan,
                    timed_out: false,
                    killed: false,
                });
            }
            Err(_) if plan.is_over(monotonic_ms()) => {
                self.respond(requester, Ok(Response::ExecDone(timed_out())));
            }
            Err(failure) => self.respond(requester, Err(failure)),
        }
    }

    pub(super) fn drain_exec(&mut self, pid: i32) {
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) {
            exec.drain();
        }
    }

    /// Milliseconds until an exec must be looked at without being woken.
    pub(super) fn exec_timeout_ms(&self, now_ms: u64) -> Option<u64> {
        let ended = self.execs.iter().any(|exec| exec.ended.is_some()).then_some(0);
        let running = self.execs.iter().filter(|exec| !exec.killed).map(|exec| &exec.plan);
        let coming = self.under_way.iter().filter_map(|one| one.exec.as_ref());
        running.chain(coming).filter_map(|plan| plan.timeout_ms(now_ms)).chain(ended).min()
    }

    /// Tells what has begun, kills execs whose time is over and answers those that have ended.
    pub(super) fn advance_execs(&mut self) {
        let now = monotonic_ms();
        for coming in &self.under_way {
            if coming.exec.as_ref().is_some_and(|plan| plan.is_over(now)) {
                // Its end is its outcome.
                let _ended = kill(Pid::from_raw(coming.operation.child), Signal::SIGKILL);
            }
        }
        for mut exec in std::mem::take(&mut self.execs) {
            match exec.begun() {
                Some(Ok(())) => self.hand_over(&mut exec),
                Some(Err(failure)) if exec.timed_out => drop(failure),
                Some(Err(failure)) => {
                    self.respond(exec.requester, Err(failure));
                    // Its process ends by itself, and is reaped as nobody's.
                    continue;
                }
                None => {}
            }
            if let Some(end) = exec.ended {
                // What is in the pipes was written before; who holds them open may go on alone.
                exec.drain();
                let (stdout, stderr) = match exec.plan.outputs {
                    Outputs::Kept { stdout, stderr, .. } => (stdout, stderr),
                    Outputs::Given(_) | Outputs::Terminal(_) | Outputs::Gone => Default::default(),
                };
                let exit_code = end.code;
                let outcome = ExecOutcome { exit_code, timed_out: exec.timed_out, stdout, stderr };
                self.respond(exec.requester, Ok(Response::ExecDone(outcome)));
                continue;
            }
            if exec.plan.is_over(now) {
                exec.timed_out = true;
                exec.kill();
            }
            self.execs.push(exec);
        }
    }

    /// Gives the streams of a program that has begun to whoever asked.
    fn hand_over(&mut self, exec: &mut ExecUnderWay) {
        let descriptors = match std::mem::replace(&mut exec.plan.outputs, Outputs::Gone) {
            Outputs::Given(descriptors) => descriptors,
            Outputs::Terminal(socket) => match pass::receive(socket.as_fd()) {
                Ok(Some((_, descriptors))) => descriptors,
                Ok(None) | Err(_) => Vec::new(),
            },
            kept @ (Outputs::Kept { .. } | Outputs::Gone) => {
                exec.plan.outputs = kept;
                return;
            }
        };
        if let Some(connection) = self.connections.get_mut(&exec.requester.connection) {
            let number = exec.requester.number;
            let frame = ServerFrame::Response { number, result: Ok(Response::Opened) };
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            connection.send_with(&frame, &borrowed);
        }
    }

    /// Kills what nobody waits for any more: whoever asked for it is gone. What is still on its
    /// way into a container is found here once it is in.
    pub(super) fn end_execs_of_nobody(&mut self) {
        let there = |requester: &Requester| self.connections.contains_key(&requester.connection);
        for exec in self.execs.iter_mut().filter(|exec| !there(&exec.requester)) {
            exec.kill();
        }
    }
}

fn check_command(exec: &ExecContainer) -> Result<(), Failure> {
    let invalid = |text: &str| Err(Failure::new(FailureReason::Invalid, text));
    if exec.args.first().is_none_or(String::is_empty) {
        return invalid("no command specified");
    }
    if exec.cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/')) {
        return invalid("the working directory must be an absolute path");
    }
    Ok(())
}

/// A pipe that belongs to the program's user, so that it may open `/dev/stdout` again: read end
/// and write end.
fn output_pipe(uid: u32, gid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fchown(&write, Some(uid.into()), Some(gid.into()))?;
    Ok((read, write))
}

fn busy(text: &str) -> Failure {
    Failure::new(FailureReason::Busy, text)
}

/// The outcome of what never came as far as its program.
fn timed_out() -> ExecOutcome {
    let exit_code = 128 + Signal::SIGKILL as i32;
    ExecOutcome { exit_code, timed_out: true, stdout: Vec::new(), stderr: Vec::new() }
}
