//! Logs, and the only place where chains of causes are printed.

use std::error::Error;
use std::fmt;
use std::io;

use tracing::Level;
use tracing_subscriber::FmtSubscriber;

/// Sends log lines up to `level` to standard error.
pub(crate) fn start(level: Level) {
    let subscriber = FmtSubscriber::builder()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    // A second start can only happen in tests, where the first subscriber is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Tells the person at the terminal why a command failed.
pub(crate) fn print_failure(error: &dyn Error) {
    #[expect(clippy::print_stderr, reason = "a failed command says so on standard error")]
    {
        eprintln!("error: {}", Chain(error));
    }
}

/// Prints the failure of a client command, whose text is complete as it is.
pub(crate) fn print_client_failure(error: &bramble_cli::CliError) {
    #[expect(clippy::print_stderr, reason = "a failed command says so on standard error")]
    {
        eprintln!("{error}");
    }
}

/// An error with all its causes, on one line.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
