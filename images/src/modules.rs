//! Kernel modules: which ones a board needs, in the order in which they must be loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Finds modules with all that they depend on in an unpacked kernel package. What is built into
/// the kernel is left out.
///
/// # Errors
/// `depmod` is missing, or a module is neither in the package nor built in.
pub fn closure<'a>(
    kernel: &Path,
    version: &str,
    wanted: impl Iterator<Item = &'a str>,
) -> Result<Vec<PathBuf>> {
    // Merged /usr since Debian 13.
    let base = [kernel.join("usr"), kernel.to_path_buf()]
        .into_iter()
        .find(|base| base.join("lib/modules").join(version).is_dir())
        .with_context(|| format!("no modules of {version} in the kernel package"))?;
    let folder = base.join("lib/modules").join(version);
    if !folder.join("modules.dep").is_file() {
        let status = Command::new("depmod").arg("--basedir").arg(&base).arg(version).status();
        let status = status.context("could not run `depmod` (package kmod)")?;
        ensure!(status.success(), "depmod failed");
    }
    let dependencies = parse_dependencies(&fs::read_to_string(folder.join("modules.dep"))?);
    let built_in = fs::read_to_string(folder.join("modules.builtin"))?;
    let built_in: Vec<String> = built_in.lines().map(module_name).collect();
    let mut order = Vec::new();
    for name in wanted {
        if !built_in.contains(&name.replace('-', "_")) {
            add_with_dependencies(name, &dependencies, &mut order)?;
        }
    }
    Ok(order.into_iter().map(|path| folder.join(path)).collect())
}

/// Content of a module file, unpacked if it is compressed.
///
/// # Errors
/// It cannot be read, or `xz` is missing.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output();
        let output = output.context("could not run `xz` (package xz-utils)")?;
        ensure!(output.status.success(), "xz could not unpack `{}`", path.display());
        return Ok(output.stdout);
    }
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}

/// Name of a module from its path: `kernel/net/veth.ko.xz` is `veth`. The kernel does not tell
/// hyphens from underscores.
#[must_use]
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// By module name: its path, and the paths of what must be loaded before.
type Dependencies = BTreeMap<String, (String, Vec<String>)>;

fn parse_dependencies(text: &str) -> Dependencies {
    text.lines()
        .filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((module_name(path), (path.to_owned(), needs)))
        })
        .collect()
}

fn add_with_dependencies(
    name: &str,
    dependencies: &Dependencies,
    order: &mut Vec<String>,
) -> Result<()> {
    let found = dependencies.get(&name.replace('-', "_"));
    let (path, needs) = found.with_context(|| format!("the kernel has no module `{name}`"))?;
    // depmod lists what is needed first last.
    for path in needs.iter().rev().chain([path]) {
        if !order.contains(path) {
            order.push(path.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/a.ko.xz: kernel/b-x.ko.xz kernel/c.ko.xz\nkernel/b-x.ko.xz: kernel/c.ko.xz\nkernel/c.ko.xz:\n";

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let mut order = Vec::new();
        let dependencies = parse_dependencies(DEP);
        add_with_dependencies("b_x", &dependencies, &mut order).unwrap();
        add_with_dependencies("a", &dependencies, &mut order).unwrap();
        assert_eq!(order, ["kernel/c.ko.xz", "kernel/b-x.ko.xz", "kernel/a.ko.xz"]);
    }

    #[test]
    fn unknown_module_is_an_error_with_its_name() {
        let error = add_with_dependencies("zzz", &parse_dependencies(DEP), &mut Vec::new());
        assert!(error.unwrap_err().to_string().contains("zzz"));
    }
}
