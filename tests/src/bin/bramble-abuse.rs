//! `make abuse`: attacks a cluster of its own as a stranger would, and prints what held.
//!
//! ```text
//! bramble-abuse [--list] [--only PART,...] [--core] [--clean]
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use bramble_tests::abuse::round::{around, table_head, table_row};
use bramble_tests::abuse::{Attack, Extent, Stage, attacks};
use bramble_tests::bench::report::machine;
use bramble_tests::cluster::Cluster;
use clap::Parser;

/// Number of the cluster: third byte of its addresses.
const CLUSTER: u8 = 90;

/// Attacks a cluster of network namespaces and prints what held, with the daemons' memory. Needs
/// root and binaries (`BRAMBLE_BIN_DIR`). Ends by itself and leaves nothing behind.
#[derive(Debug, Parser)]
struct Flags {
    /// Only attacks whose name contains one of these.
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<String>,
    /// Only what `make test` runs, and only as much of it.
    #[arg(long)]
    core: bool,
    /// Remove what a run that was interrupted has left, and end.
    #[arg(long)]
    clean: bool,
    /// Print the attacks and end.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(fallen) => {
            eprintln!("\n{fallen} attacks did harm");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the attacks could not be run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<usize> {
    let chosen = |attack: &Attack| {
        (!flags.core || attack.core)
            && (flags.only.is_empty() || flags.only.iter().any(|part| attack.name.contains(part)))
    };
    let attacks: Vec<Attack> = attacks().into_iter().filter(chosen).collect();
    if flags.list {
        for attack in &attacks {
            println!("{:<32} {}", attack.name, attack.must);
        }
        return Ok(0);
    }
    ensure!(!attacks.is_empty(), "no attack has such a name; see --list");
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run `sudo make abuse`");
    }
    if flags.clean {
        return Cluster::remove(CLUSTER).map(|()| 0);
    }
    let extent = if flags.core { Extent::Short } else { Extent::Full };
    println!("Machine: {}.\n\n{}", machine()?, table_head());
    let mut stage = Some(Stage::build(CLUSTER, extent)?);
    let mut fallen = 0;
    for attack in &attacks {
        // Harm that was done must not be counted against the next: it gets a new cluster.
        let mut standing = match stage.take() {
            Some(standing) => standing,
            None => Stage::build(CLUSTER, extent)?,
        };
        let outcome = around(&mut standing, attack)?;
        println!("{}", table_row(&outcome));
        if outcome.fell.is_empty() {
            stage = Some(standing);
        } else {
            fallen += 1;
        }
    }
    Ok(fallen)
}
