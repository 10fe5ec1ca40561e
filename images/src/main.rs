//! `cargo images`: puts together what a board boots.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a build tool speaks to people")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bramble_cross::board;
use bramble_cross::build::build;
use bramble_cross::toolchain::Toolchain;
use bramble_images::initramfs;
use clap::{Parser, Subcommand};

/// Puts together what a board boots.
#[derive(Debug, Parser)]
#[command(name = "cargo images", bin_name = "cargo images")]
#[command(after_help = "Example:\n  cargo images initramfs --board qemu-virt")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build kernel and initial RAM file system of an emulated board.
    Initramfs {
        /// Name of the board, as `cargo cross boards` lists it.
        #[arg(long, default_value = "qemu-virt")]
        board: String,
        /// Folder for the result and for fetched packages.
        #[arg(long, default_value = "target/images")]
        output: PathBuf,
    },
}

fn main() -> Result<()> {
    let Command::Initramfs { board, output } = Cli::parse().command;
    let board = board::find(&board)
        .with_context(|| format!("no board `{board}`; `cargo cross boards` lists them"))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no project folder")?;
    let built = build(board, Toolchain::find(board, true)?, "release", root)?;
    let boot = initramfs::build(board, &built.agent, &output)?;
    println!("kernel     {}", boot.kernel.display());
    println!("initramfs  {}", boot.initramfs.display());
    Ok(())
}
