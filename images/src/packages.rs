//! Debian packages for another architecture, fetched by apt without touching this machine's apt.
//!
//! apt gets a state folder of its own, so it checks signatures as always and this machine's
//! package lists stay as they are. The mirror is the one that this machine is configured with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::run;

/// Where Debian keeps its keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package source for one architecture and suite.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    architecture: &'static str,
}

/// An unpacked package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as Debian writes it.
    pub version: String,
    /// Its files.
    pub folder: PathBuf,
}

impl Packages {
    /// Prepares the source and refreshes its lists. `folder` keeps lists and packages between
    /// runs. Components are Debian's: `main`, `non-free-firmware`.
    ///
    /// # Errors
    /// apt is missing, no mirror is configured, or it cannot be reached.
    pub fn open(
        folder: &Path,
        suite: &str,
        components: &str,
        architecture: &'static str,
    ) -> Result<Self> {
        for sub in ["lists/partial", "cache/archives/partial", "archives", "unpacked"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: {components}\nSigned-By: {KEYRING}\n",
            configured_mirror(Path::new("/etc/apt"))?
        );
        fs::write(folder.join("debian.sources"), source)?;
        fs::write(folder.join("status"), "")?;
        let packages = Self { folder: folder.canonicalize()?, architecture };
        packages.apt("apt-get", &["update", "--quiet", "--quiet"])?;
        Ok(packages)
    }

    /// Unpacks one package, the newest of that name.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be fetched or unpacked.
    pub fn unpack(&self, name: &str) -> Result<Package> {
        // Asked from a folder without archives, here and below: apt says nothing of what is there.
        let printed = self.apt_in(&self.folder, "apt-get", &["download", "--print-uris", name])?;
        let unpacked = self.unpack_printed(&printed)?.into_iter().next();
        unpacked.with_context(|| format!("apt has no package `{name}` for {}", self.architecture))
    }

    /// Unpacks packages with all that they depend on.
    ///
    /// # Errors
    /// As [`Packages::unpack`].
    pub fn unpack_with_dependencies(&self, names: &[&str]) -> Result<Vec<Package>> {
        let args =
            ["install", "--yes", "--print-uris", "--quiet", "--quiet", "--no-install-recommends"];
        let printed = self.apt_in(&self.folder, "apt-get", &[&args, names].concat())?;
        self.unpack_printed(&printed)
    }

    /// Name of the package that a meta package (`linux-image-arm64`) stands for.
    ///
    /// # Errors
    /// It depends on nothing of that kind.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let printed = self.apt("apt-cache", &["depends", package])?;
        printed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("`{package}` depends on no `{prefix}...`"))
    }

    /// Unpacks what apt printed: lines of `'URL' FILE SIZE HASH`.
    fn unpack_printed(&self, printed: &str) -> Result<Vec<Package>> {
        let archives = self.folder.join("archives");
        let files: Vec<&str> = printed
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        let missing: Vec<&str> = files
            .iter()
            .filter(|file| !archives.join(file).is_file())
            .filter_map(|file| file.split('_').next())
            .collect();
        if !missing.is_empty() {
            self.apt("apt-get", &[&["download", "--quiet", "--quiet"], &*missing].concat())?;
        }
        files.into_iter().map(|file| self.unpack_file(&archives.join(file))).collect()
    }

    fn unpack_file(&self, file: &Path) -> Result<Package> {
        let stem = file.file_stem().context("not a package file")?.to_string_lossy();
        let mut parts = stem.split('_');
        let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
            bail!("`{stem}` is no name of a package file");
        };
        let folder = self.folder.join("unpacked").join(&*stem);
        if !folder.is_dir() {
            // Unpacked beside and renamed, so that a half-unpacked one is never taken for whole.
            let partial = self.folder.join("unpacked").join(format!("{stem}.partial"));
            let _ = fs::remove_dir_all(&partial);
            run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&partial), "dpkg")?;
            fs::rename(&partial, &folder)?;
        }
        // Colons cannot be in the file's name.
        let version = version.replace("%3a", ":");
        Ok(Package { name: name.to_owned(), version, folder })
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<String> {
        self.apt_in(&self.folder.join("archives"), program, args)
    }

    fn apt_in(&self, place: &Path, program: &str, args: &[&str]) -> Result<String> {
        let folder = self.folder.display();
        let settings = [
            format!("Dir::State={folder}"),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourcelist={folder}/debian.sources"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
            "Acquire::Languages=none".to_owned(),
            // A download as root into a folder of ours needs no user of its own.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new(program);
        command.current_dir(place);
        for setting in &settings {
            command.args(["-o", setting]);
        }
        let printed = run(command.args(args), "apt")?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

/// The mirror of Debian that a machine's apt is configured with.
fn configured_mirror(apt: &Path) -> Result<String> {
    let mut files = vec![apt.join("sources.list")];
    let parts = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
        .context("no mirror of Debian is configured in /etc/apt")
}

/// The first mirror whose path is `/debian`, in either format of apt's sources.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_found_in_both_formats() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(mirror_in(text).as_deref(), expected, "{text}");
        };
        check("deb http://mirror.test/debian bookworm main", Some("http://mirror.test/debian"));
        check("Types: deb\nURIs: http://mirror.test/debian\n", Some("http://mirror.test/debian"));
        check(
            "# deb http://old.test/debian x\nURIs: http://a.test/debian/\n",
            Some("http://a.test/debian/"),
        );
        check("URIs: http://mirror.test/debian-security\n", None);
    }
}
