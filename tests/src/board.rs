//! One board: a network namespace, a mount namespace, a cgroup, and the processes in them.
//!
//! Cutting its power is SIGKILL to everything in its cgroup at once. The mounts go with the last
//! process, as on a real board; its "card" (a folder) stays.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cgroup::{Cgroup, processes_below};
use crate::lan::Lan;
use crate::wait::wait_until;

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
    /// Holds the board's mounts and host name while it has power.
    power: Option<Child>,
    children: Vec<Child>,
}

impl Board {
    /// Prepares a board and switches it on; none of our programs runs on it yet.
    ///
    /// # Errors
    /// Its folder or cgroup cannot be made.
    pub fn new(
        cluster: &str,
        name: &str,
        address: Ipv4Addr,
        namespace: String,
        folder: &Path,
        lan: &Lan,
    ) -> Result<Self> {
        let card = folder.join(name);
        fs::create_dir_all(card.join("run")).context("could not make the board's folder")?;
        fs::write(card.join("hosts"), hosts(lan))?;
        let cgroup = Cgroup::create(&format!("{cluster}-{name}"))?;
        let children = Vec::new();
        let mut board =
            Self { name: name.into(), address, card, namespace, cgroup, power: None, children };
        board.power_on()?;
        Ok(board)
    }

    /// Switches the board on, if it is off: fresh mounts, an empty `/run`.
    ///
    /// # Errors
    /// Its namespaces cannot be made.
    pub fn power_on(&mut self) -> Result<()> {
        if self.power.is_some() {
            return Ok(());
        }
        let setup = format!(
            "{join} && hostname {name} && mount -t tmpfs tmpfs {card}/run && \
             mount --bind {card}/hosts /etc/hosts && touch {card}/run/on && exec sleep infinity",
            join = self.cgroup.join_line(),
            name = self.name,
            card = self.card.display(),
        );
        let power = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", &setup])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not switch a board on")?;
        let on = format!("/proc/{}/root{}/run/on", power.id(), self.card.display());
        self.power = Some(power);
        wait_until("the board is on", Duration::from_secs(10), || {
            Ok((!Path::new(&on).exists()).then(|| format!("no {on}")))
        })?;
        Ok(())
    }

    /// A command that runs on this board, which must be on.
    #[must_use]
    pub fn command(&self, program: &Path, args: &[&str]) -> Command {
        let holder = self.power.as_ref().map_or(0, Child::id).to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &holder, "--mount", "--uts", "--net", "sh", "-c"])
            .arg(format!("{} && exec \"$@\"", self.cgroup.join_line()))
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

    /// Asks a web server from this board's network and returns its answer's body.
    ///
    /// # Errors
    /// No answer within three seconds.
    pub fn ask(&self, ip: &str, port: u16) -> Result<String> {
        // bash needs no resolver and no program beside it.
        let line = format!(
            "exec 3<>/dev/tcp/{ip}/{port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let namespace = format!("--net=/run/netns/{}", self.namespace);
        let answer =
            crate::programs::run("nsenter", &[&namespace, "timeout", "3", "bash", "-c", &line])?;
        let (_, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
        Ok(body.trim().to_owned())
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

    /// Ids of bramble's own processes on the board, containers left out.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn daemons(&self) -> Result<Vec<u32>> {
        daemons_below(self.cgroup.path())
    }

    /// Folder of the board's cgroup: for a thread that looks at the board while others use it.
    #[must_use]
    pub fn cgroup_path(&self) -> &Path {
        self.cgroup.path()
    }

    /// SIGKILL to everything on the board, at once.
    ///
    /// # Errors
    /// Something survives it.
    pub fn cut_power(&mut self) -> Result<()> {
        self.cgroup.kill()?;
        for mut child in self.children.drain(..).chain(self.power.take()) {
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

/// Ids of bramble's own processes in a board's cgroup, containers left out.
///
/// # Errors
/// The cgroup cannot be read.
pub fn daemons_below(cgroup: &Path) -> Result<Vec<u32>> {
    let mut found = processes_below(cgroup)?;
    found.retain(|pid| {
        let line = command_line(*pid);
        let program = line.split(' ').next().unwrap_or_default();
        program.rsplit('/').next().is_some_and(|name| name.starts_with("bramble"))
    });
    Ok(found)
}

/// Names that a board knows without a name server.
#[must_use]
pub fn hosts(lan: &Lan) -> String {
    format!("127.0.0.1 localhost\n{} registry.local\n", lan.host_address())
}

/// Command line of a process, words separated by spaces; empty if it is gone.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}
