//! `bramble server`: puts the parts together and runs them until a signal comes.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bramble_api::Status;
use bramble_process::{LOOK_INTERVAL, Memory, panics};
use bramble_shared::link::Ipv4Range;
use bramble_store::StoreError;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::access::{self, Access, AccountTokens, AuditLog, Authorizer, OpenAuditLogError};
use crate::bootstrap::{self, ApiAddress};
use crate::config::Config;
use crate::control::{self, StartControlError};
use crate::custom::Definitions;
use crate::durable_state::{self, OpenStateError};
use crate::http::{self, Api, GIT_VERSION, TlsError};
use crate::objects::{AdmissionConfig, Objects, store_status};
use crate::open_files;
use crate::pki::{Identity, IdentityError, Origin};
use crate::telemetry;
use crate::token::Tokens;

/// Threads for control loop, node links and connections; requests have their own, see `pool.rs`. A
/// Pi has four cores, and most of them belong to the workload.
const WORKERS: usize = 2;
/// Stack of each thread, in bytes: the deepest recursion is a body nested 128 deep.
const STACK_BYTES: usize = 512 * 1024;

/// Why the master does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// The runtime could not be started.
    #[error("could not start the threads")]
    Runtime(#[source] io::Error),
    /// The port could not be had.
    #[error(
        "could not listen on {address}: the port is in use; is another master or API server running?"
    )]
    PortInUse { address: SocketAddr },
    /// The address could not be had.
    #[error("could not listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The pods would be given addresses of the LAN.
    #[error(
        "the network {network}/{prefix_len} of this board overlaps with the {setting} {}/{}: set \
         `{setting}` to another range before the first start, or give the network other addresses",
        range.network,
        range.prefix_len
    )]
    Overlap { network: Ipv4Addr, prefix_len: u32, setting: &'static str, range: Ipv4Range },
    /// Identity or store.
    #[error(transparent)]
    State(#[from] OpenStateError),
    /// Certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit log's file.
    #[error(transparent)]
    AuditLog(#[from] OpenAuditLogError),
    /// The first objects could not be written or read.
    #[error("could not prepare the cluster's first objects")]
    Bootstrap(#[from] Status),
    /// Heartbeats, node link or control loop.
    #[error(transparent)]
    Control(#[from] StartControlError),
    /// Signals could not be received.
    #[error("could not wait for signals")]
    Signals(#[source] io::Error),
    /// The disk failed; whoever supervises this process starts it again, and what was answered is
    /// read back.
    #[error("the master cannot go on without its store")]
    Store(#[source] StoreError),
}

/// Runs the master until SIGTERM or SIGINT.
///
/// # Errors
///
/// When it cannot be started, or its store's disk fails.
pub(crate) fn run(config: &Config) -> Result<(), ServerError> {
    panics::end_process();
    bramble_process::heap::bound();
    open_files::raise_limit();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(STACK_BYTES)
        .thread_name("bramble")
        .enable_all()
        .build()
        .map_err(ServerError::Runtime)?;
    runtime.block_on(serve(config))
}

async fn serve(config: &Config) -> Result<(), ServerError> {
    refuse_overlap(config)?;
    let listener = listen(config.listen).await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let mut config = config.clone();
    if config.heartbeat_port == 0 {
        config.heartbeat_port = address.port();
    }
    let origin = config.identity_from.as_deref().map_or(Origin::New, Origin::Folder);
    let (identity, store) = durable_state::open(&config.data_dir, config.store, origin)?;
    let identity = Arc::new(identity);
    let (names, addresses) = server_names(&config);
    let certificate = identity.server_certificate(&names, &addresses)?;
    let tls = http::server_config(identity.authority.ca_der(), certificate)?;

    let authorizer = Arc::new(Authorizer::default());
    // Before anybody can ask; the watch for what follows is begun anew below.
    authorizer.load(store.as_ref()).await.map_err(store_status)?;
    let audit = Arc::new(AuditLog::open(config.audit_log.as_deref())?);
    let objects = Objects::open(Arc::clone(&store), config.service_range, config.node_port_range)
        .await?
        .with_admission(&AdmissionConfig {
            pod_security_default: config.pod_security_default,
            service_accounts: true,
            authorizer: Some(Arc::clone(&authorizer)),
        });
    let mut definitions = Definitions::default();
    let defined = definitions.load(&objects).await.map_err(store_status)?;
    let defining = tokio::spawn(definitions.follow(objects.clone(), defined));
    let api_address = ApiAddress {
        service: config.api_service_address(),
        service_range: config.service_range,
        dns: config.dns_service_address(),
        address: config.advertise_address,
        port: address.port(),
    };
    for bootstrap::Problem { object, why } in bootstrap::bootstrap(&objects, api_address).await {
        warn!(object, why, "what every cluster has could not be put right, going on without");
    }

    let tokens = Arc::new(Tokens::new(Arc::clone(&store), &identity));
    let account_key = identity.account_key()?;
    let account_tokens = Arc::new(AccountTokens::new(account_key, objects.clone()));
    let signing = tokio::spawn(access::sign_requests(objects.clone(), Arc::clone(&identity)));
    let following = tokio::spawn(Arc::clone(&authorizer).follow(objects.clone()));
    let roles = tokio::spawn(access::ensure_default_roles(objects.clone()));
    let (stop, stopping) = watch::channel(false);
    let advertised = format!("{}:{}", config.advertise_address, address.port());
    let control = control::start(&config, &objects, &identity, &tokens, &account_tokens).await?;
    let keeping = tokio::spawn(bootstrap::keep(objects.clone(), api_address));
    let nodes = Arc::clone(&control.nodes);
    let access = Access { tokens, account_tokens, authorizer, audit };
    let api = Api::new(objects, access, nodes, advertised.clone(), stopping);
    let api = Arc::new(api.map_err(ServerError::Runtime)?);
    let pool = Arc::clone(&api.pool);
    let memory = tokio::spawn(keep_memory());
    announce(&config, &identity, &advertised)?;

    let serving = tokio::spawn(http::serve(listener, tls, api));
    let signal = tokio::select! {
        signal = wait_for_signal() => signal.map_err(ServerError::Signals)?,
        // Nobody is drained: no request could be answered rightly any more.
        error = store.wait_until_stopped() => return Err(ServerError::Store(error)),
    };
    info!(signal, "stopping");
    // Receivers that are gone already have nothing to stop.
    let _ = stop.send(true);
    let _ = serving.await;
    pool.stop();
    memory.abort();
    keeping.abort();
    following.abort();
    defining.abort();
    signing.abort();
    roles.abort();
    control.stop();
    Ok(())
}

/// Gives memory back after bursts, for ever.
async fn keep_memory() {
    let mut memory = Memory::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        memory.look();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return ServerError::PortInUse { address };
        }
        ServerError::Listen { address, source }
    })
}

/// Returns the names and addresses by which this master may be reached.
fn server_names(config: &Config) -> (Vec<String>, Vec<IpAddr>) {
    let mut names: BTreeSet<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(str::to_owned)
    .into();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    if let Some(host) = host.filter(|name| is_dns_name(name)) {
        // By multicast DNS a board has the first part of its name.
        let label = host.split('.').next().unwrap_or_default();
        names.insert(format!("{label}.local"));
        names.insert(host);
    }
    let mut addresses: BTreeSet<IpAddr> = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(config.advertise_address),
        IpAddr::V4(config.api_service_address()),
    ]
    .into();
    if !config.listen.ip().is_unspecified() {
        addresses.insert(config.listen.ip());
    }
    addresses.extend(own_addresses(config));
    (names.into_iter().collect(), addresses.into_iter().collect())
}

/// Refuses ranges that overlap with the network in which nodes find this master: agents would lose
/// each other, or their way out.
fn refuse_overlap(config: &Config) -> Result<(), ServerError> {
    let mine = |interface: &InterfaceAddress| {
        let address = interface.address.as_ref().and_then(|address| address.as_sockaddr_in());
        address.is_some_and(|address| address.ip() == config.advertise_address)
    };
    let interface = getifaddrs().into_iter().flatten().find(mine);
    let mask = interface.as_ref().and_then(|interface| interface.netmask.as_ref());
    let Some(mask) = mask.and_then(|mask| mask.as_sockaddr_in()) else { return Ok(()) };
    let mask = mask.ip().to_bits();
    let network = config.advertise_address.to_bits() & mask;
    let ranges = [("cluster-range", config.cluster_range), ("service-range", config.service_range)];
    for (setting, range) in ranges {
        let shorter = mask.leading_ones().min(range.prefix_len.into());
        let shift = 32_u32.saturating_sub(shorter);
        let part = |bits: u32| u64::from(bits) >> shift;
        if part(network) == part(range.network.to_bits()) {
            let (network, prefix_len) = (network.into(), mask.leading_ones());
            return Err(ServerError::Overlap { network, prefix_len, setting, range });
        }
    }
    Ok(())
}

/// Returns this machine's IPv4 addresses, but not those that the pod network gives it.
fn own_addresses(config: &Config) -> Vec<IpAddr> {
    let within = |range: Ipv4Range, ip: Ipv4Addr| {
        let shift = 32 - u32::from(range.prefix_len);
        ip.to_bits() >> shift == range.network.to_bits() >> shift
    };
    let of_pods =
        |ip: Ipv4Addr| within(config.cluster_range, ip) || within(config.service_range, ip);
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| interface.address?.as_sockaddr_in().map(|address| address.ip()))
        .filter(|&ip| !of_pods(ip))
        .map(IpAddr::V4)
        .collect()
}

fn is_dns_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed)
}

fn announce(config: &Config, identity: &Identity, advertised: &str) -> Result<(), IdentityError> {
    let server = format!("https://{advertised}");
    let kubeconfig = identity.write_kubeconfig(&config.data_dir, &server)?;
    info!(
        cluster = identity.cluster_id,
        api = server,
        kubeconfig = %kubeconfig.display(),
        version = GIT_VERSION,
        "ready"
    );
    info!(
        "to add a board: `bramble token create` here, then `bramble-agent join <token> \
         --server {advertised}` there"
    );
    telemetry::welcome(&format!(
        "
bramble is ready at {server}

  To use it from here:   export KUBECONFIG={}
                         bramble get nodes
  To add a board:        bramble token create                                 (here)
                         bramble-agent join <token> --server {advertised}   (there)
",
        kubeconfig.display()
    ));
    Ok(())
}

async fn wait_for_signal() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
