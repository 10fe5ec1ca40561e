//! What a user types: `bramble get`, `apply`, `logs`, `drain` and the like.
//!
//! A client of the API server like any other: it speaks HTTPS with what the kubeconfig says and
//! knows nothing of the master's inside. Flags are spelt, and output is laid out, as by kubectl.
//! Where to start reading: [`command`] for what can be typed, [`commands`] for what it does.
#![forbid(unsafe_code)]

mod age;
mod client;
mod clock;
mod command;
mod commands;
mod discovery;
mod error;
mod kubeconfig;
mod manifest;
mod object;
mod output;
mod selection;
mod session;
mod table;
mod yaml;

use std::io::{self, Write};
use std::process::ExitCode;

pub use command::ClientCommand;
pub use error::CliError;

/// Runs one command: results go to `out`, remarks about them to `err`.
///
/// # Errors
/// The command could not do its work. The error's text is one complete line (or paragraph) for
/// the user, beginning with `error: ` or `Error from server (Reason): `; print it as it is.
pub async fn run(
    command: ClientCommand,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, CliError> {
    let result = commands::run(command, out, err).await.and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        // As with `bramble get pods | head -1`: whoever reads has seen enough.
        Err(CliError::Write { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        other => other,
    }
}
