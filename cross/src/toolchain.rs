//! The ways in which a machine may be able to build for a foreign architecture.
//!
//! Either rustup has the target's standard library, or Debian's `rustc-web` is installed beside
//! the foreign `libstd-rust-web-dev`. Both need Debian's cross linker, C library and libseccomp.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::board::Board;

/// Debian's compiler that has foreign standard libraries.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A way to build for a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler in the path has the target's standard library.
    Installed,
    /// Debian's compiler with the foreign standard library.
    Debian,
}

impl Toolchain {
    /// Finds the way that this machine has, after installing what is missing if `install`.
    ///
    /// # Errors
    /// There is no way; the text says what would make one.
    pub fn find(board: &Board, install: bool) -> Result<Self> {
        let missing = missing_packages(board);
        let found = if has_standard_library("rustc", board.target) {
            Some(Self::Installed)
        } else if has_standard_library(DEBIAN_RUSTC, board.target) {
            Some(Self::Debian)
        } else {
            None
        };
        if let (Some(found), []) = (found, missing.as_slice()) {
            return Ok(found);
        }
        let mut packages = missing;
        if found.is_none() {
            packages.push("rustc-web".to_owned());
            packages.push(format!("libstd-rust-web-dev:{}", board.debian_architecture));
        }
        if !install {
            bail!("to build for {}, install: {}", board.name, packages.join(" "));
        }
        install_packages(board, &packages)?;
        Self::find(board, false)
    }

    /// The compiler to use, if it is not the one in the path.
    #[must_use]
    pub fn compiler(self) -> Option<&'static str> {
        match self {
            Self::Installed => None,
            Self::Debian => Some(DEBIAN_RUSTC),
        }
    }
}

fn has_standard_library(compiler: &str, target: &str) -> bool {
    let folder =
        Command::new(compiler).args(["--print", "target-libdir", "--target", target]).output();
    folder.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success()
            && std::fs::read_dir(folder).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| {
                        entry.file_name().to_string_lossy().starts_with("libstd-")
                    })
                })
            })
    })
}

fn missing_packages(board: &Board) -> Vec<String> {
    let architecture = board.debian_architecture;
    let needed = [
        ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu".to_owned()),
        ("/usr/lib/aarch64-linux-gnu/libc.a", format!("libc6-dev:{architecture}")),
        ("/usr/lib/aarch64-linux-gnu/libseccomp.a", format!("libseccomp-dev:{architecture}")),
    ];
    needed
        .into_iter()
        .filter(|(path, _)| !Path::new(path).exists())
        .map(|(_, package)| package)
        .collect()
}

fn install_packages(board: &Board, packages: &[String]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let architecture = board.debian_architecture;
    run_as_root("dpkg", &["--add-architecture", architecture])?;
    run_as_root("apt-get", &["update", "--quiet"])?;
    let mut args = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    args.extend(packages.iter().map(String::as_str));
    run_as_root("apt-get", &args)
}

fn run_as_root(program: &str, args: &[&str]) -> Result<()> {
    // The variable that id would print; `sudo` asks for a password by itself where it must.
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if root { Command::new(program) } else { Command::new("sudo") };
    if !root {
        command.arg(program);
    }
    let status = command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .with_context(|| format!("could not run `{program}`"))?;
    if !status.success() {
        bail!("`{program} {}` failed", args.join(" "));
    }
    Ok(())
}
