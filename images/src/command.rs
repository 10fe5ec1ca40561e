//! Programs of this machine that do a part of the work.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a program of a Debian package and returns what it printed.
///
/// # Errors
/// It is not installed, or it fails; the text has its words.
pub fn run(command: &mut Command, package: &str) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("could not run `{name}` (package {package})"))?;
    if !output.status.success() {
        bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
