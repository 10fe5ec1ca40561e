//! `cargo cross`: builds bramble for boards.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a build tool speaks to people")]

use std::path::Path;

use anyhow::{Context, Result};
use bramble_cross::board::{self, BOARDS, Board, Tried};
use bramble_cross::build::{build, size_mb, test};
use bramble_cross::toolchain::Toolchain;
use clap::{Parser, Subcommand};

/// Builds bramble's binaries for boards.
#[derive(Debug, Parser)]
#[command(name = "cargo cross", bin_name = "cargo cross")]
#[command(after_help = "Examples:\n  cargo cross boards\n  cargo cross build --board pi-4\n  \
    cargo cross build --board pi-4 --profile card    # smallest, takes minutes to link\n  \
    cargo cross test")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the boards that bramble knows.
    Boards,
    /// Build `bramble` and `bramble-agent` for a board.
    Build {
        /// Name of the board, as `cargo cross boards` lists it.
        #[arg(long, default_value = "arm64")]
        board: String,
        /// Profile: `release`, or `card` for the smallest binaries.
        #[arg(long, default_value = "release")]
        profile: String,
        /// Say what is missing instead of installing it.
        #[arg(long)]
        no_install: bool,
    },
    /// Run the unit tests that need no operating system on a board's processor, emulated.
    Test {
        /// Name of the board, as `cargo cross boards` lists it.
        #[arg(long, default_value = "arm64")]
        board: String,
    },
}

/// What a binary may weigh, in megabytes (10^6 bytes): master and agent.
const TARGETS_MB: [f64; 2] = [15.0, 8.0];

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Boards => {
            println!("{:<14}{:<28}{:<28}TRIED", "NAME", "BOARD", "TARGET");
            for board in &BOARDS {
                let tried = match board.tried {
                    Tried::Emulated => "emulated",
                    Tried::Built => "built",
                };
                println!("{:<14}{:<28}{:<28}{tried}", board.name, board.description, board.target);
            }
        }
        Command::Build { board, profile, no_install } => {
            let board = find(&board)?;
            let toolchain = Toolchain::find(board, !no_install)?;
            let way = match toolchain {
                Toolchain::Installed => "the compiler in the path",
                Toolchain::Debian => "Debian's rustc-web with the foreign standard library",
            };
            println!("building for {} with {way}", board.description);
            let built = build(board, toolchain, &profile, root()?)?;
            for (path, target) in [built.master, built.agent].iter().zip(TARGETS_MB) {
                let size = size_mb(path)?;
                let verdict = if size <= target { "within" } else { "over" };
                println!("{size:>6.1} MB, {verdict} {target} MB  {}", path.display());
            }
        }
        Command::Test { board } => {
            let board = find(&board)?;
            test(board, Toolchain::find(board, true)?, root()?)?;
        }
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Board> {
    board::find(name).with_context(|| format!("no board `{name}`; `cargo cross boards` lists them"))
}

/// Folder of the project.
fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no project folder")
}
