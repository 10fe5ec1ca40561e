//! Finds the sources of the two crates on this machine, wherever cargo keeps them.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// Folders with the text to read.
pub(crate) struct Sources {
    /// `k8s-openapi`, of the Kubernetes version that is served.
    pub(crate) openapi: PathBuf,
    /// `k8s-pb`.
    pub(crate) protobuf: PathBuf,
}

/// Asks cargo, which downloads what is not there yet.
pub(crate) fn sources() -> Result<Sources, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").ok_or("cargo gave no CARGO")?;
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo gave no manifest")?;
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(manifest)
        // A wish of the build that called is not one of this question.
        .env_remove("CARGO_BUILD_TARGET")
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cargo metadata failed: {why}").into());
    }
    let metadata = String::from_utf8(output.stdout)?;
    Ok(Sources {
        openapi: folder(&metadata, "k8s-openapi")?.join("src/v1_36"),
        protobuf: folder(&metadata, "k8s-pb")?.join("src"),
    })
}

/// Folder of a package; the path of its manifest is all that is needed of the JSON.
fn folder(metadata: &str, name: &str) -> Result<PathBuf, String> {
    let found = metadata
        .split("\"manifest_path\":\"")
        .skip(1)
        .filter_map(|rest| rest.split_once("/Cargo.toml\"").map(|(folder, _)| folder))
        .filter(|folder| !folder.contains('"'))
        .find(|folder| {
            let last = folder.rsplit('/').next().unwrap_or_default();
            // Vendored folders may come without the version.
            last.strip_prefix(name).is_some_and(|rest| {
                let version = rest.strip_prefix('-').unwrap_or_default();
                rest.is_empty() || version.starts_with(|letter: char| letter.is_ascii_digit())
            })
        });
    found.map(PathBuf::from).ok_or_else(|| format!("cargo knows no sources of `{name}`"))
}
