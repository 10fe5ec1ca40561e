//! Logs, and the only place where chains of causes are printed.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};

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

/// Greets the person at the terminal. Where there is none, the log says the same in its own lines.
pub(crate) fn welcome(text: &str) {
    if io::stderr().is_terminal() {
        #[expect(clippy::print_stderr, reason = "it is for the person at the terminal alone")]
        {
            eprintln!("{text}");
        }
    }
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

/// An error with all its causes, on one line. A cause that the text before it has told already,
/// as those of other crates often do, is not told again.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum ReadError {
        #[error("could not read")]
        Silent(#[source] io::Error),
        #[error("could not read: {0}")]
        Talkative(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || io::Error::other("the cable is out");
        for error in [ReadError::Silent(cause()), ReadError::Talkative(cause())] {
            assert_eq!(Chain(&error).to_string(), "could not read: the cable is out");
        }
    }
}
