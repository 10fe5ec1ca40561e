//! `bramble image`: images of this board, kept by the agent beside the master.
//!
//! A master has no images of its own, so this becomes `bramble-agent image` with the same words.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Name of the agent's program.
const AGENT: &str = "bramble-agent";

/// The agent's program could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not run `{}`: images are kept by the agent, so install it on this machine \
     or run `bramble-agent image` on the board", program.display()
)]
pub(crate) struct RunAgentError {
    program: PathBuf,
    source: io::Error,
}

/// Becomes `bramble-agent image` with these arguments; returns only if that fails.
pub(crate) fn run(args: &[OsString]) -> RunAgentError {
    // The agent that was installed with this master goes before one in the path.
    let beside = env::current_exe().ok().map(|this| this.with_file_name(AGENT));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| AGENT.into());
    let source = Command::new(&program).arg("image").args(args).exec();
    RunAgentError { program, source }
}
