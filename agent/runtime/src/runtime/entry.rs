//! Enters a running container and becomes one more program of it.
//!
//! libcontainer can do this, too, but forgets the container's user, resource limits and system-call
//! filter on the way, and leaves a socket behind each time.
//!
//! ```text
//! runtime process --fork--> child: cgroup, namespaces --sibling--> in the PID namespace:
//!                                                 session, streams, limits, user, capabilities,
//!                                                 filter, program
//! ```
//!
//! From the moment when the child is in the container, processes there see it. So it holds no
//! descriptor of the node but its streams and a pipe, nobody may trace it, and its own program is
//! sealed (`supervisor::sealed`).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::Syscall;
use libcontainer::syscall::syscall::create_syscall;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{self, Gid, Uid, execve};
use oci_spec::runtime::{PosixRlimitType, Process, Spec};

use super::executor::{self, failure_in};
use super::user_home::user_home;
use crate::cgroup::Cgroups;
use crate::process;
use crate::protocol::{ExecContainer, Failure, FailureReason, encode};
use crate::sys::terminal::{self, TerminalSize};
use crate::sys::{descriptors, pass, pidfd, sibling};

/// Everything that the way into a container needs.
#[derive(Debug)]
pub(super) struct Entry {
    /// The container's init.
    pub(super) pid: i32,
    /// Its start time, which makes its pid unique.
    pub(super) start_ticks: u64,
    pub(super) cgroups: Cgroups,
    pub(super) cgroup_path: String,
    /// The container's runtime spec.
    pub(super) spec: Spec,
    pub(super) exec: ExecContainer,
    pub(super) streams: Streams,
    /// Ends when the program begins; before that, an encoded [`Failure`] may come.
    pub(super) status: OwnedFd,
}

/// What the program's standard streams become.
#[derive(Debug)]
pub(super) enum Streams {
    /// These; the container's `/dev/null` in place of those that are missing.
    Pipes([Option<OwnedFd>; 3]),
    /// A new terminal of the container's, whose master is sent through this socket.
    Terminal { socket: OwnedFd, size: TerminalSize },
}

impl Entry {
    /// The descriptors that the child needs.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut found = vec![self.status.as_raw_fd()];
        match &self.streams {
            Streams::Pipes(pipes) => {
                found.extend(pipes.iter().flatten().map(|pipe| pipe.as_raw_fd()));
            }
            Streams::Terminal { socket, .. } => found.push(socket.as_raw_fd()),
        }
        found
    }

    /// Enters the container and starts a process there; returns its pid.
    pub(super) fn enter(self) -> Result<i32, Failure> {
        // Whatever the memory of this process still holds is nothing for the container.
        prctl::set_dumpable(false).map_err(internal("close its memory"))?;
        let process = self.spec.process().clone().unwrap_or_default();
        if let Some(adjustment) = process.oom_score_adj() {
            fs::write("/proc/self/oom_score_adj", adjustment.to_string())
                .map_err(|error| failure("set the out-of-memory score", &error))?;
        }
        let init = self.open_init()?;
        let flags = self.namespaces();
        self.join_cgroup().map_err(|error| failure("join the container's cgroup", &error))?;
        match setns(&init, flags) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Err(not_running(&self.exec.id)),
            Err(error) => return Err(internal("enter the container's namespaces")(error)),
        }
        drop(init);
        sibling::fork_sibling(|| self.begin(&process)).map_err(|error| match error.raw_os_error() {
            // What a PID namespace without an init says.
            Some(nix::libc::ENOMEM | nix::libc::EINVAL) => not_running(&self.exec.id),
            _ => failure("start a process in the container", &error),
        })
    }

    fn open_init(&self) -> Result<OwnedFd, Failure> {
        let gone = || not_running(&self.exec.id);
        let init = pidfd::open(self.pid).map_err(|_| gone())?;
        // The descriptor is of whoever has the pid now; only then does the start time say who.
        if process::runs(self.pid, self.start_ticks) { Ok(init) } else { Err(gone()) }
    }

    fn namespaces(&self) -> CloneFlags {
        let mut flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        flags.set(CloneFlags::CLONE_NEWCGROUP, self.cgroups.namespaces());
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
        // Entering one's own user namespace is refused.
        flags.set(CloneFlags::CLONE_NEWUSER, of("self") != of(&self.pid.to_string()));
        flags
    }

    fn join_cgroup(&self) -> io::Result<()> {
        match self.cgroups.join(&self.cgroup_path) {
            // A privileged container may have moved its own processes one below, after which its
            // cgroup takes none any more.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let below = Cgroups::unified_path_of(self.pid).unwrap_or_default();
                let own = format!("{}/", self.cgroup_path);
                let found = below.find(&own).and_then(|at| below.get(at..));
                self.cgroups.join(found.ok_or(error)?)
            }
            other => other,
        }
    }

    /// Becomes the program; returns only when that failed.
    fn begin(&self, process: &Process) -> i32 {
        // Its standard error is the program's from here on.
        let silent = tracing::subscriber::NoSubscriber::default();
        let Err(failure) =
            tracing::subscriber::with_default(silent, || self.become_program(process));
        if let Ok(status) = self.status.try_clone() {
            let frame = encode(&failure).unwrap_or_default();
            let _unheard = File::from(status).write_all(&frame);
        }
        1
    }

    fn become_program(&self, process: &Process) -> Result<std::convert::Infallible, Failure> {
        unistd::setsid().map_err(internal("begin a session"))?;
        self.take_streams(process.user().uid())
            .map_err(|error| failure("open its standard streams", &error))?;
        descriptors::close_all_but(&[self.status.as_raw_fd()]);
        for limit in process.rlimits().iter().flatten() {
            setrlimit(resource(limit.typ()), limit.soft(), limit.hard())
                .map_err(internal("set a resource limit"))?;
        }
        let cwd = self.exec.cwd.clone().map_or_else(|| process.cwd().clone(), Into::into);
        // With root's rights first, so that a folder of somebody else's will do.
        let entered = unistd::chdir(&cwd);
        let syscall = create_syscall();
        self.drop_rights(process, syscall.as_ref())?;
        if entered.is_err() {
            unistd::chdir(&cwd).map_err(|error| {
                let text = format!("chdir to cwd (\"{}\"): {}", cwd.display(), words(error));
                Failure::new(FailureReason::CommandNotExecutable, text)
            })?;
        }
        let env = self.environment(process);
        let args = &self.exec.args;
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let program = executor::find(args, path).map_err(|text| failure_in(&text))?;
        let file = c_string(program.as_os_str().as_bytes())?;
        let args =
            args.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let env = env.iter().map(|one| c_string(one.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        execve(&file, &args, &env).map_err(|error| {
            let text = format!("exec {}: {}", program.display(), words(error));
            Failure::new(FailureReason::CommandNotExecutable, text)
        })
    }

    fn take_streams(&self, uid: u32) -> io::Result<()> {
        match &self.streams {
            Streams::Pipes([stdin, stdout, stderr]) => {
                let null = match (stdin, stdout, stderr) {
                    (Some(_), Some(_), Some(_)) => None,
                    _ => Some(terminal::open_null()?),
                };
                if let Some(stream) = stdin.as_ref().or(null.as_ref()) {
                    unistd::dup2_stdin(stream)?;
                }
                if let Some(stream) = stdout.as_ref().or(null.as_ref()) {
                    unistd::dup2_stdout(stream)?;
                }
                if let Some(stream) = stderr.as_ref().or(null.as_ref()) {
                    unistd::dup2_stderr(stream)?;
                }
            }
            Streams::Terminal { socket, size } => {
                let (master, slave) = terminal::open()?;
                unistd::fchown(&slave, Some(Uid::from_raw(uid)), None)?;
                terminal::resize(&master, *size)?;
                pass::send(socket.as_fd(), b"t", &[master.as_fd()])?;
                unistd::dup2_stdin(&slave)?;
                unistd::dup2_stdout(&slave)?;
                unistd::dup2_stderr(&slave)?;
                terminal::control_by_stdin()?;
            }
        }
        Ok(())
    }

    /// Takes the container's user, capabilities and filter, in the order in which each still has
    /// the right to the next.
    fn drop_rights(&self, process: &Process, syscall: &dyn Syscall) -> Result<(), Failure> {
        let user = process.user();
        let groups: Vec<Gid> =
            user.additional_gids().iter().flatten().map(|&gid| Gid::from_raw(gid)).collect();
        unistd::setgroups(&groups).map_err(internal("set groups"))?;
        prctl::set_keepcaps(true).map_err(internal("keep capabilities"))?;
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        unistd::setresgid(gid, gid, gid).map_err(internal("set the group"))?;
        unistd::setresuid(uid, uid, uid).map_err(internal("set the user"))?;
        prctl::set_keepcaps(false).map_err(internal("drop capabilities"))?;
        reset_effective(syscall).map_err(|error| failed("regain capabilities", &error))?;
        let closed = process.no_new_privileges() == Some(true);
        if closed {
            prctl::set_no_new_privs().map_err(internal("give up new privileges"))?;
        }
        let filter = self.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let load = || match filter {
            Some(filter) => initialize_seccomp(filter)
                .map(drop)
                .map_err(|error| failed("load the system-call filter", &error)),
            None => Ok(()),
        };
        if !closed {
            // Without that promise a filter is a privileged matter.
            load()?;
        }
        if let Some(capabilities) = process.capabilities() {
            drop_privileges(capabilities, syscall)
                .map_err(|error| failed("drop capabilities", &error))?;
        }
        if closed { load() } else { Ok(()) }
    }

    /// The container's variables with those of the request in their places.
    fn environment(&self, process: &Process) -> Vec<String> {
        let mut env = process.env().clone().unwrap_or_default();
        let mut set = |name: &str, value: &str, replace: bool| {
            let start = format!("{name}=");
            match env.iter_mut().find(|entry| entry.starts_with(&start)) {
                Some(entry) if replace || entry.len() == start.len() => {
                    *entry = format!("{start}{value}");
                }
                Some(_) => {}
                None => env.push(format!("{start}{value}")),
            }
        };
        for (name, value) in &self.exec.env {
            set(name, value, true);
        }
        if let Streams::Terminal { .. } = self.streams {
            set("TERM", "xterm", false);
        }
        set("HOME", &user_home(process.user().uid()), false);
        env
    }
}

/// The answer for a container without a running init.
pub(super) fn not_running(id: &str) -> Failure {
    Failure::new(FailureReason::WrongState, format!("container `{id}` is not running"))
}

fn failure(what: &str, error: &io::Error) -> Failure {
    failed(what, error)
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureReason::Internal, format!("could not {what}: {error}"))
}

fn internal(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |error| failed(what, &error)
}

fn words(error: Errno) -> &'static str {
    executor::words(error)
}

fn c_string(text: &[u8]) -> Result<CString, Failure> {
    let nul = |_| Failure::new(FailureReason::Invalid, "an argument holds a NUL byte");
    CString::new(text).map_err(nul)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}
