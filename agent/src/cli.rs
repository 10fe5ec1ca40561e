//! What a person types: `bramble-agent join`, `run`, `leave`, `image`, `self-check`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bramble_image::{ImageStore, OpenStoreError};
use bramble_runtime::fence::{FenceConfig, RunFenceError, run_fence};
use bramble_runtime::log_writer::{LogWriterConfig, RunLogWriterError, run_log_writer};
use bramble_runtime::process::die_with_parent;
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::runtime::{RunRuntimeError, RuntimeConfig, run_runtime};
use bramble_runtime::supervisor::{ChildCommand, SuperviseError, SupervisorConfig, supervise};
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, File, LoadConfigError};
use crate::control::{self, ControlReply, ControlRequest, ImageRow};
use crate::facts;
use crate::join::{JoinError, join};
use crate::join_token::{JoinToken, ParseJoinTokenError};
use crate::leave::{LeaveError, leave};
use crate::node::{self, RunAgentError};
use crate::self_check;
use crate::server_address::Finder;
use crate::systemd::{self, ServiceError};

/// Runs the pods of one board of a bramble.
#[derive(Debug, Parser)]
#[command(name = "bramble-agent", version, about)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
struct Flags {
    /// Configuration file [default: /etc/bramble/agent.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State that outlives the boot [default: /var/lib/bramble-agent]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// State of this boot; a tmpfs [default: /run/bramble-agent]
    #[arg(long, global = true, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Name of the node [default: the host name]
    #[arg(long, global = true)]
    node: Option<String>,
    /// Address of the master
    #[arg(long, global = true, value_name = "HOST:PORT")]
    server: Option<String>,
    /// Address by which other nodes reach this one [default: the one towards the master]
    #[arg(long, global = true)]
    address: Option<Ipv4Addr>,
    /// Cgroup of everything that the agent runs [default: /bramble]
    #[arg(long, global = true, value_name = "PATH")]
    cgroup_root: Option<String>,
    /// Name of the pods' bridge [default: bramble0]
    #[arg(long, global = true)]
    bridge: Option<String>,
    /// A registry that is asked without TLS; may be given several times
    #[arg(long = "plain-http-registry", global = true, value_name = "HOST[:PORT]")]
    plain_http_registries: Vec<String>,
    /// A label of the node; may be given several times
    #[arg(long = "label", global = true, value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Most pods of the node [default: 110]
    #[arg(long, global = true)]
    pods_max: Option<u32>,
    /// Tells more: once for decisions, twice for every packet
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this board a node of a cluster
    Join {
        /// Token from `bramble token create`
        token: String,
        /// Only joins: installs and starts no service
        #[arg(long)]
        no_service: bool,
    },
    /// Undoes a join: stops all pods and removes everything
    Leave,
    /// Runs the agent and all of its processes
    Run {
        /// Joins first, if this board is no node yet
        #[arg(long)]
        token: Option<String>,
        /// Stops all pods when the agent is stopped; otherwise they go on
        #[arg(long)]
        stop_pods: bool,
    },
    /// Images of this board
    #[command(subcommand)]
    Image(ImageCommand),
    /// Says what this board has of what the agent needs
    SelfCheck,
    /// Prints the version
    Version,
    #[command(hide = true)]
    Agent,
    #[command(hide = true)]
    Runtime {
        #[arg(long)]
        supervisor_fd: Option<i32>,
    },
    #[command(hide = true)]
    Fence,
    #[command(hide = true)]
    LogWriter,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Imports an OCI or docker archive
    Import {
        /// The archive
        file: PathBuf,
    },
    /// Lists the images of this board
    List,
}

/// Time of the fence's watchdog in seconds: what the lease's arithmetic counts with.
const FENCE_WATCHDOG_S: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Not enough rights.
    #[error("the agent must be run as root")]
    NotRoot,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] LoadConfigError),
    /// The token.
    #[error(transparent)]
    Token(#[from] ParseJoinTokenError),
    /// Something is missing on the command line.
    #[error("give the address of the master with --server HOST:PORT")]
    NoServer,
    /// The join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The service.
    #[error("the board has joined, but its service could not be set up")]
    Service(#[from] ServiceError),
    /// Leaving.
    #[error(transparent)]
    Leave(#[from] LeaveError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] RunAgentError),
    /// The supervisor.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// The runtime process.
    #[error(transparent)]
    Runtime(#[from] RunRuntimeError),
    /// The fence.
    #[error(transparent)]
    Fence(#[from] RunFenceError),
    /// The log writer.
    #[error(transparent)]
    LogWriter(#[from] RunLogWriterError),
    /// The image store.
    #[error("could not open the image store")]
    Images(#[source] OpenStoreError),
    /// An image command.
    #[error("{0}")]
    Image(String),
    /// The system refuses.
    #[error("could not {what}")]
    System {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// The board lacks something.
    #[error("this board lacks what the agent needs")]
    Unfit,
}

impl Cli {
    /// How much the logs tell.
    pub(crate) fn level(&self) -> tracing::Level {
        match self.flags.verbose {
            0 => tracing::Level::INFO,
            1 => tracing::Level::DEBUG,
            _ => tracing::Level::TRACE,
        }
    }

    /// Does what was typed.
    ///
    /// # Errors
    ///
    /// Why it could not be done.
    pub(crate) fn run(self) -> Result<(), CommandError> {
        let Self { flags, command } = self;
        match &command {
            Command::Version => return say(concat!("bramble-agent ", env!("CARGO_PKG_VERSION"))),
            Command::SelfCheck => return check(),
            Command::Join { .. }
            | Command::Leave
            | Command::Run { .. }
            | Command::Image(_)
            | Command::Agent
            | Command::Runtime { .. }
            | Command::Fence
            | Command::LogWriter => {}
        }
        if !rustix::process::geteuid().is_root() {
            return Err(CommandError::NotRoot);
        }
        let config = Config::load(flags.config.as_deref(), &flags.file())?;
        match command {
            Command::Version | Command::SelfCheck => Ok(()),
            Command::Join { token, no_service } => {
                join_board(&config, &token)?;
                set_up_service(&flags, no_service)
            }
            Command::Leave => {
                for line in asynchronous(leave(&config))?? {
                    say(&line)?;
                }
                Ok(())
            }
            Command::Run { token, stop_pods } => {
                let joined = config.identity_dir().join("node.der").exists();
                if let Some(token) = token.filter(|_| !joined) {
                    join_board(&config, &token)?;
                }
                run_all(&config, &flags, stop_pods)
            }
            Command::Image(ImageCommand::Import { file }) => {
                let path = std::path::absolute(&file)
                    .map_err(|source| CommandError::System { what: "find the file", source })?;
                for row in images(&config, &ControlRequest::ImportImage(path))? {
                    say(&format!("imported {} {}", row.reference, row.digest))?;
                }
                Ok(())
            }
            Command::Image(ImageCommand::List) => {
                say(&format!("{:<60} {:<20} {:>10}", "IMAGE", "DIGEST", "SIZE"))?;
                for row in images(&config, &ControlRequest::ListImages)? {
                    let digest = row.digest.get(..19).unwrap_or(&row.digest);
                    let mib = row.bytes.div_ceil(1 << 20);
                    say(&format!("{:<60} {digest:<20} {mib:>6} MiB", row.reference))?;
                }
                Ok(())
            }
            Command::Agent => {
                // A supervisor that was killed must not leave an agent that holds the image store.
                die_with_parent().map_err(|source| CommandError::System {
                    what: "watch the supervisor",
                    source,
                })?;
                asynchronous(node::run(config))?.map_err(CommandError::Agent)
            }
            Command::Runtime { supervisor_fd } => {
                let run_dir = RunDir::new(&config.run_dir);
                Ok(run_runtime(&RuntimeConfig { run_dir, supervisor_fd })?)
            }
            Command::Fence => {
                let root = config.cgroup_root.trim_end_matches('/');
                Ok(run_fence(&FenceConfig {
                    run_dir: RunDir::new(&config.run_dir),
                    singletons_cgroup: format!("{root}/singletons"),
                    watchdog: config.watchdog.map(|path| (path, FENCE_WATCHDOG_S)),
                })?)
            }
            Command::LogWriter => {
                let defaults = LogWriterConfig::new(RunDir::new(&config.run_dir));
                let budget_per_day = config.log_budget;
                Ok(run_log_writer(&LogWriterConfig { budget_per_day, ..defaults })?)
            }
        }
    }
}

impl Flags {
    fn file(&self) -> File {
        File {
            node: self.node.clone(),
            server: self.server.clone(),
            data_dir: self.data_dir.clone(),
            run_dir: self.run_dir.clone(),
            address: self.address,
            cgroup_root: self.cgroup_root.clone(),
            bridge: self.bridge.clone(),
            plain_http_registries: self.plain_http_registries.clone(),
            labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            pods_max: self.pods_max,
            ..File::default()
        }
    }

    /// The flags again, for a child process.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        let path = |path: &Option<PathBuf>| {
            path.as_deref().map(Path::to_string_lossy).map(std::borrow::Cow::into_owned)
        };
        add("config", path(&self.config));
        add("data-dir", path(&self.data_dir));
        add("run-dir", path(&self.run_dir));
        add("node", self.node.clone());
        add("server", self.server.clone());
        add("address", self.address.map(|address| address.to_string()));
        add("cgroup-root", self.cgroup_root.clone());
        add("bridge", self.bridge.clone());
        add("pods-max", self.pods_max.map(|max| max.to_string()));
        for registry in &self.plain_http_registries {
            add("plain-http-registry", Some(registry.clone()));
        }
        for (key, value) in &self.labels {
            add("label", Some(format!("{key}={value}")));
        }
        for _ in 0..self.verbose {
            arguments.push("--verbose".to_owned());
        }
        arguments
    }
}

/// Joins with a token and keeps what the next start needs.
fn join_board(config: &Config, token: &str) -> Result<(), CommandError> {
    let token = JoinToken::parse(token)?;
    let server = config.server.clone().ok_or(CommandError::NoServer)?;
    let node = config.node.clone().unwrap_or_else(facts::host_name);
    let finder = Finder::new(config, &node);
    asynchronous(join(&token, &finder, &server, &node, &config.identity_dir()))??;
    config::write_joined(&config.data_dir, &node, &server)
        .map_err(|source| CommandError::System { what: "keep the configuration", source })?;
    say(&format!("joined the cluster at {server} as node `{node}`"))?;
    say(&format!("  key, certificate and settings are in {}", config.data_dir.display()))
}

fn set_up_service(flags: &Flags, no_service: bool) -> Result<(), CommandError> {
    if no_service || !systemd::present() {
        return say("  start the agent with: bramble-agent run");
    }
    let program = std::env::current_exe()
        .map_err(|source| CommandError::System { what: "find this program", source })?;
    systemd::install(&program, &flags.arguments())?;
    say(&format!("  installed and started the service bramble-agent ({})", systemd::UNIT))?;
    say("  undo all of it with: bramble-agent leave")
}

/// Starts all processes and keeps them running. No thread may exist in this process.
fn run_all(config: &Config, flags: &Flags, stop_pods: bool) -> Result<(), CommandError> {
    let child = |name: &str| {
        let mut args = vec![name.to_owned()];
        args.extend(flags.arguments());
        let parks = name == "runtime";
        ChildCommand { parks, ..ChildCommand::of_this_program(name, args) }
    };
    let children = ["fence", "log-writer", "runtime", "agent"].map(child).to_vec();
    // Said here once, not by a child again and again. With a token, the agent sees to it itself.
    if config.token.is_none() {
        let identity = crate::identity::Identity::load(&config.identity_dir());
        identity.map_err(|error| CommandError::Agent(RunAgentError::Identity(error)))?;
    }
    let supervisor = SupervisorConfig {
        run_dir: RunDir::new(&config.run_dir),
        stop_pods,
        cgroup_root: config.cgroup_root.clone(),
        protect_from_oom: true,
        first_process: false,
    };
    Ok(supervise(&supervisor, children)?)
}

/// Does an image command: in the agent if one runs, since only one process may use the store.
fn images(config: &Config, request: &ControlRequest) -> Result<Vec<ImageRow>, CommandError> {
    let reply = match ImageStore::open(&config.data_dir) {
        Ok(store) => control::perform(&store, request),
        Err(OpenStoreError::InUse { .. }) => control::ask(&config.run_dir, request)
            .map_err(|source| CommandError::System { what: "ask the running agent", source })?,
        Err(error) => return Err(CommandError::Images(error)),
    };
    match reply {
        ControlReply::Images(rows) => Ok(rows),
        ControlReply::Failed(message) => Err(CommandError::Image(message)),
    }
}

fn check() -> Result<(), CommandError> {
    let mut fit = true;
    for finding in self_check::findings() {
        let mark = if finding.mend.is_some() { "!" } else { "ok" };
        fit &= finding.mend.is_none();
        say(&format!("{mark:<3} {:<13} {}", finding.what, finding.found))?;
        if let Some(mend) = finding.mend {
            say(&format!("    {:<13} -> {mend}", ""))?;
        }
    }
    if fit { Ok(()) } else { Err(CommandError::Unfit) }
}

fn asynchronous<F: Future>(future: F) -> Result<F::Output, CommandError> {
    // A supervisor reads its signals from a descriptor and so blocks them, which children and
    // threads inherit.
    nix::sys::signal::SigSet::all()
        .thread_unblock()
        .map_err(|error| CommandError::System { what: "unblock signals", source: error.into() })?;
    // Two threads are enough: what is slow runs on the blocking pool.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .map_err(|source| CommandError::System { what: "start threads", source })?;
    let output = runtime.block_on(future);
    // A pull may hang in the resolver; nothing waits for it.
    runtime.shutdown_background();
    Ok(output)
}

fn say(line: &str) -> Result<(), CommandError> {
    writeln!(io::stdout(), "{line}")
        .map_err(|source| CommandError::System { what: "write the answer", source })
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a label has the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn children_get_the_same_flags() {
        let parse = |arguments: &[String]| {
            let program = ["bramble-agent".to_owned(), "agent".to_owned()];
            Cli::try_parse_from(program.iter().chain(arguments)).unwrap()
        };
        let arguments = [
            "--data-dir=/d",
            "--node=pi-1",
            "--label=a=b",
            "--plain-http-registry=r:5000",
            "-vv",
            "--address=10.0.0.2",
        ];
        let first = parse(&arguments.map(str::to_owned));
        let second = parse(&first.flags.arguments());
        assert_eq!(first.flags.file(), second.flags.file());
        assert_eq!(second.flags.verbose, 2);
    }
}
