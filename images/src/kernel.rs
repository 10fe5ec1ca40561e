//! Debian's kernel, unpacked: the kernel itself, device trees, modules and what is known of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::run;
use crate::modules::{Modules, module_name};
use crate::packages::{Package, Packages};

/// Package that stands for the newest kernel.
const META_PACKAGE: &str = "linux-image-arm64";
/// Beginning of the names of real kernel packages; the rest is the version.
const PREFIX: &str = "linux-image-";

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its version, as `uname -r` says it.
    pub version: String,
    /// The package that it is of.
    pub package: Package,
    /// Its modules.
    pub modules: Modules,
    module_files: BTreeMap<String, PathBuf>,
}

impl Kernel {
    /// Fetches the newest kernel and reads what it says of its modules.
    ///
    /// # Errors
    /// It cannot be fetched, or `depmod` is missing.
    pub fn fetch(packages: &Packages) -> Result<Self> {
        let name = packages.dependency(META_PACKAGE, PREFIX)?;
        let package = packages.unpack(&name)?;
        let version = name.trim_start_matches(PREFIX).to_owned();
        // Merged /usr since Debian 13.
        let base = package.folder.join("usr");
        let folder = base.join("lib/modules").join(&version);
        ensure!(folder.is_dir(), "no modules of {version} in the package `{name}`");
        if !folder.join("modules.dep").is_file() {
            run(Command::new("depmod").arg("--basedir").arg(&base).arg(&version), "kmod")?;
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("could not read `{}`", path.display()))
        };
        let dependencies = read("modules.dep")?;
        let modules = Modules::parse(
            &dependencies,
            &read("modules.softdep")?,
            &read("modules.alias")?,
            &read("modules.builtin")?,
        );
        let module_files = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, _)| (module_name(path), folder.join(path)))
            .collect();
        Ok(Self { version, package, modules, module_files })
    }

    /// The kernel itself, as the emulator and (packed) the Pi's firmware take it.
    ///
    /// # Errors
    /// The package has none, or one in a format that they do not know.
    pub fn image(&self) -> Result<Vec<u8>> {
        let path = self.package.folder.join(format!("boot/vmlinuz-{}", self.version));
        let image =
            fs::read(&path).with_context(|| format!("could not read `{}`", path.display()))?;
        let magic = image.get(56..60);
        ensure!(magic == Some(b"ARM\x64"), "`{}` is no plain arm64 kernel", path.display());
        Ok(image)
    }

    /// Folder of the device trees of Broadcom's processors.
    #[must_use]
    pub fn device_trees(&self) -> PathBuf {
        self.package.folder.join(format!("usr/lib/linux-image-{}/broadcom", self.version))
    }

    /// A module's file, unpacked.
    ///
    /// # Errors
    /// It cannot be read, or `xz` is missing.
    pub fn module(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.module_files.get(name);
        let path = path.with_context(|| format!("the kernel has no module `{name}`"))?;
        read_packed(path)
    }
}

fn read_packed(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        return run(Command::new("xz").args(["--decompress", "--stdout"]).arg(path), "xz-utils");
    }
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}
