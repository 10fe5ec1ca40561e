//! The parent of all processes of a node.
//!
//! One thread: starts its children, restarts those that end with a growing pause, keeps what the
//! runtime process parked, and reaps. It knows what the runtime parks, and nothing else of
//! containers. [`supervise`] is all that a node on somebody's system needs; the first process of a
//! board turns a [`Supervisor`] itself and does its own work between the turns.

mod backoff;
mod command;
mod output;
mod sealed;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use self::backoff::Backoff;
pub use self::command::{ChildCommand, Program, Restart, Streams};
pub use self::output::Line;
use self::output::Output;
use self::sealed::SealedProgram;
use crate::clock::monotonic_ms;
use crate::parking::{ParkingSocket, ReapedExit, Received, ToRuntime, ToSupervisor};
use crate::process;
use crate::run_dir::RunDir;
use crate::sys::wait_any::ended_child;

/// Configuration of the supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorConfig {
    /// The run directory.
    pub run_dir: RunDir,
    /// Kills all containers on SIGTERM; otherwise they keep running without supervision until
    /// the next start.
    pub stop_pods: bool,
    /// The cgroup beneath which all containers are, for `stop_pods`, such as `/bramble`.
    pub cgroup_root: String,
    /// Keeps the children from being the kernel's choice when memory runs out.
    pub protect_from_oom: bool,
    /// This is the first process of a board: SIGUSR2 asks it to switch the board off.
    pub first_process: bool,
}

/// What a signal asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM, SIGINT, or the end of a child that ends together with this process.
    End,
    /// SIGUSR2.
    PowerOff,
}

/// Why the supervisor ended.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// Something that it cannot work without failed.
    #[error("could not {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Starts the children in order and keeps them running until SIGTERM or SIGINT, then stops them
/// in reverse order.
///
/// # Errors
/// When this program cannot be copied, or signals are not to be had.
pub fn supervise(
    config: &SupervisorConfig,
    children: Vec<ChildCommand>,
) -> Result<(), SuperviseError> {
    let mut supervisor = Supervisor::open(config)?;
    for command in children {
        supervisor.put(command);
    }
    while supervisor.stopping().is_none() {
        supervisor.turn(None)?;
    }
    supervisor.stop()
}

/// Children and what they need. Nothing happens but in [`Supervisor::turn`].
#[derive(Debug)]
pub struct Supervisor {
    config: SupervisorConfig,
    /// Made when the first child needs it: it is as large as this program.
    program: Option<SealedProgram>,
    children: Vec<Child>,
    outputs: Vec<Output>,
    lines: Vec<Line>,
    signals: SignalFd,
    parked: BTreeMap<String, OwnedFd>,
    parking: Option<ParkingSocket>,
    stopping: Option<StopReason>,
}

#[derive(Debug)]
struct Child {
    command: ChildCommand,
    state: ChildState,
    backoff: Backoff,
}

#[derive(Debug)]
enum ChildState {
    Running {
        pid: i32,
        since_ms: u64,
    },
    Waiting {
        until_ms: u64,
    },
    /// Told to end, and not to be started again.
    Leaving {
        pid: i32,
    },
    Done,
}

/// How long children have to end by themselves, in milliseconds.
const STOP_MS: u64 = 5_000;

impl Supervisor {
    /// Takes over signals and the care for orphans. No thread may exist in this process.
    ///
    /// # Errors
    /// When signals are not to be had, or the run directory cannot be made.
    pub fn open(config: &SupervisorConfig) -> Result<Self, SuperviseError> {
        Self::take_over(config).map_err(failed("start the supervisor"))
    }

    fn take_over(config: &SupervisorConfig) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
        }
        if config.first_process {
            mask.add(Signal::SIGUSR2);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // Containers whose runtime process dies become our children, so that their end is seen.
        nix::sys::prctl::set_child_subreaper(true)?;
        config.run_dir.create()?;
        if config.protect_from_oom {
            // Containers get their own value; only a container may be the choice.
            match fs::write("/proc/self/oom_score_adj", "-997") {
                Ok(()) => {}
                // Root of a container or a virtual machine may lack this one capability, and
                // nothing can be done about it from here.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!(
                        "not protected when memory runs out: CAP_SYS_RESOURCE is missing"
                    );
                }
                Err(error) => tracing::warn!(%error, "not protected when memory runs out"),
            }
        }
        Ok(Self {
            config: config.clone(),
            program: None,
            children: Vec::new(),
            outputs: Vec::new(),
            lines: Vec::new(),
            signals,
            parked: BTreeMap::new(),
            parking: None,
            stopping: None,
        })
    }

    /// Starts a child in the next turn. One of the same name is told to end if its command is
    /// another, and then started with the new one.
    pub fn put(&mut self, command: ChildCommand) {
        let same = |child: &&mut Child| child.command.name == command.name;
        let Some(child) = self.children.iter_mut().find(same) else {
            self.children.push(Child {
                command,
                state: ChildState::Waiting { until_ms: 0 },
                backoff: Backoff::default(),
            });
            return;
        };
        let changed = child.command != command;
        child.command = command;
        match child.state {
            ChildState::Running { pid, .. } if changed => terminate(pid),
            ChildState::Leaving { pid } => {
                child.state = ChildState::Running { pid, since_ms: monotonic_ms() };
            }
            ChildState::Done => child.state = ChildState::Waiting { until_ms: 0 },
            ChildState::Running { .. } | ChildState::Waiting { .. } => {}
        }
    }

    /// Tells a child to end and starts it again.
    pub fn restart(&mut self, name: &str) {
        let child = self.children.iter().find(|child| child.command.name == name);
        if let Some(Child { state: ChildState::Running { pid, .. }, .. }) = child {
            terminate(*pid);
        }
    }

    /// Tells a child to end for good.
    pub fn remove(&mut self, name: &str) {
        let child = self.children.iter_mut().find(|child| child.command.name == name);
        let Some(child) = child else { return };
        child.state = match child.state {
            ChildState::Running { pid, .. } | ChildState::Leaving { pid } => {
                terminate(pid);
                ChildState::Leaving { pid }
            }
            ChildState::Waiting { .. } | ChildState::Done => ChildState::Done,
        };
    }

    /// What asked this process to stop, if anything did.
    #[must_use]
    pub fn stopping(&self) -> Option<StopReason> {
        self.stopping
    }

    /// Takes the lines that children with [`Streams::Collected`] have written since the last
    /// call.
    #[must_use]
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// Starts what is due, waits for something to happen, at most this many milliseconds, and
    /// deals with it.
    ///
    /// # Errors
    /// When waiting is not possible.
    pub fn turn(&mut self, at_most_ms: Option<u64>) -> Result<(), SuperviseError> {
        self.start_due_children();
        let now = monotonic_ms();
        let timeout = self
            .children
            .iter()
            .filter_map(|child| match child.state {
                ChildState::Waiting { until_ms } => Some(until_ms.saturating_sub(now)),
                ChildState::Running { .. } | ChildState::Leaving { .. } | ChildState::Done => None,
            })
            .chain(at_most_ms)
            .min();
        self.wait(timeout).map_err(failed("wait for children"))?;
        self.collect();
        self.keep_parked();
        self.handle_signals();
        self.reap();
        Ok(())
    }

    fn wait(&self, timeout_ms: Option<u64>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = [self.signals.as_fd()]
            .into_iter()
            .chain(self.parking.as_ref().map(ParkingSocket::as_fd))
            .chain(self.outputs.iter().map(Output::as_fd))
            .collect();
        let mut fds: Vec<PollFd<'_>> =
            descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = timeout_ms.map_or(PollTimeout::NONE, |ms| {
            PollTimeout::from(u16::try_from(ms.max(1)).unwrap_or(u16::MAX))
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what children have written.
    fn collect(&mut self) {
        let lines = &mut self.lines;
        self.outputs.retain_mut(|output| output.take(lines));
    }

    fn start_due_children(&mut self) {
        let now = monotonic_ms();
        for index in 0..self.children.len() {
            let Some(child) = self.children.get(index) else { continue };
            let ChildState::Waiting { until_ms } = child.state else { continue };
            if now < until_ms {
                continue;
            }
            let command = child.command.clone();
            let started = self.start(&command);
            let Some(child) = self.children.get_mut(index) else { continue };
            child.state = match started {
                Ok(pid) => {
                    tracing::info!(name = %command.name, pid, "started");
                    ChildState::Running { pid, since_ms: now }
                }
                Err(error) => {
                    tracing::error!(name = %command.name, %error, "not started");
                    ChildState::Waiting { until_ms: now + child.backoff.after_run(0) }
                }
            };
        }
    }

    fn start(&mut self, command: &ChildCommand) -> io::Result<i32> {
        if self.program.is_none() && command.program == Program::This {
            self.program = Some(SealedProgram::of_this_process()?);
        }
        let sealed = self.program.as_ref().map(SealedProgram::path);
        let (mut program, output) = command.process(sealed.as_deref())?;
        if let Some(output) = output {
            self.outputs.push(Output::new(&command.name, output)?);
        }
        if !command.parks {
            return spawn(program);
        }
        let flags = SockFlag::SOCK_CLOEXEC;
        let (own, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        // Inherited by this one child only: there is no other thread that could start one.
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
        program.arg(format!("--supervisor-fd={}", theirs.as_raw_fd()));
        let pid = spawn(program)?;
        drop(theirs);
        // The queue of a socket is short, so the socket grows with what is parked.
        let parking = ParkingSocket::new(own);
        for (key, descriptor) in &self.parked {
            hand_over(&parking, ToRuntime::Parked { key: key.clone() }, Some(descriptor.as_fd()))?;
        }
        hand_over(&parking, ToRuntime::AllParked, None)?;
        self.parking = Some(parking);
        Ok(pid)
    }

    /// Takes what the runtime process parks.
    fn keep_parked(&mut self) {
        while let Some(parking) = &self.parking {
            match parking.receive::<ToSupervisor>() {
                Ok(Received::Message(ToSupervisor::Park { key }, Some(descriptor))) => {
                    self.parked.insert(key, descriptor);
                }
                Ok(Received::Message(ToSupervisor::Unpark { key }, _)) => {
                    self.parked.remove(&key);
                }
                Ok(Received::Message(ToSupervisor::Park { .. }, None)) => {}
                Ok(Received::Nothing) => return,
                // All that it sent before its end has been taken.
                Ok(Received::End) => self.parking = None,
                Err(error) => {
                    tracing::warn!(%error, "runtime process cut off");
                    self.parking = None;
                }
            }
        }
    }

    fn handle_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number == Signal::SIGTERM as i32 || number == Signal::SIGINT as i32 {
                self.stopping = Some(StopReason::End);
            } else if number == Signal::SIGUSR2 as i32 {
                self.stopping = Some(StopReason::PowerOff);
            }
        }
    }

    /// Reaps everything that has ended: own children, and what was left to us.
    fn reap(&mut self) {
        loop {
            // Looked at first and reaped after its exit is safe.
            let end = match ended_child(false) {
                Ok(None) => return,
                Ok(Some(end)) => end,
                Err(error) => {
                    tracing::error!(%error, "could not reap");
                    return;
                }
            };
            let (pid, end) = (end.pid, ReapedExit::now(end));
            if self.child_ended(pid, end.code) {
                let _reaped = waitpid(Pid::from_raw(pid), None);
                continue;
            }
            let ticks = process::start_ticks(pid).unwrap_or(0);
            if let Err(error) = end.write(&self.config.run_dir.reaped(), pid, ticks) {
                tracing::error!(%error, pid, "exit not kept");
            }
            let _reaped = waitpid(Pid::from_raw(pid), None);
            if let Some(parking) = &self.parking {
                // A runtime process that does not read finds the file when it starts.
                let _unheard = parking.send(&ToRuntime::Reaped, None);
            }
        }
    }

    fn child_ended(&mut self, pid: i32, code: i32) -> bool {
        let now = monotonic_ms();
        let own = |child: &&mut Child| match child.state {
            ChildState::Running { pid: own, .. } | ChildState::Leaving { pid: own } => own == pid,
            ChildState::Waiting { .. } | ChildState::Done => false,
        };
        let Some(child) = self.children.iter_mut().find(own) else { return false };
        let ChildState::Running { since_ms, .. } = child.state else {
            child.state = ChildState::Done;
            return true;
        };
        if child.command.restart == Restart::EndsTogether && code == 0 {
            child.state = ChildState::Done;
            self.stopping = Some(StopReason::End);
            return true;
        }
        let pause_ms = child.backoff.after_run(now.saturating_sub(since_ms));
        child.state = ChildState::Waiting { until_ms: now + pause_ms };
        let (name, parks) = (child.command.name.clone(), child.command.parks);
        if matches!(child.command.streams, Streams::Terminal(_)) {
            // A person has left the shell.
            tracing::debug!(%name, code, pause_ms, "ended, will be started again");
        } else {
            tracing::warn!(%name, code, pause_ms, "ended, will be started again");
        }
        if parks {
            self.keep_parked();
        }
        true
    }

    /// Stops the children in reverse order, and the containers if so configured.
    ///
    /// # Errors
    /// When waiting is not possible.
    pub fn stop(mut self) -> Result<(), SuperviseError> {
        self.stop_all().map_err(failed("stop the children"))
    }

    fn stop_all(&mut self) -> io::Result<()> {
        tracing::info!(stop_pods = self.config.stop_pods, "stopping");
        for index in (0..self.children.len()).rev() {
            let Some(child) = self.children.get_mut(index) else { continue };
            let (ChildState::Running { pid, .. } | ChildState::Leaving { pid }) = child.state
            else {
                continue;
            };
            child.state = ChildState::Done;
            // A shell that waits for a person ignores SIGTERM.
            let shell = matches!(child.command.streams, Streams::Terminal(_));
            self.stop_child(pid, if shell { Signal::SIGKILL } else { Signal::SIGTERM })?;
        }
        if self.config.stop_pods {
            self.stop_containers()?;
        }
        Ok(())
    }

    fn stop_child(&mut self, pid: i32, signal: Signal) -> io::Result<()> {
        let _ended = kill(Pid::from_raw(pid), signal);
        let deadline = monotonic_ms() + STOP_MS;
        loop {
            match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
            if monotonic_ms() >= deadline {
                tracing::warn!(pid, "does not end, killed");
                let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            self.wait(Some(20))?;
            while let Ok(Some(_)) = self.signals.read_signal() {}
            self.collect();
            self.keep_parked();
        }
    }

    fn stop_containers(&mut self) -> io::Result<()> {
        let cgroups = crate::cgroup::Cgroups::detect()?;
        let deadline = monotonic_ms() + STOP_MS;
        while cgroups.kill_all(&self.config.cgroup_root) > 0 && monotonic_ms() < deadline {
            self.wait(Some(20))?;
            while let Ok(Some(_)) = self.signals.read_signal() {}
            self.reap();
        }
        Ok(())
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> SuperviseError {
    move |source| SuperviseError::Io { what, source }
}

/// Asks a child to end.
fn terminate(pid: i32) {
    let _ended = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

fn spawn(mut program: Command) -> io::Result<i32> {
    let child = program.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// Sends one message and waits for room in the queue if there is none: the child reads.
fn hand_over(
    parking: &ParkingSocket,
    message: ToRuntime,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    loop {
        match parking.send(&message, descriptor) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(parking.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::from(2_000_u16)) {
                    Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            other => return other,
        }
    }
}
