//! Debian packages for another architecture, fetched by apt without touching this machine's apt.
//!
//! apt gets a state folder of its own, so it checks signatures as always and this machine's
//! package lists stay as they are. The mirror is the one that this machine is configured with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where Debian keeps its keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package source for one architecture and suite.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    architecture: &'static str,
}

impl Packages {
    /// Prepares the source and refreshes its lists. `folder` keeps lists and packages between
    /// runs.
    ///
    /// # Errors
    /// apt is missing, no mirror is configured, or it cannot be reached.
    pub fn open(folder: &Path, suite: &str, architecture: &'static str) -> Result<Self> {
        for sub in ["lists/partial", "cache/archives/partial", "unpacked"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n",
            configured_mirror(Path::new("/etc/apt"))?
        );
        fs::write(folder.join("debian.sources"), source)?;
        fs::write(folder.join("status"), "")?;
        let packages = Self { folder: folder.canonicalize()?, architecture };
        packages.apt("apt-get", &["update", "--quiet", "--quiet"])?;
        Ok(packages)
    }

    /// Unpacks one package (the newest) and returns the folder with its files.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be fetched or unpacked.
    pub fn unpack(&self, package: &str) -> Result<PathBuf> {
        let archives = self.folder.join("cache/archives");
        // Asked from another folder: apt says nothing of what is already there.
        let printed =
            self.apt_in(&self.folder, "apt-get", &["download", "--print-uris", package])?;
        // 'URL' FILE SIZE HASH
        let file = printed.split_whitespace().nth(1).with_context(|| {
            format!("apt knows no package `{package}` for {}", self.architecture)
        })?;
        if !archives.join(file).is_file() {
            self.apt("apt-get", &["download", "--quiet", "--quiet", package])?;
        }
        self.unpack_file(&archives.join(file))
    }

    /// Unpacks packages with all that they depend on, and returns one folder a package.
    ///
    /// # Errors
    /// As [`Packages::unpack`].
    pub fn unpack_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut args = vec![
            "install",
            "--yes",
            "--print-uris",
            "--quiet",
            "--quiet",
            "--no-install-recommends",
        ];
        args.extend(packages);
        let printed = self.apt("apt-get", &args)?;
        let names: Vec<&str> = printed
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split_whitespace().nth(1)?.split('_').next())
            .collect();
        names.into_iter().map(|name| self.unpack(name)).collect()
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

    fn unpack_file(&self, file: &Path) -> Result<PathBuf> {
        let name = file.file_stem().context("not a package file")?;
        let target = self.folder.join("unpacked").join(name);
        if target.is_dir() {
            return Ok(target);
        }
        // Unpacked beside and renamed, so that a half-unpacked one is never taken for whole.
        let partial = target.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&partial))?;
        fs::rename(&partial, &target)?;
        Ok(target)
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<String> {
        self.apt_in(&self.folder.join("cache/archives"), program, args)
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
        run(command.args(args))
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

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| format!("could not run `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
