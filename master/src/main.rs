//! `bramble`: the master of a bramble, and its command line.
#![forbid(unsafe_code)]

mod access;
mod bootstrap;
mod cli;
mod clock;
mod config;
mod control;
mod custom;
mod durable;
mod durable_state;
mod flash;
mod heartbeat;
mod http;
mod image_command;
mod link;
mod node_port;
mod objects;
mod open_files;
mod pki;
mod pool;
mod random;
mod server;
mod telemetry;
mod token;
mod token_command;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use bramble_cli::ClientCommand;
use clap::Parser as _;
use cli::{Cli, Command};
use config::Config;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Client(command) => return client(command),
        Command::Server(flags) => {
            telemetry::start(flags.log_level.unwrap_or(tracing::Level::INFO));
            Config::load(&flags)
                .map_err(Box::<dyn Error>::from)
                .and_then(|config| server::run(&config).map_err(Box::from))
        }
        Command::Image { args } => Err(image_command::run(&args).into()),
        Command::Flash(args) => {
            wait(flash::run(&args)).map_err(Box::from).and_then(|result| result.map_err(Box::from))
        }
        Command::Token(args) => wait(token_command::run(&args))
            .map_err(Box::from)
            .and_then(|result| result.map_err(Box::from)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::print_failure(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that works on a cluster through its API server.
fn client(command: ClientCommand) -> ExitCode {
    let done = wait(bramble_cli::run(command, &mut io::stdout(), &mut io::stderr()));
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            telemetry::print_client_failure(&error);
            ExitCode::FAILURE
        }
        Err(error) => {
            telemetry::print_failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs something short on this thread.
fn wait<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work))
}
