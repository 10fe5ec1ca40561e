//! `make bench` and `make bench-boards`: takes the figures of `BENCHMARKS.md` on this machine.
//!
//! ```text
//! bramble-bench [boards [--repeat N]] [--rows 1,2,...] [--update] [--date YYYY-MM-DD]
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use bramble_tests::bench::report::{machine, table, today, update};
use bramble_tests::bench::rows::{BOARDS, Figure, HERE};
use bramble_tests::bench::{api_load, boards, idle, one_node, other_programs, restart};
use clap::{Parser, Subcommand};

/// Measures what `BENCHMARKS.md` lists and prints it as a Markdown table. Needs root and release
/// binaries (`BRAMBLE_BIN_DIR`); a busy machine makes every figure worse.
#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only these rows.
    #[arg(long, global = true, value_delimiter = ',', value_name = "NUMBERS")]
    rows: Vec<u8>,
    /// Write the figures into `BENCHMARKS.md` of this folder, too.
    #[arg(long, global = true)]
    update: bool,
    /// Date of the figures [default: today].
    #[arg(long, global = true, value_name = "YYYY-MM-DD")]
    date: Option<String>,
}

/// What else than this machine is measured.
#[derive(Debug, Subcommand)]
enum Command {
    /// Emulated boards that boot from flashed cards (`make bench-boards`).
    Boards {
        /// How often each thing is measured.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=30))]
        repeat: u8,
    },
}

fn main() -> ExitCode {
    match bench(&Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("benchmark failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every wanted row has a value.
fn bench(flags: &Flags) -> Result<bool> {
    let known = if flags.command.is_some() { BOARDS.to_vec() } else { HERE.to_vec() };
    if let Some(unknown) = flags.rows.iter().find(|row| !known.contains(row)) {
        bail!("there is no row {unknown}; this program measures {known:?}");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run `sudo make bench`");
    }
    let file = Path::new("BENCHMARKS.md");
    if flags.update && !file.is_file() {
        bail!("`BENCHMARKS.md` is not here: run the benchmarks from the project's folder");
    }
    let wanted = if flags.rows.is_empty() { known } else { flags.rows.clone() };
    let machine = machine()?;
    let date = flags.date.clone().map_or_else(today, Ok)?;

    let (mut figures, notes) = match flags.command {
        None => (here(&wanted), Vec::new()),
        Some(Command::Boards { repeat }) => boards::measure(&wanted, usize::from(repeat)),
    };
    figures.retain(|figure| wanted.contains(&figure.number));
    figures.sort_by_key(|figure| figure.number);

    println!("Machine: {machine}.\n\n{}", table(&figures, &date).trim_end());
    for note in notes {
        println!("\n{note}");
    }
    // Rows that are taken together fail together.
    let mut failures: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for Figure { number, failure, .. } in &figures {
        if let Some(failure) = failure {
            failures.entry(failure).or_default().push(*number);
        }
    }
    for (failure, rows) in &failures {
        eprintln!("\nrows {rows:?} were not measured: {failure}");
    }
    if flags.update {
        update(file, &figures, &machine, &date)?;
    }
    Ok(figures.iter().all(|figure| figure.failure.is_none()))
}

/// Figures of this machine itself.
fn here(wanted: &[u8]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let any = |rows: &[u8]| rows.iter().any(|row| wanted.contains(row));
    if any(&[11, 13, 18]) {
        figures.extend(other_programs::measure(wanted));
    }
    if any(&[14, 24, 25]) {
        figures.extend(api_load::measure(wanted));
    }
    if any(&[17]) {
        figures.extend(restart::measure());
    }
    if any(&[2, 3, 10, 12]) {
        figures.extend(one_node::measure(wanted));
    }
    if any(&[1, 4, 5]) {
        figures.extend(idle::measure());
    }
    figures
}
