//! Programs of packages with the libraries that they need, and nothing else of their packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::elf::needs;
use crate::packages::Package;
use crate::tree::Tree;

/// Folders of libraries in a package.
const LIBRARY_FOLDERS: [&str; 4] =
    ["usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib", "lib"];
/// Where libraries are in the system: the first place that Debian's loader looks at.
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";

/// Adds programs, as pairs of a package's name and a path in it, into folders of the system.
/// Returns the packages of which something was taken.
///
/// # Errors
/// A program is not in its package, or a library is in no package.
pub fn add(
    tree: &mut Tree,
    packages: &[Package],
    programs: &[(&str, &str, &str)],
) -> Result<Vec<Package>> {
    let libraries = libraries(packages);
    let mut used: Vec<&Package> = Vec::new();
    let mut missing = Vec::new();
    for (package, from, to) in programs {
        let package = packages
            .iter()
            .find(|candidate| candidate.name == *package)
            .with_context(|| format!("the package `{package}` has not been fetched"))?;
        let file = package.folder.join(from);
        tree.add_copy(to, &file)?;
        used.push(package);
        missing.extend(needed(&file, tree)?);
    }
    let mut done: Vec<String> = Vec::new();
    while let Some(name) = missing.pop() {
        if done.contains(&name) {
            continue;
        }
        let (package, file) = libraries
            .get(name.as_str())
            .with_context(|| format!("the library `{name}` is in no fetched package"))?;
        tree.add_file(&format!("{LIBRARIES}/{name}"), 0o755, fs::read(file)?);
        used.push(package);
        missing.extend(needed(file, tree)?);
        done.push(name);
    }
    let mut used: Vec<Package> = used.into_iter().cloned().collect();
    used.sort();
    used.dedup();
    Ok(used)
}

/// Libraries that a file needs; a link to the loader goes where the file looks for it.
fn needed(file: &Path, tree: &mut Tree) -> Result<Vec<String>> {
    let content = fs::read(file).with_context(|| format!("could not read `{}`", file.display()))?;
    let needs = needs(&content).with_context(|| format!("could not use `{}`", file.display()))?;
    let mut names = needs.libraries;
    if let Some((folder, name)) = needs.loader.as_deref().and_then(|path| path.rsplit_once('/')) {
        tree.add_link(&format!("usr{folder}/{name}"), &format!("aarch64-linux-gnu/{name}"));
        names.push(name.to_owned());
    }
    Ok(names)
}

/// All libraries of packages, by file name.
fn libraries(packages: &[Package]) -> BTreeMap<String, (&Package, PathBuf)> {
    let mut libraries = BTreeMap::new();
    for package in packages {
        for folder in LIBRARY_FOLDERS {
            for entry in fs::read_dir(package.folder.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                // A link that leads out of its package leads nowhere here.
                if name.contains(".so") && entry.path().is_file() {
                    libraries.entry(name).or_insert_with(|| (package, entry.path()));
                }
            }
        }
    }
    libraries
}
