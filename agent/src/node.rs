//! What the parts of the agent share, and how they are started.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bramble_agent_core::desired::Desired;
use bramble_agent_core::environment::NodeResources;
use bramble_image::{ImageService, ImageStore, Registries, RegistryConfig};
use bramble_runtime::run_dir::RunDir;
use bramble_shared::heartbeat_sender::SenderIdentity;
use bramble_shared::ids::Incarnation;
use bramble_shared::link::Accepted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control;
use crate::facts;
use crate::fence_link::FenceLink;
use crate::heartbeat::Heartbeat;
use crate::identity::{self, Identity, LoadIdentityError};
use crate::link_client::{self, Introduction};
use crate::pod_manager::PodManager;
use crate::progress::Progress;
use crate::runtime_link::RuntimeLink;
use crate::volumes::PodFolders;

/// What the parts of the agent share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) server: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) resources: NodeResources,
    pub(crate) images: ImageService,
    pub(crate) image_store: ImageStore,
    pub(crate) runtime: RuntimeLink,
    pub(crate) progress: Arc<Progress>,
    desired: RwLock<Desired>,
    accepted: RwLock<Option<Accepted>>,
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunAgentError {
    /// The board has not joined.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// A setting is missing.
    #[error("no {what} is configured; join with `bramble-agent join`, or give --{what}")]
    Missing { what: &'static str },
    /// The system refuses.
    #[error("could not {what}")]
    System {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// Images cannot be kept.
    #[error("could not open the image store")]
    Images(#[source] bramble_image::OpenStoreError),
    /// Registries cannot be asked.
    #[error("could not set up image pulls")]
    Pulls(#[source] bramble_image::NewImageServiceError),
    /// Nobody knows how other nodes reach this one.
    #[error("could not tell the address of this node; give it with --address")]
    Address(#[source] io::Error),
}

impl Node {
    /// Desired state, for reading.
    pub(crate) fn desired(&self) -> RwLockReadGuard<'_, Desired> {
        self.desired.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Desired state, for the pod manager.
    pub(crate) fn desired_mut(&self) -> RwLockWriteGuard<'_, Desired> {
        self.desired.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the master said last; none before the first welcome of this boot.
    pub(crate) fn accepted(&self) -> Option<Accepted> {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what the master says.
    pub(crate) fn set_accepted(&self, accepted: Accepted) {
        *self.accepted.write().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
    }

    /// The folders of a pod.
    pub(crate) fn folders(&self, uid: &str) -> PodFolders {
        PodFolders::new(&self.config.data_dir, &self.config.run_dir, uid)
    }

    /// Where records of pods are kept.
    pub(crate) fn records_dir(&self) -> PathBuf {
        self.config.run_dir.join("records")
    }
}

/// Runs the agent until SIGTERM; pods go on afterwards.
///
/// # Errors
///
/// When the board has not joined or something that the agent cannot work without is missing.
pub(crate) async fn run(config: Config) -> Result<(), RunAgentError> {
    let system = |what| move |source| RunAgentError::System { what, source };
    // Said here and not at the first dial: a person may be watching.
    let _readable = Identity::load(&config.identity_dir())?;
    let name = config.node.clone().ok_or(RunAgentError::Missing { what: "node" })?;
    let server = config.server.clone().ok_or(RunAgentError::Missing { what: "server" })?;
    let address = match config.address {
        Some(address) => address,
        None => own_address(&server).map_err(RunAgentError::Address)?,
    };
    let run_dir = RunDir::new(&config.run_dir);
    run_dir.create().map_err(system("make the run directory"))?;
    for folder in ["pods", "records"] {
        std::fs::create_dir_all(config.run_dir.join(folder))
            .map_err(system("make the run directory"))?;
    }
    let incarnation = Incarnation(
        identity::next_incarnation(&config.data_dir)
            .map_err(system("write to the data directory"))?,
    );
    let boot_id = facts::boot_id().map_err(system("read the boot id"))?;
    let facts = facts::gather(&config, &name, address);
    let image_store = ImageStore::open(&config.data_dir).map_err(RunAgentError::Images)?;
    let images = ImageService::new(image_store.clone(), registries(&config))
        .map_err(RunAgentError::Pulls)?;
    let progress = Arc::new(Progress::default());
    let (notices, from_runtime) = mpsc::channel(256);
    let runtime = RuntimeLink::start(run_dir.runtime_socket(), notices);
    let fence = FenceLink::new(run_dir.fence_socket());
    let identity = SenderIdentity { boot_id, incarnation };
    let seed = incarnation.0 ^ u64::from(u32::from(address));
    let heartbeat = Heartbeat::start(identity, seed, fence, Arc::clone(&progress))
        .map_err(system("start the heartbeat thread"))?;
    let node = Arc::new(Node {
        resources: NodeResources { cpu_milli: facts.cpu_milli, memory_bytes: facts.memory_bytes },
        name,
        server,
        address,
        images,
        image_store,
        runtime,
        progress,
        desired: RwLock::default(),
        accepted: RwLock::default(),
        config,
    });
    let introduction =
        Introduction { boot_id, serial: facts::serial(&facts.machine_id), incarnation, facts };
    let (events, from_link) = mpsc::channel(256);
    let unreachable = heartbeat.unreachable.clone();
    let manager = PodManager::new(Arc::clone(&node), unreachable);
    let mut terminate = signal(SignalKind::terminate()).map_err(system("watch for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("watch for SIGINT"))?;
    tracing::info!(node = %node.name, server = %node.server, address = %node.address, "agent starts");
    let served = control::serve(Arc::clone(&node));
    tokio::select! {
        result = served => result.map_err(system("serve commands"))?,
        () = manager.run(from_link, from_runtime) => {}
        () = link_client::run(Arc::clone(&node), introduction, heartbeat, events) => {}
        _ = terminate.recv() => tracing::info!("agent ends, pods go on"),
        _ = interrupt.recv() => tracing::info!("agent ends, pods go on"),
    }
    Ok(())
}

fn registries(config: &Config) -> Registries {
    let mut registries = Registries::default();
    for host in &config.plain_http_registries {
        let entry = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        registries.registries.insert(host.clone(), entry);
    }
    registries
}

/// The address that this board has towards the master. Nothing is sent for it.
fn own_address(server: &str) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    match socket.local_addr()?.ip() {
        std::net::IpAddr::V4(address) => Ok(address),
        std::net::IpAddr::V6(_) => Err(io::Error::other("the master's address is IPv6")),
    }
}
