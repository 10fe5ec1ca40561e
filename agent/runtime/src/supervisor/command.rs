//! What a child is started with.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::sys::fresh_program;

/// One child of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCommand {
    /// Short name for logs; names the child in calls to the supervisor.
    pub name: String,
    /// What is run.
    pub program: Program,
    /// Arguments after `argv[0]`.
    pub args: Vec<String>,
    /// The whole environment; `None` for this process's own.
    pub environment: Option<BTreeMap<String, String>>,
    /// What its standard streams are.
    pub streams: Streams,
    /// Set for the runtime process: the number of its socket to the supervisor is appended to
    /// the arguments as `--supervisor-fd=N`.
    pub parks: bool,
    /// How the end of this child is taken.
    pub restart: Restart,
}

/// What a child runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// This program, from a sealed copy in memory, so that no container can change the file that
    /// its init was (CVE-2019-5736). Its `argv[0]` is `bramble-NAME`.
    This,
    /// A file. One of this program's own must be on a file system that cannot be written.
    File(PathBuf),
}

/// What a child's standard streams are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Output as this process's; no input.
    Inherited,
    /// Output line by line to [`super::Supervisor::take_lines`]; no input.
    Collected,
    /// A terminal, which controls a session of the child's own.
    Terminal(PathBuf),
}

/// What happens when a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It is started again.
    Always,
    /// It is started again unless it ended with code 0; then the supervisor ends, too.
    EndsTogether,
}

impl ChildCommand {
    /// This program again with other arguments, always restarted.
    #[must_use]
    pub fn of_this_program(name: &str, args: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            program: Program::This,
            args,
            environment: None,
            streams: Streams::Inherited,
            parks: false,
            restart: Restart::Always,
        }
    }

    /// A program with its output collected, always restarted.
    #[must_use]
    pub fn of_file(name: &str, program: &str, args: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            program: Program::File(program.into()),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            environment: None,
            streams: Streams::Collected,
            parks: false,
            restart: Restart::Always,
        }
    }

    /// The process to start, and where its output can be read if it is collected. `sealed` is
    /// where [`Program::This`] is.
    pub(super) fn process(&self, sealed: Option<&Path>) -> io::Result<(Command, Option<OwnedFd>)> {
        let mut process = match &self.program {
            Program::This => {
                let mut process =
                    Command::new(sealed.ok_or_else(|| io::Error::other("no sealed copy"))?);
                process.arg0(format!("bramble-{}", self.name));
                process
            }
            Program::File(path) => Command::new(path),
        };
        process.args(&self.args);
        if let Some(environment) = &self.environment {
            process.env_clear().envs(environment);
        }
        let output = self.connect(&mut process)?;
        if self.program != Program::This {
            let terminal = matches!(self.streams, Streams::Terminal(_));
            fresh_program::prepare(&mut process, terminal);
        }
        Ok((process, output))
    }

    fn connect(&self, process: &mut Command) -> io::Result<Option<OwnedFd>> {
        process.stdin(Stdio::null());
        match &self.streams {
            Streams::Inherited => Ok(None),
            Streams::Collected => {
                let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
                process.stdout(theirs.try_clone()?).stderr(theirs);
                Ok(Some(ours))
            }
            Streams::Terminal(path) => {
                let terminal = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
                    .open(path)?;
                // Opened without waiting for a carrier; the shell wants to wait for input.
                nix::fcntl::fcntl(&terminal, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_RDWR))?;
                process.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
                Ok(None)
            }
        }
    }
}
