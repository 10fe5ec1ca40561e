//! One board: a network namespace, a mount namespace, a cgroup, and the processes in them.
//!
//! Cutting its power is SIGKILL to everything in its cgroup at once. The mounts go with the last
//! process, as on a real board; its "card" (a folder) stays.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::cgroup::Cgroup;

/// A board on a [`crate::lan::Lan`].
#[derive(Debug)]
pub struct Board {
    /// Name, also of the node.
    pub name: String,
    /// Address in the LAN.
    pub address: Ipv4Addr,
    /// Folder that survives a power cut.
    pub card: PathBuf,
    namespace: String,
    cgroup: Cgroup,
    children: Vec<Child>,
}

impl Board {
    /// Prepares a board; nothing runs on it yet.
    ///
    /// # Errors
    /// Its folder or cgroup cannot be made.
    pub fn new(
        cluster: &str,
        name: &str,
        address: Ipv4Addr,
        namespace: String,
        folder: &Path,
    ) -> Result<Self> {
        let card = folder.join(name);
        fs::create_dir_all(card.join("run")).context("could not make the board's folder")?;
        let cgroup = Cgroup::create(&format!("{cluster}-{name}"))?;
        Ok(Self { name: name.into(), address, card, namespace, cgroup, children: Vec::new() })
    }

    /// A command that runs on this board.
    #[must_use]
    pub fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c"])
            // A board's own /run is a tmpfs that a power cut empties.
            .arg(format!(
                "{join} && hostname {name} && \
                 mount -t tmpfs tmpfs {run} && exec \"$@\"",
                join = self.cgroup.join_line(),
                name = self.name,
                run = self.card.join("run").display(),
            ))
            .arg("sh")
            .arg(program)
            .args(args);
        command
    }

    /// Starts a program on this board; its output goes to `NAME.log` on its card.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self, log: &str, program: &Path, args: &[&str]) -> Result<()> {
        let path = self.card.join(format!("{log}.log"));
        let file = File::options().create(true).append(true).open(&path)?;
        let child = self
            .command(program, args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start `{}`", program.display()))?;
        self.children.push(child);
        Ok(())
    }

    /// Runs a shell line in the network of this board and returns what it prints.
    ///
    /// # Errors
    /// It fails.
    pub fn shell(&self, line: &str) -> Result<String> {
        let namespace = format!("--net=/run/netns/{}", self.namespace);
        crate::programs::run("nsenter", &[&namespace, "sh", "-c", line])
    }

    /// Ids of all processes of the board.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.cgroup.processes()
    }

    /// Ids of the board's processes whose command line contains `part`.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn processes_with(&self, part: &str) -> Result<Vec<u32>> {
        let mut found = self.processes()?;
        found.retain(|pid| command_line(*pid).contains(part));
        Ok(found)
    }

    /// SIGKILL to everything on the board, at once.
    ///
    /// # Errors
    /// Something survives it.
    pub fn cut_power(&mut self) -> Result<()> {
        self.cgroup.kill()?;
        for mut child in self.children.drain(..) {
            let _ = child.wait();
        }
        Ok(())
    }

    /// Path of the board's pods below every cgroup hierarchy, as `cgroup-root` of its agent.
    #[must_use]
    pub fn cgroup_root(&self) -> String {
        format!("/{}/pods", self.cgroup.name())
    }

    /// What the programs on the board have logged, for a failure's report.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = fs::read_dir(&self.card) else { return text };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let content = fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = content.lines().collect();
                let end = lines.len().saturating_sub(40);
                text += &format!("--- {}\n", path.display());
                text += &lines.get(end..).unwrap_or_default().join("\n");
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.cut_power();
    }
}

/// Command line of a process, words separated by spaces; empty if it is gone.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}
