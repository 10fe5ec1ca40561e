//! `cargo images`: makes and describes the images of cards, and flashes them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a build tool speaks to people")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, ensure};
use bramble_cross::board;
use bramble_cross::build::Built;
use bramble_cross::toolchain::Toolchain;
use bramble_images::inspect::{describe, megabytes};
use bramble_images::version::Version;
use clap::{Parser, Subcommand};

/// What an image may weigh, packed, in bytes.
const TARGET_LEN: u64 = 64_000_000;

/// Makes and describes the images of cards, and flashes them.
#[derive(Debug, Parser)]
#[command(name = "cargo images", bin_name = "cargo images")]
#[command(after_help = "Examples:\n  cargo images build --profile card\n  \
    cargo images inspect target/images/bramble-arm64.img.gz")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the image of a card; one for all 64-bit boards.
    Build {
        /// Profile of bramble's binaries: `release`, or `card` for the smallest.
        #[arg(long, default_value = "release")]
        profile: String,
        /// The image, packed with gzip.
        #[arg(long, value_name = "FILE", default_value = "target/images/bramble-arm64.img.gz")]
        output: PathBuf,
        /// Take `bramble` and `bramble-agent` for arm64 from this folder instead of building them.
        #[arg(long, value_name = "FOLDER")]
        binaries: Option<PathBuf>,
        /// Version of the image instead of the one that git knows.
        #[arg(long, value_name = "TEXT")]
        image_version: Option<String>,
        /// Make it twice from the same packages, and fail unless both have the same bytes.
        #[arg(long)]
        check_reproducible: bool,
    },
    /// Describe an image, packed or not, or a card: partitions, settings, version, sizes.
    Inspect {
        /// The image, or the device of a card.
        file: PathBuf,
    },
    /// Write a card: `bramble flash` of this clone, built if need be.
    #[command(disable_help_flag = true)]
    Flash {
        /// What `bramble flash` takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        args: Vec<OsString>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Build { profile, output, binaries, image_version, check_reproducible } => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder")?;
            let built = match binaries {
                Some(folder) => Built::in_folder(&folder)?,
                None => build_binaries(&profile, root)?,
            };
            let version = Version::of_sources(root, image_version)?;
            let folder = root.join("target/images");
            let image = bramble_images::build::build(&built, &version, &folder)?;
            if check_reproducible {
                let again = bramble_images::build::build(&built, &version, &folder)?;
                ensure!(image == again, "made twice from the same inputs, two images differ");
                println!("made twice, the same bytes");
            }
            write(&output, &image)?;
            let len = image.len() as u64;
            let verdict = if len <= TARGET_LEN { "within" } else { "over" };
            println!("bramble {}", version.text);
            println!(
                "{} MB, {verdict} {} MB  {}",
                megabytes(len),
                TARGET_LEN / 1_000_000,
                output.display()
            );
        }
        Command::Inspect { file } => print!("{}", describe(&file)?),
        Command::Flash { args } => {
            let mut bramble = process::Command::new("cargo");
            bramble.args(["run", "--quiet", "--release", "--package", "bramble-master", "--"]);
            // Returns only if cargo cannot be started.
            let error = bramble.arg("flash").args(args).exec();
            return Err(error).context("could not run `cargo`");
        }
    }
    Ok(())
}

fn build_binaries(profile: &str, root: &Path) -> Result<Built> {
    let board = board::find("arm64").context("no row for 64-bit boards")?;
    bramble_cross::build::build(board, Toolchain::find(board, true)?, profile, root)
}

/// Writes beside and renames: who reads the image while it is made anew reads the old one.
fn write(output: &Path, image: &[u8]) -> Result<()> {
    let failed = || format!("could not write `{}`", output.display());
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let partial = output.with_extension("partial");
    fs::write(&partial, image).with_context(failed)?;
    fs::rename(&partial, output).with_context(failed)
}
