//! What the parts of the agent share, and how they are started.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bramble_agent_core::desired::Desired;
use bramble_agent_core::environment::{NodeResources, World};
use bramble_image::{ImageService, ImageStore, OpenStoreError, Registries, RegistryConfig};
use bramble_runtime::run_dir::RunDir;
use bramble_shared::heartbeat_sender::SenderIdentity;
use bramble_shared::ids::Incarnation;
use bramble_shared::link::Accepted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::clock;
use crate::config::Config;
use crate::control;
use crate::facts;
use crate::fence_link::FenceLink;
use crate::heartbeat::Heartbeat;
use crate::identity::{self, Identity, LoadIdentityError};
use crate::image_care;
use crate::interfaces;
use crate::join_patiently::join_patiently;
use crate::join_token::ParseJoinTokenError;
use crate::link_client::{self, Introduction};
use crate::log_budgets;
use crate::logs::LogReaders;
use crate::mdns;
use crate::memory;
use crate::pod_manager::PodManager;
use crate::progress::Progress;
use crate::readiness;
use crate::runtime_link::RuntimeLink;
use crate::server_address::Finder;
use crate::streams::StreamPlaces;
use crate::tokens::TokenLink;
use crate::upgrade;
use crate::vitals;
use crate::volumes::PodFolders;
use crate::wall_clock::WallClock;

/// Longest wait for the image store, and the interval at which it is tried.
const STORE_WAIT_MAX: embassy_time::Duration = embassy_time::Duration::from_secs(10);
const STORE_LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What the parts of the agent share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) server: String,
    pub(crate) finder: Finder,
    pub(crate) resources: NodeResources,
    pub(crate) images: ImageService,
    pub(crate) image_store: ImageStore,
    pub(crate) runtime: RuntimeLink,
    pub(crate) wall_clock: Arc<WallClock>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) log_readers: LogReaders,
    pub(crate) tokens: TokenLink,
    pub(crate) stream_places: StreamPlaces,
    /// A pull found no room on the disk.
    pub(crate) no_room: Notify,
    desired: RwLock<Desired>,
    accepted: RwLock<Option<Accepted>>,
    /// A new system is being written, or has been and waits for its boot.
    pub(crate) upgrading: AtomicBool,
    /// Addresses of the pods that have one of their own, by uid.
    pod_ips: RwLock<BTreeMap<String, Ipv4Addr>>,
    /// Port of cluster DNS at its address, 0 until it answers.
    pub(crate) dns_port: AtomicU16,
    /// As a number, so that it can change: the network deals it, unless it is configured.
    address: AtomicU32,
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
    /// The board could not join.
    #[error(transparent)]
    Token(#[from] ParseJoinTokenError),
    /// Images cannot be kept.
    #[error("could not open the image store")]
    Images(#[source] OpenStoreError),
    /// Registries cannot be asked.
    #[error("could not set up image pulls")]
    Pulls(#[source] bramble_image::NewImageServiceError),
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

    /// What a pod with this address can be told of its surroundings.
    pub(crate) fn world<'a>(&'a self, desired: &'a Desired, pod_ip: Ipv4Addr) -> World<'a> {
        World {
            node_name: &self.name,
            host_ip: self.address(),
            pod_ip,
            node: self.resources,
            data: &desired.data,
            services: &desired.services,
        }
    }

    /// The address by which other nodes reach this one; unspecified until the first dial.
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.address.load(Ordering::Relaxed))
    }

    /// Notes the address of this dial, unless one is configured, and returns what counts.
    pub(crate) fn seen_at(&self, address: Ipv4Addr) -> Ipv4Addr {
        let counts = self.config.address.unwrap_or(address);
        let before = self.address.swap(counts.into(), Ordering::Relaxed);
        if before != u32::from(counts) {
            tracing::info!(address = %counts, "address of this node");
        }
        counts
    }

    /// Addresses of the pods that have one of their own, by uid.
    pub(crate) fn pod_ips(&self) -> RwLockReadGuard<'_, BTreeMap<String, Ipv4Addr>> {
        self.pod_ips.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the address of a pod, or that it has none any more.
    pub(crate) fn set_pod_ip(&self, uid: &str, ip: Option<Ipv4Addr>) {
        let mut ips = self.pod_ips.write().unwrap_or_else(PoisonError::into_inner);
        match ip {
            Some(ip) => drop(ips.insert(uid.to_owned(), ip)),
            None => drop(ips.remove(uid)),
        }
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
    let mut config = config;
    if config.token.is_some() && config.node.is_none() {
        config.node = Some(facts::host_name());
    }
    let name = config.node.clone().ok_or(RunAgentError::Missing { what: "node" })?;
    let server = config.server.clone().ok_or(RunAgentError::Missing { what: "server" })?;
    let finder = Finder::new(&config, &name);
    upgrade::resume(config.boot_report.as_deref());
    // Dropping them ends them.
    let mut helpers = JoinSet::new();
    if config.mdns {
        // Before the join: the master's own agent finds its master by it, and so do people.
        helpers.spawn(mdns::serve(name.clone(), config.bridge.clone()));
    }
    let wall_clock = Arc::new(WallClock::open(&config.data_dir));
    if !config.ntp_servers.is_empty() {
        let (clock, servers) = (Arc::clone(&wall_clock), config.ntp_servers.clone());
        helpers.spawn(async move { clock.follow_servers(servers).await });
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(system("watch for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("watch for SIGINT"))?;
    if let Some(token) = config.token.clone() {
        tokio::select! {
            joined = join_patiently(&config, &token, &finder, &server, &name) => joined?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    // Said here and not at the first dial: a person may be watching.
    let _readable = Identity::load(&config.identity_dir())?;
    let address = config
        .address
        .unwrap_or_else(|| interfaces::outward(&config.bridge).unwrap_or(Ipv4Addr::UNSPECIFIED));
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
    let image_store = open_images(&config.data_dir).await.map_err(RunAgentError::Images)?;
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
    let card = vitals::card_statistics(&config.data_dir, config.boot_report.is_some());
    helpers.spawn(vitals::keep(card, Arc::clone(&progress)));
    helpers.spawn(memory::keep());
    helpers.spawn(readiness::keep(
        config.run_dir.join(readiness::FILE),
        boot_id,
        Arc::clone(&progress),
    ));
    if keeps_time(&config) {
        let clock = Arc::clone(&wall_clock);
        helpers.spawn(async move { clock.keep().await });
    }
    let node = Arc::new(Node {
        resources: NodeResources { cpu_milli: facts.cpu_milli, memory_bytes: facts.memory_bytes },
        name,
        server,
        finder,
        images,
        image_store,
        runtime,
        wall_clock,
        progress,
        log_readers: LogReaders::default(),
        tokens: TokenLink::default(),
        stream_places: StreamPlaces::default(),
        no_room: Notify::new(),
        desired: RwLock::default(),
        accepted: RwLock::default(),
        upgrading: AtomicBool::new(false),
        dns_port: AtomicU16::new(0),
        pod_ips: RwLock::default(),
        address: AtomicU32::new(address.into()),
        config,
    });
    let introduction =
        Introduction { boot_id, serial: facts::serial(&facts.machine_id), incarnation, facts };
    let (events, from_link) = mpsc::channel(256);
    let unreachable = heartbeat.unreachable.clone();
    let manager = PodManager::new(Arc::clone(&node), unreachable);
    helpers.spawn(image_care::keep(Arc::clone(&node)));
    if let Some(budget) = node.config.log_budget {
        helpers.spawn(log_budgets::tell(run_dir, budget, manager.events()));
    }
    tracing::info!(node = %node.name, server = %node.server, %address, "agent starts");
    let served = control::serve(Arc::clone(&node));
    tokio::select! {
        result = served => result.map_err(system("serve commands"))?,
        () = manager.run(from_link, from_runtime) => {}
        () = link_client::run(Arc::clone(&node), introduction, heartbeat, events) => {}
        _ = terminate.recv() => tracing::info!("agent ends, pods go on"),
        _ = interrupt.recv() => tracing::info!("agent ends, pods go on"),
    }
    if keeps_time(&node.config) {
        node.wall_clock.note();
    }
    Ok(())
}

/// Opens the image store. The agent before, or a command, may be about to give it back: ending at
/// once would have the supervisor start agents in a row, each of which writes to the disk.
async fn open_images(data_dir: &Path) -> Result<ImageStore, OpenStoreError> {
    let latest = clock::now().instant + STORE_WAIT_MAX;
    loop {
        match ImageStore::open(data_dir) {
            Err(OpenStoreError::InUse { .. }) if clock::now().instant < latest => {
                tokio::time::sleep(STORE_LOOK_INTERVAL).await;
            }
            opened => return opened,
        }
    }
}

/// Whether this board's clock is the agent's concern, and so its time worth remembering.
fn keeps_time(config: &Config) -> bool {
    config.set_clock || !config.ntp_servers.is_empty()
}

fn registries(config: &Config) -> Registries {
    let mut registries = Registries::default();
    for host in &config.plain_http_registries {
        let entry = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        registries.registries.insert(host.clone(), entry);
    }
    registries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_image_store_that_is_about_to_be_given_back_is_waited_for() {
        bramble_clock::install();
        let folder = tempfile::tempdir().unwrap();
        let first = open_images(folder.path()).await.unwrap();
        let second = tokio::spawn({
            let path = folder.path().to_owned();
            async move { open_images(&path).await.map(drop) }
        });
        tokio::time::sleep(STORE_LOOK_INTERVAL).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap().unwrap();
    }
}
