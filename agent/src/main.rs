//! `bramble-agent`: runs the pods of one board.
//!
//! Where to start reading: [`cli`] for what can be typed, [`node`] for how the agent's parts are
//! put together, [`pod_manager`] for how pods are run. What is decided is in
//! `bramble-agent-core`; this crate does it.
#![forbid(unsafe_code)]

mod boot_report;
mod cgroups;
mod cli;
mod clock;
mod config;
mod container_id;
mod control;
mod dns;
mod executor;
mod facts;
mod fence_link;
mod foreign_file;
mod heartbeat;
mod identity;
mod image_care;
mod interfaces;
mod join;
mod join_patiently;
mod join_token;
mod leave;
mod link_client;
mod log_budgets;
mod logs;
mod mdns;
mod memory;
mod network;
mod node;
mod outbox;
mod pages;
mod pod_manager;
mod pod_memory;
mod pod_sandbox;
mod probes;
mod progress;
mod random;
mod readiness;
mod records;
mod remove_folder;
mod resolv_conf;
mod runtime_link;
mod self_check;
mod server_address;
mod shared_tls;
mod streams;
mod systemd;
mod telemetry;
mod tls;
mod tokens;
mod upgrade;
mod vitals;
mod volumes;
mod wall_clock;

use std::process::ExitCode;

use bramble_init::entry::Entry;
use clap::Parser as _;

fn main() -> ExitCode {
    // Fence, runtime and heartbeats must not go on with what a panic left behind.
    bramble_process::panics::end_process();
    bramble_process::heap::bound();
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let Some(entry) = Entry::find(std::process::id(), &arguments) {
        telemetry::start_on_board();
        return entry.run();
    }
    let cli = cli::Cli::parse();
    bramble_clock::install();
    telemetry::start(cli.level());
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::print_failure(&error);
            ExitCode::FAILURE
        }
    }
}
