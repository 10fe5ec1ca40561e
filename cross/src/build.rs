//! Building for a board: the two binaries, static and stripped, and its unit tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::board::Board;
use crate::toolchain::Toolchain;

/// Packages and the binaries that they make.
const BINARIES: [(&str, &str); 2] =
    [("bramble-master", "bramble"), ("bramble-agent", "bramble-agent")];
/// Packages whose unit tests need no operating system of their own, so that they may run under
/// an emulated processor.
const TESTED: [&str; 4] =
    ["bramble-shared", "bramble-card", "bramble-master-core", "bramble-agent-core"];
/// Runs a foreign program here; of Debian's package qemu-user-static.
const USER_EMULATOR: &str = "qemu-aarch64-static";

/// What has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// `bramble`.
    pub master: PathBuf,
    /// `bramble-agent`.
    pub agent: PathBuf,
}

impl Built {
    /// The binaries in a folder.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let [master, agent] = BINARIES.map(|(_, binary)| folder.join(binary));
        for path in [&master, &agent] {
            if !path.is_file() {
                bail!("no `{}`; `cargo cross build` makes it", path.display());
            }
        }
        Ok(Self { master, agent })
    }
}

/// Builds all binaries for a board with a profile (`release`, or `card` for the smallest).
///
/// # Errors
/// cargo fails; its words are on the terminal.
pub fn build(board: &Board, toolchain: Toolchain, profile: &str, root: &Path) -> Result<Built> {
    let mut command = cargo("build", board, toolchain, root);
    command.args(["--profile", profile]);
    for (package, _) in BINARIES {
        command.args(["--package", package]);
    }
    if !command.status().context("could not run `cargo`")?.success() {
        bail!("building for {} failed", board.name);
    }
    Built::in_folder(&target_folder(root).join(board.target).join(profile))
}

/// Runs the unit tests of what decides and of what is on a card on a board's processor, emulated.
///
/// # Errors
/// The emulator is missing, or a test fails; cargo's words are on the terminal.
pub fn test(board: &Board, toolchain: Toolchain, root: &Path) -> Result<()> {
    let emulator = Command::new(USER_EMULATOR).arg("-version").output();
    emulator.with_context(|| format!("could not run `{USER_EMULATOR}` (qemu-user-static)"))?;
    let mut command = cargo("test", board, toolchain, root);
    command.env(target_variable(board, "RUNNER"), USER_EMULATOR);
    // The emulator cannot build, and what a page says is tried on this machine's processor.
    command.args(["--lib", "--bins", "--tests"]);
    for package in TESTED {
        command.args(["--package", package]);
    }
    if !command.status().context("could not run `cargo`")?.success() {
        bail!("tests for {} failed", board.name);
    }
    Ok(())
}

/// Size of a file in megabytes (10^6 bytes), for people.
///
/// # Errors
/// It is not there.
pub fn size_mb(path: &Path) -> Result<f64> {
    let bytes = fs::metadata(path).with_context(|| format!("no `{}`", path.display()))?.len();
    Ok(f64::from(u32::try_from(bytes)?) / 1e6)
}

/// cargo with everything in its environment that building for a board takes.
fn cargo(subcommand: &str, board: &Board, toolchain: Toolchain, root: &Path) -> Command {
    let libraries = "/usr/lib/aarch64-linux-gnu";
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args([subcommand, "--target", board.target])
        .env("CARGO_TARGET_DIR", target_folder(root))
        .env(target_variable(board, "LINKER"), "aarch64-linux-gnu-gcc")
        .env(target_variable(board, "RUSTFLAGS"), "-C target-feature=+crt-static")
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
        .env("LIBSECCOMP_LINK_TYPE", "static")
        .env("LIBSECCOMP_LIB_PATH", libraries)
        .env("PKG_CONFIG_ALLOW_CROSS", "1")
        .env("PKG_CONFIG_LIBDIR", format!("{libraries}/pkgconfig"));
    if let Some(compiler) = toolchain.compiler() {
        command.env("RUSTC", compiler);
    }
    command
}

fn target_folder(root: &Path) -> PathBuf {
    root.join("target/cross")
}

/// Name of one of cargo's variables that hold for a board's target only.
fn target_variable(board: &Board, name: &str) -> String {
    format!("CARGO_TARGET_{}_{name}", board.target.to_uppercase().replace('-', "_"))
}
