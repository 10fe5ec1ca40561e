//! A whole bramble: one master, some agents, a LAN, an image registry.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::board::Board;
use crate::cgroup::Cgroup;
use crate::image;
use crate::kubectl::Kubectl;
use crate::lan::Lan;
use crate::programs::{binary_folder, text_of};
use crate::registry::Registry;
use crate::state;
use crate::wait::wait_until;

/// Port of the master's API.
const API_PORT: u16 = 6443;
/// Port of the image registry, on this machine's address in the LAN; boards know it by name.
const REGISTRY_PORT: u16 = 80;

/// A running bramble. Everything that it made is gone once it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Boards before the LAN: processes end before their network does.
    master: Board,
    agents: Vec<Board>,
    registry: Registry,
    lan: Lan,
    folder: PathBuf,
    binaries: PathBuf,
    /// Lines for the configuration of every agent that joins from now on.
    agent_lines: String,
}

impl Cluster {
    /// Starts a master with its registry; agents come with [`Cluster::add_agent`]. `number`
    /// tells clusters on one machine apart (it is the third byte of their addresses).
    ///
    /// # Errors
    /// Something that it takes is missing, or the master does not become ready.
    pub fn start(number: u8) -> Result<Self> {
        let folder = folder(number);
        remove_left_overs(number, &folder);
        fs::create_dir_all(&folder)?;
        let binaries = binary_folder()?;
        let lan = Lan::create(number)?;
        let registry =
            Registry::start(&cgroup_name(number), lan.host_address(), REGISTRY_PORT, &folder)?;
        let layout =
            image::write_hello(&folder.join("hello"), &image::busybox()?, image::architecture())?;
        registry.push(&layout, "hello:1")?;

        let address = Ipv4Addr::new(10, 77, number, 1);
        let namespace = lan.connect("m1", address)?;
        let master = Board::new(&cgroup_name(number), "m1", address, namespace, &folder, &lan)?;
        let (agents, agent_lines) = (Vec::new(), String::new());
        let mut cluster = Self { master, agents, registry, lan, folder, binaries, agent_lines };
        cluster.start_master()?;
        Ok(cluster)
    }

    /// Starts the master's server on its board and waits until the API answers.
    ///
    /// # Errors
    /// It does not answer in time; the error carries its log.
    pub fn start_master(&mut self) -> Result<()> {
        let program = self.binaries.join("bramble");
        let data = self.master_data();
        let address = self.master.address.to_string();
        let data_flag = data.to_string_lossy().into_owned();
        let args = ["server", "--data-dir", &data_flag, "--advertise-address", &address];
        self.master.power_on()?;
        self.master.spawn("server", &program, &args)?;
        let ready = wait_until("the API answers", Duration::from_secs(20), || {
            if !self.kubeconfig().exists() {
                return Ok(Some("no kubeconfig yet".into()));
            }
            let answer = self.kubectl()?.output(&["get", "--raw", "/readyz"])?;
            let words = String::from_utf8_lossy(&answer.stderr).into_owned();
            Ok((!answer.status.success()).then_some(words))
        });
        ready.map(drop).with_context(|| self.report())
    }

    /// Adds a line to the configuration of all agents that join from now on.
    pub fn configure_agents(&mut self, line: &str) {
        self.agent_lines += &format!("{line}\n");
    }

    /// Joins a new board and starts its agent; does not wait until it is Ready.
    ///
    /// # Errors
    /// The board cannot join.
    pub fn add_agent(&mut self, name: &str) -> Result<()> {
        let last = 10 + u8::try_from(self.agents.len() + 1)?;
        let board = self.join_board(name, last)?;
        self.agents.push(board);
        self.start_agent(name)
    }

    /// Joins a new board at `10.77.N.LAST` and leaves it at that: it has a node's key and
    /// certificate, and no agent runs on it.
    ///
    /// # Errors
    /// The board cannot join.
    pub fn join_board(&self, name: &str, last: u8) -> Result<Board> {
        let [a, b, number, _] = self.master.address.octets();
        let address = Ipv4Addr::new(a, b, number, last);
        let namespace = self.lan.connect(name, address)?;
        let board =
            Board::new(&cgroup_name(number), name, address, namespace, &self.folder, &self.lan)?;
        let card = board.card.display();
        let config = self.agent_config(
            name,
            address,
            &format!("{card}/data"),
            &format!("{card}/run"),
            &board.cgroup_root(),
        );
        self.join(&board, &config)?;
        Ok(board)
    }

    /// Joins the master's own board and starts an agent beside the server: one machine alone is a
    /// cluster, too.
    ///
    /// # Errors
    /// As [`Cluster::add_agent`].
    pub fn add_agent_on_master(&mut self) -> Result<()> {
        let card = self.master.card.display();
        let config = self.agent_config(
            &self.master.name,
            self.master.address,
            &format!("{card}/agent"),
            &format!("{card}/run/agent"),
            &self.master.cgroup_root(),
        );
        self.join(&self.master, &config)?;
        let program = self.agent_program();
        let config = self.master.card.join("agent.toml").to_string_lossy().into_owned();
        self.master.spawn("agent", &program, &["run", "--config", &config])
    }

    fn join(&self, board: &Board, config: &str) -> Result<()> {
        let path = board.card.join("agent.toml");
        fs::write(&path, config)?;
        let token = self.token(&[])?;
        let path = path.to_string_lossy().into_owned();
        let args = ["join", &token, "--no-service", "--config", &path];
        let joined = board.command(&self.agent_program(), &args).output()?;
        text_of("bramble-agent", &args, &joined).with_context(|| self.report())?;
        Ok(())
    }

    /// Configuration of an agent: its own place, and the registry of this cluster.
    #[must_use]
    pub fn agent_config(
        &self,
        name: &str,
        address: Ipv4Addr,
        data: &str,
        run: &str,
        cgroup: &str,
    ) -> String {
        format!(
            "node = \"{name}\"\naddress = \"{address}\"\nserver = \"{server}:{API_PORT}\"\n\
             data-dir = \"{data}\"\nrun-dir = \"{run}\"\ncgroup-root = \"{cgroup}\"\n\
             plain-http-registries = [\"registry.local\"]\n{lines}",
            server = self.master.address,
            lines = self.agent_lines,
        )
    }

    /// Starts the agent of a board that has joined.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_agent(&mut self, name: &str) -> Result<()> {
        let program = self.agent_program();
        let board = self.agent_mut(name)?;
        board.power_on()?;
        let config = board.card.join("agent.toml").to_string_lossy().into_owned();
        board.spawn("agent", &program, &["run", "--config", &config])
    }

    /// Waits until all agents are Ready and returns how long it took.
    ///
    /// # Errors
    /// They are not, within half a minute; the error carries all logs.
    pub fn wait_until_ready(&self) -> Result<Duration> {
        let kubectl = self.kubectl()?;
        let count = self.agents.len();
        self.wait_until("all nodes Ready", Duration::from_secs(30), || {
            state::nodes_ready(&kubectl, count)
        })
    }

    /// As [`wait_until`], with the logs of all boards in the error.
    ///
    /// # Errors
    /// The state is not reached within `bound`.
    pub fn wait_until(
        &self,
        what: &str,
        bound: Duration,
        state: impl FnMut() -> Result<Option<String>>,
    ) -> Result<Duration> {
        wait_until(what, bound, state).with_context(|| self.report())
    }

    /// A new join token, made on the master's board.
    ///
    /// # Errors
    /// `bramble token create` fails or prints none.
    pub fn token(&self, flags: &[&str]) -> Result<String> {
        let data = self.master_data().to_string_lossy().into_owned();
        let printed = self.bramble(&[&["token", "create", "--data-dir", &data], flags].concat())?;
        let token = printed.split_whitespace().find(|word| word.starts_with("BR1"));
        token.map(str::to_owned).with_context(|| format!("no token in `{printed}`"))
    }

    /// Runs `bramble` on the master's board.
    ///
    /// # Errors
    /// It fails.
    pub fn bramble(&self, args: &[&str]) -> Result<String> {
        let output = self
            .master
            .command(&self.binaries.join("bramble"), args)
            .env("KUBECONFIG", self.kubeconfig())
            .output()?;
        text_of("bramble", args, &output)
    }

    /// kubectl with the kubeconfig that the master wrote.
    ///
    /// # Errors
    /// There is no kubectl.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::find(&self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.master_data().join("admin.kubeconfig")
    }

    /// Folder of the master's state.
    #[must_use]
    pub fn master_data(&self) -> PathBuf {
        self.master.card.join("data")
    }

    /// The master's board.
    #[must_use]
    pub fn master(&self) -> &Board {
        &self.master
    }

    /// The master's board.
    pub fn master_mut(&mut self) -> &mut Board {
        &mut self.master
    }

    /// Boards of the agents.
    #[must_use]
    pub fn agents(&self) -> &[Board] {
        &self.agents
    }

    /// An agent's board.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn agent(&self, name: &str) -> Result<&Board> {
        self.agents.iter().find(|board| board.name == name).context("no such board")
    }

    /// An agent's board.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn agent_mut(&mut self, name: &str) -> Result<&mut Board> {
        self.agents.iter_mut().find(|board| board.name == name).context("no such board")
    }

    /// The image registry.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The switch.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Path of the agent's binary.
    #[must_use]
    pub fn agent_program(&self) -> PathBuf {
        self.binaries.join("bramble-agent")
    }

    /// Where logs and cards are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what a cluster of this number has left on this machine: after a crash, or because
    /// it was to be kept.
    ///
    /// # Errors
    /// Not root.
    pub fn remove(number: u8) -> Result<()> {
        remove_left_overs(number, &folder(number));
        Lan::create(number).map(drop)
    }

    /// Leaves everything running when this program ends; [`Cluster::remove`] ends it later.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Checks that a power cut of all boards leaves nothing on this machine.
    ///
    /// # Errors
    /// Something is left.
    pub fn stop_and_check(mut self) -> Result<()> {
        for board in &mut self.agents {
            board.cut_power()?;
        }
        self.master.cut_power()?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let folder = self.folder.to_string_lossy().into_owned();
        ensure!(!mounts.contains(&folder), "mounts are left below {folder}");
        Ok(())
    }

    /// What is going on, for a failure's report.
    fn report(&self) -> String {
        let mut text = self.master.logs();
        for board in &self.agents {
            text += &board.logs();
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for board in &mut self.agents {
            let _ = board.cut_power();
        }
        let _ = self.master.cut_power();
        if std::thread::panicking() {
            println!("logs and cards are kept in {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn folder(number: u8) -> PathBuf {
    std::env::temp_dir().join(format!("bramble-cluster-{number}"))
}

fn cgroup_name(number: u8) -> String {
    format!("bramble{number}")
}

/// Ends what a crashed predecessor of the same number has left.
fn remove_left_overs(number: u8, folder: &Path) {
    // Without cgroups the start below fails with a reason of its own.
    let _ = Cgroup::remove_all(&format!("{}-", cgroup_name(number)));
    let _ = fs::remove_dir_all(folder);
}
