//! A whole master with one board, in one process: real TLS, real yamux, real UDP, memory store.
//!
//! The board is written out here step by step, so that it can also do what an agent must not.

mod access;
mod burst;
mod crowd;
mod junk;
mod taken_over;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bramble_api::Status;
use bramble_shared::frame;
use bramble_shared::heartbeat::Report;
use bramble_shared::heartbeat_sender::{HeartbeatSender, SenderIdentity, SenderSession};
use bramble_shared::ids::{BootId, Incarnation};
use bramble_shared::link::{
    Accepted, Change, FenceKind, HEARTBEAT_EXPORTER_LABEL, Hello, Ipv4Range, JOIN_ALPN, JoinReply,
    JoinRequest, LINK_ALPN, LogsRequest, NodeConditions, NodeFacts, PodPhase, PodStatus,
    StreamReply, StreamRequest, ToAgent, ToMaster, UpgradeData, UpgradeReply, UpgradeStage,
    Welcome,
};
use bramble_shared::seal::SessionKeys;
use bramble_store::{MemoryStore, Store};
use embassy_time::Instant;
use futures_util::StreamExt as _;
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsConnector;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use yamux::{Config as MuxConfig, Connection, Mode, Stream};

use super::Control;
use crate::access::{Access, AccountTokens, AuditLog};
use crate::bootstrap::{ApiAddress, bootstrap};
use crate::config::{Config, StoreKind};
use crate::http::{self, Api};
use crate::node_port::NodePort as _;
use crate::objects::{DeleteOptions, ListOptions, Objects, WriteOptions};
use crate::pki::{Identity, Origin};
use crate::token::{Tokens, card_token};
use crate::{clock, durable_state};

const BOUND: Duration = Duration::from_secs(60);

/// Certificate and key, DER.
type Credentials = (Vec<u8>, Vec<u8>);

struct Master {
    _folder: tempfile::TempDir,
    address: SocketAddr,
    objects: Objects,
    identity: Arc<Identity>,
    tokens: Arc<Tokens>,
    control: Control,
    _stop: watch::Sender<bool>,
}

impl Master {
    async fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::new())).await
    }

    async fn start_on(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identity, _) =
            durable_state::open(folder.path(), StoreKind::Memory, Origin::New).unwrap();
        let identity = Arc::new(identity);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let range = |network: [u8; 4]| Ipv4Range { network: network.into(), prefix_len: 16 };
        let config = Config {
            data_dir: folder.path().to_owned(),
            listen: address,
            heartbeat_port: 0,
            advertise_address: Ipv4Addr::new(192, 0, 2, 200),
            cluster_range: range([10, 42, 0, 0]),
            service_range: range([10, 43, 0, 0]),
            node_port_range: (30_000, 32_767),
            store: StoreKind::Memory,
            identity_from: None,
            pod_security_default: bramble_api::pod_security::Level::Privileged,
            audit_log: None,
        };
        let certificate =
            identity.server_certificate(&["localhost".to_owned()], &[address.ip()]).unwrap();
        let tls = http::server_config(identity.authority.ca_der(), certificate).unwrap();
        let objects = Objects::open(Arc::clone(&store), config.service_range, (30_000, 32_767))
            .await
            .unwrap();
        let api_address = ApiAddress {
            service: config.api_service_address(),
            service_range: config.service_range,
            dns: config.dns_service_address(),
            address: config.advertise_address,
            port: address.port(),
        };
        assert_eq!(bootstrap(&objects, api_address).await, []);
        let tokens = Arc::new(Tokens::new(store, &identity));
        let account_key = identity.account_key().unwrap();
        let account_tokens = Arc::new(AccountTokens::new(account_key, objects.clone()));
        let control =
            super::start(&config, &objects, &identity, &tokens, &account_tokens).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let nodes = Arc::clone(&control.nodes);
        let access = Access {
            tokens: Arc::clone(&tokens),
            account_tokens,
            authorizer: Arc::default(),
            audit: Arc::new(AuditLog::open(None).unwrap()),
        };
        let api = Api::new(objects.clone(), access, nodes, String::new(), stopping);
        tokio::spawn(http::serve(listener, tls, Arc::new(api.unwrap())));
        Self { _folder: folder, address, objects, identity, tokens, control, _stop: stop }
    }

    async fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.objects.get(Objects::resource("", plural), namespace, name).await.ok()
    }

    /// Waits until an object is in a state.
    async fn wait(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let mut last = None;
        let waited = tokio::time::timeout(BOUND, async {
            loop {
                last = self.get(plural, namespace, name).await;
                if wanted(last.as_ref()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{plural} {name} is {last:#?}");
        }
        self.get(plural, namespace, name).await
    }

    async fn create(&self, plural: &str, object: Value) -> Value {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let resource = Objects::resource("", plural);
        self.objects.create(resource, &namespace, object, &WriteOptions::default()).await.unwrap()
    }

    async fn token(&self) -> String {
        let created = self.tokens.create(60, 9, "test", clock::time_of_day_ms()).await;
        let (_, text) = created.unwrap();
        text.split_once("::").unwrap().1.to_owned()
    }

    /// A TLS connection, with or without a certificate.
    async fn connect(
        &self,
        alpn: &[u8],
        certificate: Option<Credentials>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.encrypt(stream, alpn, certificate).await.unwrap()
    }

    /// TLS over a connection.
    async fn encrypt(
        &self,
        stream: TcpStream,
        alpn: &[u8],
        certificate: Option<Credentials>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.identity.authority.ca_der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from(certificate)],
                    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn join(&self, name: &str, token: &str) -> Result<Credentials, String> {
        self.join_with(name, token, &rcgen::KeyPair::generate().unwrap(), None).await
    }

    /// Joins with a key, perhaps over a connection with a certificate.
    async fn join_with(
        &self,
        name: &str,
        token: &str,
        key: &rcgen::KeyPair,
        shown: Option<Credentials>,
    ) -> Result<Credentials, String> {
        let params = rcgen::CertificateParams::default();
        let csr = params.serialize_request(key).unwrap().der().to_vec();
        let mut stream = self.connect(JOIN_ALPN, shown).await.compat();
        let request = JoinRequest { token: token.to_owned(), node_name: name.to_owned(), csr };
        write(&mut stream, &request).await;
        match read::<JoinReply>(&mut stream).await.unwrap() {
            JoinReply::Accepted { certificate, .. } => Ok((certificate, key.serialize_der())),
            JoinReply::Refused { reason } => Err(reason),
        }
    }

    async fn board(&self, name: &str, serial: &str) -> Board {
        let credentials = self.join(name, &self.token().await).await.unwrap();
        self.link(name, serial, credentials).await.unwrap()
    }

    /// Reasons of all events of a node.
    async fn told_of(&self, node: &str) -> BTreeSet<String> {
        let events = Objects::resource("", "events");
        let events = self.objects.list(events, "", &ListOptions::default()).await.unwrap().items;
        let of = |event: &Value| event["involvedObject"]["name"] == node;
        let reason = |event: Value| event["reason"].as_str().unwrap_or_default().to_owned();
        events.into_iter().filter(of).map(reason).collect()
    }

    async fn link(
        &self,
        name: &str,
        serial: &str,
        credentials: Credentials,
    ) -> Result<Board, String> {
        self.link_as(&hello(name, serial), credentials).await
    }

    /// A link whose control stream is open and has said nothing; its streams, and the keys of the
    /// first sessions.
    async fn dial(
        &self,
        credentials: Credentials,
    ) -> (Stream, mpsc::Receiver<Stream>, Vec<[u8; 64]>) {
        let stream = self.connect(LINK_ALPN, Some(credentials)).await;
        let tls = stream.get_ref().1;
        let export = |session: u32| {
            let context = session.to_le_bytes();
            tls.export_keying_material([0; 64], HEARTBEAT_EXPORTER_LABEL, Some(&context)).unwrap()
        };
        // The session's number comes with the welcome, after the stream was given away.
        let exported: Vec<[u8; 64]> = (0..16).map(export).collect();
        let connection = Connection::new(stream.compat(), MuxConfig::default(), Mode::Client);
        let (control, streams) = multiplex(connection).await;
        (control, streams, exported)
    }

    /// Links a board that says whatever it likes of itself.
    async fn link_as(&self, hello: &Hello, credentials: Credentials) -> Result<Board, String> {
        let (mut control, streams, exported) = self.dial(credentials).await;
        write(&mut control, hello).await;
        let mut decoder = frame::FrameDecoder::new();
        let accepted = match read_with(&mut control, &mut decoder).await.unwrap() {
            Welcome::Accepted(accepted) => *accepted,
            Welcome::Refused { reason } => return Err(reason),
        };
        let keys = SessionKeys::from_exported(&exported[accepted.session.0 as usize]);
        let identity = SenderIdentity { boot_id: hello.boot_id, incarnation: hello.incarnation };
        let heart = Heart::start(self.address, identity, &accepted, keys);
        Ok(Board { control, decoder, streams, accepted, heart })
    }
}

/// Sends heartbeats until it is dropped.
struct Heart {
    lease: watch::Receiver<Option<Instant>>,
    _stop: oneshot::Sender<()>,
}

impl Heart {
    fn start(
        master: SocketAddr,
        identity: SenderIdentity,
        accepted: &Accepted,
        keys: SessionKeys,
    ) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((master.ip(), accepted.heartbeat_port)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        let mut sender = HeartbeatSender::new(identity, 1);
        let session = SenderSession {
            session: accepted.session,
            key_epoch: accepted.key_epoch,
            keys,
            interval: embassy_time::Duration::from_millis(100),
            term: accepted.term,
        };
        sender.start_session(Instant::now(), &session);
        let (lease_in, lease) = watch::channel(None);
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move {
            let (mut packet, mut reply) = ([0; 512], [0; 512]);
            loop {
                let at = sender.poll_deadline().unwrap();
                tokio::select! {
                    () = embassy_time::Timer::at(at) => sender.handle_timeout(Instant::now()),
                    Ok(len) = socket.recv(&mut reply) => {
                        sender.handle_input(Instant::now(), &mut reply[..len]).unwrap();
                        lease_in.send_replace(sender.lease_until());
                    }
                    _ = &mut stopped => break,
                }
                let report = Report::default();
                while let Some(len) = sender.poll_transmit(Instant::now(), &report, &mut packet) {
                    let _ = socket.send(&packet[..len]).await;
                }
            }
        });
        Self { lease, _stop: stop }
    }
}

struct Board {
    control: Stream,
    decoder: frame::FrameDecoder,
    streams: mpsc::Receiver<Stream>,
    accepted: Accepted,
    heart: Heart,
}

impl Board {
    async fn say(&mut self, message: &ToMaster) {
        write(&mut self.control, message).await;
    }

    /// Next message that is no ping; none when the master has ended the session.
    async fn hear(&mut self) -> Option<ToAgent> {
        loop {
            match read_with(&mut self.control, &mut self.decoder).await? {
                ToAgent::Ping(number) => {
                    let pong = frame::encode(&ToMaster::Pong(number)).unwrap();
                    // The session may have ended meanwhile: the next read tells.
                    let _ = self.control.write_all(&pong).await;
                    let _ = self.control.flush().await;
                }
                ToAgent::TimeOfDay(_) => {}
                other @ (ToAgent::Change(_) | ToAgent::Synced { .. } | ToAgent::Token(_)) => {
                    return Some(other);
                }
            }
        }
    }

    async fn hear_until(&mut self, wanted: impl Fn(&ToAgent) -> bool) -> Vec<ToAgent> {
        let mut heard = vec![];
        loop {
            heard.push(self.hear().await.expect("the session goes on"));
            if wanted(heard.last().unwrap()) {
                return heard;
            }
        }
    }

    async fn ready(&mut self) {
        let conditions = NodeConditions {
            ready: true,
            message: String::new(),
            memory_pressure: false,
            disk_pressure: false,
            pid_pressure: false,
        };
        self.say(&ToMaster::Node(conditions)).await;
    }
}

async fn write(stream: &mut (impl futures_util::AsyncWrite + Unpin), message: &impl Serialize) {
    stream.write_all(&frame::encode(message).unwrap()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn read<T: DeserializeOwned>(
    stream: &mut (impl futures_util::AsyncRead + Unpin),
) -> Option<T> {
    read_with(stream, &mut frame::FrameDecoder::new()).await
}

async fn read_with<T: DeserializeOwned>(
    stream: &mut (impl futures_util::AsyncRead + Unpin),
    decoder: &mut frame::FrameDecoder,
) -> Option<T> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(message) = decoder.decode().unwrap() {
            return Some(message);
        }
        let len = tokio::time::timeout(BOUND, stream.read(&mut buffer)).await;
        match len.expect("the master says something in time") {
            Ok(0) | Err(_) => return None,
            Ok(len) => decoder.push(&buffer[..len]),
        }
    }
}

/// The agent's end of yamux: opens the control stream and takes in those of the master.
async fn multiplex<T>(mut connection: Connection<T>) -> (Stream, mpsc::Receiver<Stream>)
where
    T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin + Send + 'static,
{
    let control = std::future::poll_fn(|context| connection.poll_new_outbound(context)).await;
    let (incoming, streams) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let next = std::future::poll_fn(|context| connection.poll_next_inbound(context)).await;
            let Some(Ok(stream)) = next else { break };
            let _ = incoming.send(stream).await;
        }
    });
    (control.unwrap(), streams)
}

fn hello(name: &str, serial: &str) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        boot_id: BootId([1; 16]),
        serial: serial.to_owned(),
        incarnation: Incarnation(1),
        facts: NodeFacts {
            architecture: "arm64".to_owned(),
            os_image: "bramble".to_owned(),
            kernel_version: "6.12".to_owned(),
            agent_version: "0.1.0".to_owned(),
            machine_id: serial.to_owned(),
            hostname: name.to_owned(),
            address: address_of(name),
            cpu_milli: 4_000,
            memory_bytes: 1 << 30,
            storage_bytes: 8 << 30,
            pods_max: 110,
            fence: FenceKind::Soft,
            labels: [].into(),
            boot: None,
        },
    }
}

/// `pi-3` is at 192.0.2.3.
fn address_of(name: &str) -> Ipv4Addr {
    let number = name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(1);
    let first = Ipv4Addr::new(192, 0, 2, 0).to_bits();
    Ipv4Addr::from_bits(first + number)
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "registry.local/app:1"}]},
    })
}

fn status(uid: &str, name: &str, phase: PodPhase) -> PodStatus {
    PodStatus {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        observed_generation: 1,
        phase,
        reason: String::new(),
        message: String::new(),
        pod_ip: Some(Ipv4Addr::new(10, 42, 0, 2)),
        started_ms: 1_000,
        sandbox_ready: true,
        initialized: true,
        containers_ready: true,
        ephemeral_containers: vec![],
        resize_failure: String::new(),
        ready: true,
        init_containers: vec![],
        containers: vec![],
    }
}

fn ready(node: Option<&Value>, wanted: &str) -> bool {
    let conditions = node.and_then(|node| node["status"]["conditions"].as_array());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it["type"] == "Ready" && it["status"] == wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_joins_runs_a_pod_and_is_rid_of_it() {
    let master = Master::start().await;
    let mut board = master.board("pi-1", "s1").await;
    board.hear_until(|it| matches!(it, ToAgent::Synced { .. })).await;
    board.ready().await;
    let node = master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await.unwrap();
    assert_eq!(node["spec"]["podCIDR"], "10.42.0.0/24");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.2+bramble.0.1.0");

    let created = master.create("pods", pod("a")).await;
    let uid = created["metadata"]["uid"].as_str().unwrap().to_owned();
    let heard = board.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;
    let Some(ToAgent::Change(Change::Pod(received))) = heard.last() else { panic!("{heard:?}") };
    assert_eq!(received.uid, uid);
    board.say(&ToMaster::Pod(Box::new(status(&uid, "a", PodPhase::Running)))).await;
    let running = |pod: Option<&Value>| pod.is_some_and(|pod| pod["status"]["phase"] == "Running");
    let stored = master.wait("pods", "default", "a", running).await.unwrap();
    assert_eq!(stored["spec"]["nodeName"], "pi-1");
    assert_eq!(stored["status"]["hostIP"], "192.0.2.1");

    let pods = Objects::resource("", "pods");
    master.objects.delete(pods, "default", "a", &DeleteOptions::default()).await.unwrap();
    board
        .hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(pod)) if pod.deletion.is_some()))
        .await;
    let (namespace, name) = ("default".to_owned(), "a".to_owned());
    board.say(&ToMaster::PodRemoved { namespace, name, uid }).await;
    master.wait("pods", "default", "a", |pod| pod.is_none()).await;
    board.hear_until(|it| matches!(it, ToAgent::Change(Change::PodGone { .. }))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_board_is_unknown_and_comes_back() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let mut board = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    let mut created = pod("a");
    created["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let created = master.create("pods", created).await;
    board.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;
    let uid = created["metadata"]["uid"].as_str().unwrap();
    board.say(&ToMaster::Pod(Box::new(status(uid, "a", PodPhase::Running)))).await;
    master.wait("pods", "default", "a", |pod| ready(pod, "True")).await;
    let mut lease = board.heart.lease.clone();
    lease.wait_for(Option::is_some).await.unwrap();
    drop(board.heart);
    master.wait("nodes", "", "pi-1", |node| ready(node, "Unknown")).await;
    let tainted = |node: Option<&Value>| {
        let taints = node.and_then(|node| node["spec"]["taints"].as_array());
        let mut taints = taints.into_iter().flatten();
        taints.any(|taint| taint["key"] == "node.kubernetes.io/unreachable")
    };
    master.wait("nodes", "", "pi-1", tainted).await;
    master.wait("pods", "default", "a", |pod| ready(pod, "False")).await;
    let mut board = master.link("pi-1", "s1", credentials).await.unwrap();
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True") && !tainted(node)).await;
    // The agent has nothing new to say of the pod.
    master.wait("pods", "default", "a", |pod| ready(pod, "True")).await;
    let events = Objects::resource("", "events");
    let events = master.objects.list(events, "", &ListOptions::default()).await.unwrap().items;
    let told: BTreeSet<_> = events
        .iter()
        .map(|event| (event["involvedObject"]["kind"].as_str(), event["reason"].as_str()))
        .collect();
    for (kind, reason) in [("Node", "NodeReady"), ("Node", "NodeNotReady"), ("Pod", "NodeNotReady")]
    {
        assert!(told.contains(&(Some(kind), Some(reason))), "{kind} {reason}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_exists_already_is_said_to_exist() {
    let master = Master::start().await;
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterIP": "10.43.0.77", "ports": [{"port": 80}]},
        })
    };
    master.create("services", service("web")).await;
    let again = async |name: &str| {
        let (services, options) = (Objects::resource("", "services"), WriteOptions::default());
        let created = master.objects.create(services, "default", service(name), &options);
        created.await.unwrap_err()
    };
    let error = again("web").await;
    assert_eq!((error.code, error.reason), (409, "AlreadyExists"));
    assert_eq!(again("other").await.code, 422, "the address is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_session_replaces_the_older_and_another_board_is_refused() {
    let master = Master::start().await;
    let credentials = master.join("pi-1", &master.token().await).await.unwrap();
    let mut older = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    let _newer = master.link("pi-1", "s1", credentials.clone()).await.unwrap();
    while older.hear().await.is_some() {}
    let refused = master.link("pi-1", "s2", credentials).await.err().unwrap();
    assert!(refused.contains("is another board than this one"), "{refused}");
    assert!(!refused.contains("s1"), "with the serial a copy would be let in: {refused}");
    assert!(master.told_of("pi-1").await.contains("LinkRefused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_replaces_another_ends_its_session_and_may_be_on_another_board() {
    let master = Master::start().await;
    let key = master.identity.join_key().unwrap().unwrap();
    let card = |generation| {
        let (_, text) = card_token(&master.identity, &key, "pi-1", generation).unwrap();
        text.split_once("::").unwrap().1.to_owned()
    };
    let (first, second) = (card(1), card(2));
    let old = master.join("pi-1", &first).await.unwrap();
    let mut board = master.link("pi-1", "s1", old.clone()).await.unwrap();
    let new = master.join("pi-1", &second).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), async {
        while board.hear().await.is_some() {}
    });
    ended.await.unwrap();
    let refused = master.link("pi-1", "s1", old).await.err().unwrap();
    assert!(refused.contains("was revoked"), "{refused}");
    let _board = master.link("pi-1", "s2", new).await.unwrap();
    let refused = master.join("pi-1", &first).await.unwrap_err();
    assert!(refused.contains("replaced by a newer one"), "{refused}");
    let refused = master.join("pi-1", &second).await.unwrap_err();
    assert!(refused.contains("used by another board"), "{refused}");
    assert!(master.told_of("pi-1").await.contains("JoinRefused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_refused_and_then_locked_out() {
    let master = Master::start().await;
    for _ in 0..5 {
        let refused = master.join("pi-1", "abcdefgh.wrong").await.unwrap_err();
        assert!(refused.contains("wrong or expired"), "{refused}");
    }
    let locked_out = master.join("pi-1", &master.token().await).await.unwrap_err();
    assert!(locked_out.contains("too many tries"), "{locked_out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cannot_speak_of_pods_of_another() {
    let master = Master::start().await;
    let mut one = master.board("pi-1", "s1").await;
    one.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    let created = master.create("pods", pod("a")).await;
    let uid = created["metadata"]["uid"].as_str().unwrap().to_owned();
    one.hear_until(|it| matches!(it, ToAgent::Change(Change::Pod(_)))).await;
    let mut two = master.board("pi-2", "s2").await;
    two.say(&ToMaster::Pod(Box::new(status(&uid, "a", PodPhase::Failed)))).await;
    two.ready().await;
    // Reports are stored in order: the first was dealt with once the second is seen.
    master.wait("nodes", "", "pi-2", |node| ready(node, "True")).await;
    let pod = master.get("pods", "default", "a").await.unwrap();
    assert_eq!(pod["status"]["phase"], "Pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_node() {
    let master = Master::start().await;
    let mut board = master.board("pi-1", "s1").await;
    let request = LogsRequest {
        uid: "u".to_owned(),
        container: "c".to_owned(),
        follow: false,
        previous: false,
        timestamps: false,
        tail_lines: None,
        since_ms: None,
        limit_bytes: None,
    };
    let asked = request.clone();
    let answer = tokio::spawn(async move {
        let mut stream = board.streams.recv().await.unwrap();
        let StreamRequest::Logs(received) = read(&mut stream).await.unwrap() else {
            panic!("another request than the one for a log");
        };
        assert_eq!(received, asked);
        write(&mut stream, &StreamReply::Data(b"hello\n".to_vec())).await;
        write(&mut stream, &StreamReply::End).await;
        stream.close().await.unwrap();
        board
    });
    let log = master.control.nodes.logs("pi-1", request.clone()).await.unwrap();
    let pieces: Vec<_> = log.collect().await;
    assert_eq!(pieces, [Ok(bytes::Bytes::from("hello\n"))]);
    drop(answer.await.unwrap());
    let error = master.control.nodes.logs("pi-9", request).await.err().unwrap();
    assert_eq!(error.code, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_reaches_the_node_whole_or_is_seen_to_be_torn() {
    let master = Master::start().await;
    let mut board = master.board("pi-1", "s1").await;
    let served = tokio::spawn(async move {
        let mut lens = Vec::new();
        for _ in 0..2 {
            let mut stream = board.streams.recv().await.unwrap();
            let mut decoder = frame::FrameDecoder::new();
            let asked: StreamRequest = read_with(&mut stream, &mut decoder).await.unwrap();
            assert!(matches!(asked, StreamRequest::Upgrade(_)), "{asked:?}");
            let begins = UpgradeReply::Progress { stage: UpgradeStage::Writing, bytes: 0, of: 1 };
            write(&mut stream, &begins).await;
            let mut len = 0;
            let last = loop {
                match read_with(&mut stream, &mut decoder).await {
                    Some(UpgradeData::Piece(piece)) => len += piece.len(),
                    Some(UpgradeData::End) => {
                        let (slot, version) = ("b".to_owned(), "2".to_owned());
                        break UpgradeReply::Restarting { slot, version };
                    }
                    None => {
                        break UpgradeReply::Failed { status: 400, message: "torn".to_owned() };
                    }
                }
            };
            write(&mut stream, &last).await;
            stream.close().await.unwrap();
            lens.push(len);
        }
        (board, lens)
    });
    let piece = || Ok(bytes::Bytes::from(vec![7; 1 << 20]));
    let nodes = &master.control.nodes;
    let whole = futures_util::stream::iter((0..4).map(move |_| piece())).boxed();
    let replies: Vec<_> = nodes.upgrade("pi-1", None, whole).await.unwrap().collect().await;
    let last = replies.last().unwrap().as_ref().unwrap();
    assert!(matches!(last, UpgradeReply::Restarting { .. }), "{last:?}");
    let torn = [piece(), Err(Status::bad_request("the client is gone"))];
    let torn = futures_util::stream::iter(torn).boxed();
    let replies: Vec<_> = nodes.upgrade("pi-1", None, torn).await.unwrap().collect().await;
    assert_eq!(replies.last().unwrap().as_ref().unwrap_err().code, 400);
    let (_board, lens) = served.await.unwrap();
    assert_eq!(lens, [4 << 20, 1 << 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_grow_and_a_restarted_master_calls_nobody_dead_at_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let master = Master::start_on(Arc::clone(&store)).await;
    let mut board = master.board("pi-1", "s1").await;
    let term = board.accepted.term;
    board.ready().await;
    master.wait("nodes", "", "pi-1", |node| ready(node, "True")).await;
    drop(board);
    drop(master);
    let master = Master::start_on(store).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let node = master.get("nodes", "", "pi-1").await;
    assert!(ready(node.as_ref(), "True"), "{node:#?}");
    // Its identity is a new one, too, so the board has to join again.
    master.tokens.permit("pi-1", 60, clock::time_of_day_ms()).await.unwrap();
    let board = master.board("pi-1", "s1").await;
    assert!(board.accepted.term > term);
}
