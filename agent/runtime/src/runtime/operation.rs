//! Calls libcontainer in a short-lived child process.
//!
//! libcontainer changes its caller (working directory, out-of-memory score, dumpable) and clones
//! it; in a child of its own, all that dies with the child, and creates run in parallel. The
//! container's init is a sibling of the child, so the runtime process reaps it.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::{Mode, umask};
use nix::unistd::pipe2;

use super::bundle::Bundle;
use super::creation;
use super::entry::Entry;
use super::executor::{ProgramExecutor, failure_in};
use crate::cgroup::Cgroups;
use crate::process::die_with_parent;
use crate::protocol::{Failure, FailureReason, FrameDecoder, OwnStreams, encode};
use crate::sys::{descriptors, fork, signals};

/// A child at work; ends with the pid of a container's process, or a failure.
#[derive(Debug)]
pub(super) struct Operation {
    /// Pid of the child.
    pub(super) child: i32,
    pipe: File,
    decoder: FrameDecoder,
}

/// Both ends of the pipes of a process: what it gets, and what is kept to read from.
#[derive(Debug)]
pub(super) struct Stdio {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// What is kept of a process' standard streams.
#[derive(Debug)]
pub(super) enum Kept {
    Pipes {
        /// Write end, if the process has an input.
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// The master of its terminal arrives here when its program is begun.
    Terminal(OwnedFd),
}

impl Stdio {
    /// Makes a process' standard streams; returns the other ends.
    ///
    /// The pipes belong to the process' user, so that it may open `/dev/stdout` again.
    pub(super) fn open(uid: u32, gid: u32, streams: OwnStreams) -> io::Result<(Self, Kept)> {
        let null = || -> io::Result<OwnedFd> {
            Ok(File::options().read(true).write(true).open("/dev/null")?.into())
        };
        if streams.terminal {
            let flags = SockFlag::SOCK_CLOEXEC;
            let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
            let stdio = Self { stdin: theirs, stdout: null()?, stderr: null()? };
            return Ok((stdio, Kept::Terminal(ours)));
        }
        let own = |end: &OwnedFd| nix::unistd::fchown(end, Some(uid.into()), Some(gid.into()));
        let (stdin, stdin_write) = if streams.stdin {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            own(&read)?;
            (read, Some(write))
        } else {
            (null()?, None)
        };
        let (stdout_read, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr_read, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        own(&stdout)?;
        own(&stderr)?;
        for end in [&stdout_read, &stderr_read] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let kept = Kept::Pipes { stdin: stdin_write, stdout: stdout_read, stderr: stderr_read };
        Ok((Self { stdin, stdout, stderr }, kept))
    }
}

impl Operation {
    /// Creates a container.
    pub(super) fn create(
        id: &str,
        libcontainer_root: &Path,
        directory: &Path,
        stdio: Stdio,
        bundle: Bundle,
        cgroups: &Cgroups,
    ) -> io::Result<Self> {
        let (id, root) = (id.to_owned(), libcontainer_root.to_owned());
        let (directory, cgroups) = (directory.to_owned(), cgroups.clone());
        Self::spawn(stdio, move |stdio| {
            creation::create(&bundle, &cgroups, || {
                let container = builder(id, root, stdio)?
                    .as_init(directory)
                    .with_systemd(false)
                    .as_sibling(true)
                    .with_detach(true)
                    .build()?;
                container.pid().map(nix_pid).ok_or(LibcontainerError::NoDirectory)
            })
        })
    }

    /// Enters a container and begins a program there; its pid is the outcome.
    pub(super) fn exec(entry: Entry) -> io::Result<Self> {
        let keep = entry.descriptors();
        Self::fork(keep, move || entry.enter())
    }

    fn spawn<E: Error>(
        stdio: Stdio,
        work: impl FnOnce(Stdio) -> Result<i32, E>,
    ) -> io::Result<Self> {
        let keep = [&stdio.stdin, &stdio.stdout, &stdio.stderr].map(|fd| fd.as_raw_fd()).to_vec();
        Self::fork(keep, move || work(stdio).map_err(|error| failure_in(&chain(&error))))
    }

    /// Forks the child; it keeps the descriptors in `keep` and no other.
    fn fork(mut keep: Vec<RawFd>, work: impl FnOnce() -> Result<i32, Failure>) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        keep.push(write.as_raw_fd());
        let child = fork::fork_child(|| {
            descriptors::close_all_but(&keep);
            signals::reset();
            // Containers inherit it, and folders that are made on the way follow it.
            umask(UMASK);
            // Its half-made container is removed by the next runtime process.
            let _kept = die_with_parent();
            let result = work();
            let frame = encode(&result).unwrap_or_default();
            i32::from(File::from(write).write_all(&frame).is_err())
        })?;
        Ok(Self { child: child.as_raw(), pipe: File::from(read), decoder: FrameDecoder::default() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Returns the outcome once it has arrived; a broken pipe is one, too.
    pub(super) fn outcome(&mut self) -> Option<Result<i32, Failure>> {
        let mut chunk = [0; 4096];
        loop {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return Some(Err(broken("it ended without a word"))),
                Ok(len) => self.decoder.push(chunk.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(broken(&error.to_string()))),
            }
            match self.decoder.next() {
                Ok(Some(result)) => return Some(result),
                Ok(None) => {}
                Err(error) => return Some(Err(broken(&error.to_string()))),
            }
        }
    }

    /// Returns the outcome after the child has ended, whatever it managed to say.
    pub(super) fn last_outcome(&mut self) -> Result<i32, Failure> {
        self.outcome().unwrap_or_else(|| Err(broken("it was killed")))
    }
}

/// What a program expects to start with, as with other runtimes.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

fn broken(what: &str) -> Failure {
    Failure::new(FailureReason::Internal, format!("the runtime's child process failed: {what}"))
}

fn builder(id: String, root: PathBuf, stdio: Stdio) -> Result<ContainerBuilder, LibcontainerError> {
    ContainerBuilder::new(id, SyscallType::default())
        .with_root_path(root)?
        .with_executor(ProgramExecutor)
        .with_stdin(stdio.stdin)
        .with_stdout(stdio.stdout)
        .with_stderr(stdio.stderr)
        .validate_id()
}

/// The pid is of the nix that libcontainer uses, which is not ours; it has only `Display`-like
/// accessors in common.
fn nix_pid(pid: impl Into<nix::libc::pid_t>) -> i32 {
    pid.into()
}

/// Joins an error and its causes, leaving out those that are repeated in the text above them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

/// Reads a pipe without waiting; `Ok(0)` at its end, `None` when nothing is there.
pub(super) fn read_pipe(pipe: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    match nix::unistd::read(pipe, buffer) {
        Ok(len) => Some(len),
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        // A broken pipe will never say more.
        Err(_) => Some(0),
    }
}
