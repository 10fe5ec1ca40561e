//! Building the binaries of a board: static and stripped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::board::Board;
use crate::toolchain::Toolchain;

/// Packages and the binaries that they make.
const BINARIES: [(&str, &str); 2] =
    [("bramble-master", "bramble"), ("bramble-agent", "bramble-agent")];

/// What has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// `bramble`.
    pub master: PathBuf,
    /// `bramble-agent`.
    pub agent: PathBuf,
}

/// Builds all binaries for a board with a profile (`release`, or `card` for the smallest).
///
/// # Errors
/// cargo fails; its words are on the terminal.
pub fn build(board: &Board, toolchain: Toolchain, profile: &str, root: &Path) -> Result<Built> {
    let folder = root.join("target/cross");
    let target = board.target;
    let variable = target.to_uppercase().replace('-', "_");
    let libraries = "/usr/lib/aarch64-linux-gnu";
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args(["build", "--profile", profile, "--target", target])
        .env("CARGO_TARGET_DIR", &folder)
        .env(format!("CARGO_TARGET_{variable}_LINKER"), "aarch64-linux-gnu-gcc")
        .env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), "-C target-feature=+crt-static")
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
        .env("LIBSECCOMP_LINK_TYPE", "static")
        .env("LIBSECCOMP_LIB_PATH", libraries)
        .env("PKG_CONFIG_ALLOW_CROSS", "1")
        .env("PKG_CONFIG_LIBDIR", format!("{libraries}/pkgconfig"));
    for (package, _) in BINARIES {
        command.args(["--package", package]);
    }
    if let Some(compiler) = toolchain.compiler() {
        command.env("RUSTC", compiler);
    }
    let status = command.status().context("could not run `cargo`")?;
    if !status.success() {
        bail!("building for {} failed", board.name);
    }
    let output = folder.join(target).join(profile);
    let [master, agent] = BINARIES.map(|(_, binary)| output.join(binary));
    Ok(Built { master, agent })
}

/// Size of a file in megabytes (10^6 bytes), for people.
///
/// # Errors
/// It is not there.
pub fn size_mb(path: &Path) -> Result<f64> {
    let bytes = fs::metadata(path).with_context(|| format!("no `{}`", path.display()))?.len();
    Ok(f64::from(u32::try_from(bytes)?) / 1e6)
}
