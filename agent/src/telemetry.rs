//! Logs of the agent, and the only place where chains of causes are printed.

use std::error::Error;
use std::io;

use bramble_init::messages::MessageWriter;
pub(crate) use bramble_runtime::error_chain::Chain;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;

/// Sends log lines up to `level` to standard error.
pub(crate) fn start(level: Level) {
    // Libraries tell of every step; only what they call an error is one for an operator.
    let targets = ["libcontainer", "libcgroups", "yamux", "rustls", "hyper", "oci_client"]
        .into_iter()
        .fold(Targets::new().with_default(level), |targets, library| {
            targets.with_target(library, Level::ERROR)
        });
    let lines = layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    // A second start can only happen in tests, where the first subscriber is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Sends warnings to a board's console: the first process has no standard error that anybody reads.
pub(crate) fn start_on_board() {
    let lines = layer().with_writer(|| MessageWriter).with_ansi(false).with_target(false);
    let warnings = Targets::new().with_default(Level::WARN);
    let subscriber = tracing_subscriber::registry().with(warnings).with(lines.without_time());
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Tells the person at the terminal why a command failed.
pub(crate) fn print_failure(error: &dyn Error) {
    #[expect(clippy::print_stderr, reason = "a failed command says so on standard error")]
    {
        eprintln!("error: {}", Chain(error));
    }
}
