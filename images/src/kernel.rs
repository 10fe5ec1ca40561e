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
/// Beginning of the name of the package that it depends on; the rest is the version.
const PREFIX: &str = "linux-image-";
/// Beginnings of the names of the packages with its parts; the rest is the version.
const BASE_PREFIX: &str = "linux-base-";
const BINARY_PREFIX: &str = "linux-binary-";
const MODULES_PREFIX: &str = "linux-modules-";
/// What depmod reads besides the modules; Debian has it in the package of the base.
const BASE_LISTS: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
/// The last list that depmod writes: where it is, all others are whole.
const LAST_LIST: &str = "modules.devname";

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its version, as `uname -r` says it.
    pub version: String,
    /// The packages that it is of.
    pub packages: Vec<Package>,
    /// Its modules.
    pub modules: Modules,
    module_files: BTreeMap<String, PathBuf>,
    image: PathBuf,
    device_trees: PathBuf,
}

impl Kernel {
    /// Fetches the newest kernel and reads what it says of its modules.
    ///
    /// # Errors
    /// It cannot be fetched, or `depmod` is missing.
    pub fn fetch(packages: &Packages) -> Result<Self> {
        let name = packages.dependency(META_PACKAGE, PREFIX)?;
        let version = name.trim_start_matches(PREFIX).to_owned();
        let part = |prefix: &str| packages.unpack(&format!("{prefix}{version}"));
        let (base, binary, modules) =
            (part(BASE_PREFIX)?, part(BINARY_PREFIX)?, part(MODULES_PREFIX)?);
        // Each package has its part of the same folder.
        let folder_in = |package: &Package| package.folder.join("usr/lib/modules").join(&version);
        let (base_folder, folder) = (folder_in(&base), folder_in(&modules));
        ensure!(folder.is_dir(), "no modules of {version} in the package `{}`", modules.name);
        if !folder.join(LAST_LIST).is_file() {
            for name in BASE_LISTS {
                let failed = || format!("the package `{}` lacks `{name}`", base.name);
                fs::copy(base_folder.join(name), folder.join(name)).with_context(failed)?;
            }
            let root = modules.folder.join("usr");
            run(Command::new("depmod").arg("--basedir").arg(root).arg(&version), "kmod")?;
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("could not read `{}`", path.display()))
        };
        let dependencies = read("modules.dep")?;
        let known = Modules::parse(
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
        Ok(Self {
            modules: known,
            module_files,
            image: folder_in(&binary).join("vmlinuz"),
            device_trees: base_folder.join("dtb/broadcom"),
            packages: vec![base, binary, modules],
            version,
        })
    }

    /// The kernel itself, as the emulator and (packed) the Pi's firmware take it.
    ///
    /// # Errors
    /// The package has none, or one in a format that they do not know.
    pub fn image(&self) -> Result<Vec<u8>> {
        let path = &self.image;
        let image =
            fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
        let magic = image.get(56..60);
        ensure!(magic == Some(b"ARM\x64"), "`{}` is no plain arm64 kernel", path.display());
        Ok(image)
    }

    /// Folder of the device trees of Broadcom's processors.
    #[must_use]
    pub fn device_trees(&self) -> &Path {
        &self.device_trees
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
