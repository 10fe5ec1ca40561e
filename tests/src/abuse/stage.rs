//! Where attacks happen: one cluster, an attacker's place with many addresses, a bystander's.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bystander::Bystander;
use super::memory_watch::MemoryWatch;
use super::still::Still;
use crate::api::{Api, Connection};
use crate::board::Board;
use crate::client_identity::{ClientIdentity, MASTERS};
use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::place::Place;
use crate::programs::run;
use crate::state;
use crate::wait::{now, pause};

/// Addresses of the attacker.
const CROWD: u8 = 20;
/// The object that the bystander asks for.
const BYSTANDER_PATH: &str = "/api/v1/namespaces/default/configmaps/bystander";
/// What the bystanders' pods are labelled with.
const BYSTANDER_PODS: &str = "app=bystander";
/// Namespace of everything that an attack creates.
pub(super) const NAMESPACE: &str = "abuse";
/// The node that an attack may cost: its agent runs, and no pod of the bystanders is on it.
pub(super) const SPARE: &str = "n3";
/// Time for a cluster to be whole again.
const SOON: Duration = Duration::from_secs(60);

/// Most memory of one process of ours: many times what may be taken, and still no danger to others.
const MEMORY_MAX: u64 = 3 << 30;

const PODS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: bystander}
spec:
  replicas: 3
  selector: {matchLabels: {app: bystander}}
  template:
    metadata: {labels: {app: bystander}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'registry.local/hello:1'}]
";

/// How much of everything an attack does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Enough to show the fault: `make test`.
    Short,
    /// As much as the fault was found with: `make abuse`.
    Full,
}

/// A cluster of two nodes and a spare one, with its attacker and its bystanders.
#[derive(Debug)]
pub struct Stage {
    cluster: Cluster,
    extent: Extent,
    attacker: Arc<Place>,
    bystander: Arc<Place>,
    kubectl: Kubectl,
    administrator: Api,
    evil_nodes: u8,
}

impl Stage {
    /// Builds it; `number` is the cluster's.
    ///
    /// # Errors
    /// The cluster does not come up.
    pub fn build(number: u8, extent: Extent) -> Result<Self> {
        let mut cluster = Cluster::start(number)?;
        // As on a card: other disks have a budget that no attack of some seconds uses up.
        cluster.configure_agents("log-budget-mib = 64");
        for name in ["n1", "n2", SPARE] {
            cluster.add_agent(name)?;
        }
        cluster.wait_until_ready()?;
        let kubectl = cluster.kubectl()?;
        kubectl.run(&["cordon", SPARE])?;
        kubectl.run(&["create", "configmap", "bystander", "--from-literal=a=1"])?;
        kubectl.apply(PODS)?;
        cluster.wait_until("the bystanders' pods", SOON, || {
            state::pods_ready(&kubectl, BYSTANDER_PODS, 3)
        })?;
        let place = |name, last, count| {
            Place::new(cluster.lan(), name, Ipv4Addr::new(10, 77, number, last), count)
        };
        let (attacker, bystander) = (Arc::new(place("crowd", 100, CROWD)?), place("by", 90, 1)?);
        // After the cluster's start, whose programs are to have the limit that users have.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        for board in std::iter::once(cluster.master()).chain(cluster.agents()) {
            bound_memory(board)?;
        }
        let administrator = Api::from_kubeconfig(&cluster.kubeconfig())?;
        let bystander = Arc::new(bystander);
        Ok(Self { cluster, extent, attacker, bystander, kubectl, administrator, evil_nodes: 0 })
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The administrator's kubectl.
    pub(super) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The attacker's namespace.
    pub(super) fn attacker(&self) -> &Arc<Place> {
        &self.attacker
    }

    /// `full`, or `short` when this is a short run.
    pub(super) fn count<T>(&self, short: T, full: T) -> T {
        match self.extent {
            Extent::Short => short,
            Extent::Full => full,
        }
    }

    /// Where the API and the heartbeats' port are.
    pub(super) fn administrator_address(&self) -> SocketAddr {
        self.administrator.address()
    }

    /// Ends it and checks that nothing is left on this machine.
    ///
    /// # Errors
    /// Something is.
    pub fn end(self) -> Result<()> {
        self.cluster.stop_and_check()
    }

    /// The API as somebody without a certificate sees it.
    pub(super) fn anonymous(&self, alpn: &[&[u8]]) -> Result<Api> {
        self.administrator.with_client(None, alpn)
    }

    /// The API as a person of this name and group.
    pub(super) fn person(&self, name: &str, group: &str) -> Result<Api> {
        let identity = ClientIdentity::sign(&self.cluster.master_data(), name, group)?;
        self.administrator.with_client(Some(&identity), &[])
    }

    /// The API as an administrator who has gone mad: not the one of the harness, nor the bystander.
    pub(super) fn mallory(&self) -> Result<Api> {
        self.person("mallory", MASTERS)
    }

    /// The API with this certificate.
    pub(super) fn api_of(&self, identity: &ClientIdentity, alpn: &[&[u8]]) -> Result<Api> {
        self.administrator.with_client(Some(identity), alpn)
    }

    /// A connection of mallory's, from the attacker's first address.
    pub(super) fn mallory_connected(&self) -> Result<Connection> {
        self.connect(&self.mallory()?)
    }

    /// A connection from the attacker's first address.
    pub(super) fn connect(&self, api: &Api) -> Result<Connection> {
        api.connect_over(self.attacker.connect(api.address(), Duration::from_secs(5))?)
    }

    /// A board that has joined as a node of a new name, and on which no agent runs.
    pub(super) fn evil_board(&mut self) -> Result<Board> {
        self.evil_nodes += 1;
        self.cluster.join_board(&format!("evil{}", self.evil_nodes), 20 + self.evil_nodes)
    }

    /// Starts the bystander.
    pub(super) fn start_bystander(&self) -> Result<Bystander> {
        let api = self.person("bystander", MASTERS)?;
        Ok(Bystander::start(Arc::clone(&self.bystander), api, BYSTANDER_PATH))
    }

    /// The daemons of master, nodes and spare node.
    pub(super) fn memory(&self) -> MemoryWatch {
        MemoryWatch::new(std::iter::once(self.cluster.master()).chain(self.cluster.agents()))
    }

    /// What must not move.
    pub(super) fn still(&self) -> Result<Still> {
        Still::look(&self.cluster, &self.kubectl, BYSTANDER_PODS)
    }

    /// Ids of the master's processes: it must not have been started anew.
    pub(super) fn master_processes(&self) -> Result<Vec<u32>> {
        self.cluster.master().processes_with("bramble server")
    }

    /// `kill -9` of the master, and a new start.
    ///
    /// # Errors
    /// It does not come back.
    pub(super) fn restart_master(&mut self) -> Result<()> {
        for pid in self.master_processes()? {
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        }
        self.cluster.start_master()?;
        bound_memory(self.cluster.master())
    }

    /// Makes the namespace for what an attack creates.
    pub(super) fn make_namespace(&self) -> Result<()> {
        self.kubectl.run(&["create", "namespace", NAMESPACE]).map(drop)
    }

    /// Removes that namespace, if it is there, with all that is in it.
    ///
    /// # Errors
    /// It stays.
    pub(super) fn remove_namespace(&self) -> Result<()> {
        let flags = ["--ignore-not-found", "--timeout=60s"];
        self.kubectl.run(&[&["delete", "namespace", NAMESPACE], &flags[..]].concat()).map(drop)
    }

    /// Creates a pod in the attacks' namespace with one container that runs a shell script.
    pub(super) fn run_script(&self, name: &str, node: &str, script: &str) -> Result<()> {
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main", "image": "registry.local/hello:1",
                    "command": ["sh", "-c", script],
                }],
            },
        });
        self.kubectl.apply(&pod.to_string()).map(drop)
    }

    /// Waits for a phase of a pod in the attacks' namespace.
    pub(super) fn wait_for_phase(&self, name: &str, phases: &[&str]) -> Result<()> {
        let waited = self.cluster.wait_until(&format!("{name} {phases:?}"), SOON, || {
            let flags = ["-n", NAMESPACE, "-o", "jsonpath={.status.phase}"];
            let phase = self.kubectl.run(&[&["get", "pod", name], &flags[..]].concat())?;
            Ok((!phases.contains(&phase.as_str())).then_some(phase))
        });
        waited.map(drop)
    }

    /// Lines of the master's log.
    pub(super) fn master_log_lines(&self) -> usize {
        let path = self.cluster.master().card.join("server.log");
        fs::read(path).map_or(0, |log| log.iter().filter(|byte| **byte == b'\n').count())
    }

    /// How many panics master and agents have written down: a bad request is not to cause one,
    /// even where it ends nothing but itself.
    pub(super) fn panics(&self) -> usize {
        let boards = std::iter::once(self.cluster.master()).chain(self.cluster.agents());
        let logs =
            boards.flat_map(|board| ["server.log", "agent.log"].map(|log| board.card.join(log)));
        logs.filter_map(|log| fs::read_to_string(log).ok())
            .map(|text| text.matches(" panicked at ").count())
            .sum()
    }

    /// Waits until the agent on a node answers for its node link: a log comes through it.
    ///
    /// # Errors
    /// It does not within `bound`.
    pub(super) fn link_works(&self, bound: Duration) -> Result<()> {
        let list = self.kubectl.json(&["get", "pods", "-l", BYSTANDER_PODS])?;
        let start = now();
        for pod in state::items(&list) {
            let name = state::text(pod, "/metadata/name");
            loop {
                let answer = self.kubectl.output(&["logs", name, "--tail=1"])?;
                if answer.status.success() {
                    break;
                }
                let words = String::from_utf8_lossy(&answer.stderr).into_owned();
                ensure!(start.elapsed() < bound, "no log of {name} through its link: {words}");
                pause(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    /// Kills the agent's process that holds the node link of `node`; its supervisor starts another.
    pub(super) fn restart_link(&self, node: &str) -> Result<()> {
        let board = self.cluster.agent(node)?;
        let agents = board.processes_with("bramble-agent agent")?;
        let pid = *agents.first().with_context(|| format!("no agent process on {node}"))?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?)
    }
}

/// An attack that succeeds must not take this whole machine's memory; what the daemons start
/// inherits the bound.
fn bound_memory(board: &Board) -> Result<()> {
    let bytes = format!("--data={MEMORY_MAX}");
    for pid in board.daemons()? {
        run("prlimit", &["--pid", &pid.to_string(), &bytes])?;
    }
    Ok(())
}
