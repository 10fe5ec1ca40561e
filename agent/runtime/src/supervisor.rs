//! The parent of all processes of a node.
//!
//! One thread: starts its children, restarts those that end with a growing pause, keeps what the
//! runtime process parked, and reaps. It knows what the runtime parks, and nothing else of
//! containers. Children run a sealed copy of this program in memory, so that no container can
//! change the file that its init was (CVE-2019-5736).

mod backoff;
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
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use self::backoff::Backoff;
use self::sealed::SealedProgram;
use crate::clock::{monotonic_ms, wall_us};
use crate::parking::{ParkingSocket, Received, ToRuntime, ToSupervisor};
use crate::process;
use crate::run_dir::RunDir;
use crate::runtime::ended;

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
}

/// One child of the supervisor: this program again, with other arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCommand {
    /// Short name for logs and `argv[0]`.
    pub name: String,
    /// Arguments after `argv[0]`.
    pub args: Vec<String>,
    /// Set for the runtime process: the number of its socket to the supervisor is appended to
    /// the arguments as `--supervisor-fd=N`.
    pub parks: bool,
    /// How the end of this child is taken.
    pub restart: Restart,
}

/// What happens when a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It is started again.
    Always,
    /// It is started again unless it ended with code 0; then the supervisor ends, too.
    EndsTogether,
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
    let failed = |what| move |source| SuperviseError::Io { what, source };
    let mut supervisor =
        Supervisor::open(config, children).map_err(failed("start the supervisor"))?;
    while !supervisor.stopping {
        supervisor.turn().map_err(failed("wait for children"))?;
    }
    supervisor.stop().map_err(failed("stop the children"))
}

struct Supervisor {
    config: SupervisorConfig,
    program: SealedProgram,
    children: Vec<Child>,
    signals: SignalFd,
    parked: BTreeMap<String, OwnedFd>,
    parking: Option<ParkingSocket>,
    stopping: bool,
}

struct Child {
    command: ChildCommand,
    state: ChildState,
    backoff: Backoff,
}

enum ChildState {
    Running { pid: i32, since_ms: u64 },
    Waiting { until_ms: u64 },
    Done,
}

/// How long children have to end by themselves, in milliseconds.
const STOP_MS: u64 = 5_000;

impl Supervisor {
    fn open(config: &SupervisorConfig, children: Vec<ChildCommand>) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
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
        let children = children
            .into_iter()
            .map(|command| Child {
                command,
                state: ChildState::Waiting { until_ms: 0 },
                backoff: Backoff::default(),
            })
            .collect();
        Ok(Self {
            config: config.clone(),
            program: SealedProgram::of_this_process()?,
            children,
            signals,
            parked: BTreeMap::new(),
            parking: None,
            stopping: false,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        self.start_due_children();
        let now = monotonic_ms();
        let timeout = self
            .children
            .iter()
            .filter_map(|child| match child.state {
                ChildState::Waiting { until_ms } => Some(until_ms.saturating_sub(now)),
                ChildState::Running { .. } | ChildState::Done => None,
            })
            .min();
        self.wait(timeout)?;
        self.keep_parked();
        self.handle_signals();
        self.reap();
        Ok(())
    }

    fn wait(&self, timeout_ms: Option<u64>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = [self.signals.as_fd()]
            .into_iter()
            .chain(self.parking.as_ref().map(ParkingSocket::as_fd))
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
        let mut program = Command::new(self.program.path());
        program.args(&command.args);
        if !command.parks {
            return spawn(program, &command.name);
        }
        let flags = SockFlag::SOCK_CLOEXEC;
        let (own, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        // Inherited by this one child only: there is no other thread that could start one.
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
        program.arg(format!("--supervisor-fd={}", theirs.as_raw_fd()));
        let pid = spawn(program, &command.name)?;
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
                self.stopping = true;
            }
        }
    }

    /// Reaps everything that has ended: own children, and what was left to us.
    fn reap(&mut self) {
        loop {
            // Looked at first and reaped after its exit is safe.
            let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let status = match waitid(Id::All, peek) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "could not reap");
                    return;
                }
            };
            let Some((pid, end)) = ended(status, wall_us()) else { return };
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
        let own = |child: &&mut Child| matches!(child.state, ChildState::Running { pid: running, .. } if running == pid);
        let Some(child) = self.children.iter_mut().find(own) else { return false };
        let ChildState::Running { since_ms, .. } = child.state else { return false };
        if child.command.restart == Restart::EndsTogether && code == 0 {
            child.state = ChildState::Done;
            self.stopping = true;
            return true;
        }
        let pause_ms = child.backoff.after_run(now.saturating_sub(since_ms));
        child.state = ChildState::Waiting { until_ms: now + pause_ms };
        let (name, parks) = (child.command.name.clone(), child.command.parks);
        tracing::warn!(%name, code, pause_ms, "ended, will be started again");
        if parks {
            self.keep_parked();
        }
        true
    }

    /// Stops the children in reverse order, and the containers if so configured.
    fn stop(mut self) -> io::Result<()> {
        tracing::info!(stop_pods = self.config.stop_pods, "stopping");
        for index in (0..self.children.len()).rev() {
            let Some(child) = self.children.get_mut(index) else { continue };
            let ChildState::Running { pid, .. } = child.state else { continue };
            child.state = ChildState::Done;
            self.stop_child(pid)?;
        }
        if self.config.stop_pods {
            self.stop_containers()?;
        }
        Ok(())
    }

    fn stop_child(&mut self, pid: i32) -> io::Result<()> {
        let _ended = kill(Pid::from_raw(pid), Signal::SIGTERM);
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

/// Starts a child with the signal state of a fresh program.
fn spawn(mut program: Command, name: &str) -> io::Result<i32> {
    use std::os::unix::process::CommandExt as _;
    program.arg0(format!("bramble-{name}")).stdin(std::process::Stdio::null());
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
