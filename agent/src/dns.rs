//! Cluster DNS of this node: sockets at its Service's address, answered from the desired state.
//!
//! The address is on the pods' bridge, so packets to it never leave the node. What is answered, the
//! crate `bramble-dns` decides. It goes on while the master is away.

mod forward;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bramble_agent_core::address::contains;
use bramble_dns::{Answer, Code, Found, Malformed, Name, Query, Question, Reply, Zone};
use bramble_network::NodeNetwork;
use bramble_shared::link::Accepted;
use bramble_shared::node_set::NodeSet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, Semaphore, watch};

use self::forward::Forwarder;
use crate::node::Node;

/// The port of DNS.
pub(crate) const PORT: u16 = 53;
/// Wait before sockets that could not be had are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Longest question over UDP: a name and EDNS, with ample room.
const QUERY_LEN_MAX: usize = 4096;
/// Connections at a time; one more waits to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Silence after which a connection is closed (RFC 7766: some seconds).
const CONNECTION_IDLE: Duration = Duration::from_secs(10);

/// Answers for ever. `changed` is notified when the port is known, which the rules must lead to.
pub(crate) async fn serve(
    node: Arc<Node>,
    network: Arc<NodeNetwork>,
    changed: Arc<Notify>,
    unreachable: watch::Receiver<NodeSet>,
) {
    let mut told = String::new();
    loop {
        if let Some(accepted) = node.accepted() {
            match open(&network, accepted.dns).await {
                Ok((udp, tcp, port)) => {
                    node.dns_port.store(port, Ordering::Relaxed);
                    changed.notify_one();
                    tracing::info!(address = %accepted.dns, port, "cluster DNS answers");
                    let Some(server) = Server::new(&node, accepted, unreachable.clone()) else {
                        return;
                    };
                    let server = Arc::new(server);
                    let datagrams = Arc::clone(&server).datagrams(Arc::new(udp));
                    tokio::join!(datagrams, server.connections(tcp));
                }
                Err(error) if error.to_string() != told => {
                    told = error.to_string();
                    tracing::warn!(error = told, "cluster DNS cannot answer yet");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Sockets at the Service's port, or at another one where a program of the node's has that one at
/// all addresses (Pi-hole, dnsmasq): the rules lead there.
async fn open(
    network: &NodeNetwork,
    address: Ipv4Addr,
) -> io::Result<(UdpSocket, TcpListener, u16)> {
    let added = network.add_local_address(address).await;
    added.map_err(|error| io::Error::other(crate::telemetry::Chain(&error).to_string()))?;
    match bind(address, PORT) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(address, 0),
        bound => bound,
    }
}

fn bind(address: Ipv4Addr, port: u16) -> io::Result<(UdpSocket, TcpListener, u16)> {
    let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the agent before this one may not have ended.
    tcp.set_reuse_address(true)?;
    tcp.set_nonblocking(true)?;
    tcp.bind(&SocketAddr::from((address, port)).into())?;
    tcp.listen(128)?;
    let tcp = TcpListener::from_std(tcp.into())?;
    let port = tcp.local_addr()?.port();
    let udp = std::net::UdpSocket::bind((address, port))?;
    udp.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(udp)?, tcp, port))
}

struct Server {
    node: Arc<Node>,
    accepted: Accepted,
    domain: Name,
    unreachable: watch::Receiver<NodeSet>,
    forwarder: Arc<Forwarder>,
}

/// What is to be done with a packet.
enum Todo {
    Nothing,
    Send(Vec<u8>),
    /// Ask the node's resolvers.
    Forward(Query),
    /// Ask them for what a name of the cluster stands for.
    Follow(Query, Reply, Name),
}

impl Server {
    fn new(
        node: &Arc<Node>,
        accepted: Accepted,
        unreachable: watch::Receiver<NodeSet>,
    ) -> Option<Self> {
        let domain = Name::parse(&accepted.domain)?;
        let forwarder = Arc::new(Forwarder::new(IpAddr::V4(accepted.dns)));
        Some(Self { node: Arc::clone(node), accepted, domain, unreachable, forwarder })
    }

    async fn datagrams(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; QUERY_LEN_MAX];
        loop {
            // An error here is one of an earlier answer: its client is gone.
            let Ok((len, client)) = socket.recv_from(&mut buffer).await else { continue };
            let packet = buffer.get(..len).unwrap_or_default();
            match self.look_at(packet, client.ip(), false) {
                Todo::Nothing => {}
                Todo::Send(answer) => {
                    let _ = socket.send_to(&answer, client).await;
                }
                todo @ (Todo::Forward(_) | Todo::Follow(..)) => {
                    let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
                    let Some(place) = self.forwarder.place() else { continue };
                    tokio::spawn(async move {
                        if let Some(answer) = server.ask_elsewhere(todo, false).await {
                            let _ = socket.send_to(&answer, client).await;
                        }
                        drop(place);
                    });
                }
            }
        }
    }

    async fn connections(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, client)) = listener.accept().await else {
                // Too many files are open, or the like: not to be asked in a tight loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                let _ = server.connection(stream, client.ip()).await;
                drop(place);
            });
        }
    }

    /// Answers the questions of one connection, one after another.
    async fn connection(&self, mut stream: TcpStream, client: IpAddr) -> io::Result<()> {
        let mut packet = Vec::new();
        loop {
            let read = async {
                let len = usize::from(stream.read_u16().await?);
                packet.resize(len.min(QUERY_LEN_MAX), 0);
                stream.read_exact(&mut packet).await
            };
            tokio::time::timeout(CONNECTION_IDLE, read).await??;
            let answer = match self.look_at(&packet, client, true) {
                Todo::Nothing => return Ok(()),
                Todo::Send(answer) => Some(answer),
                todo @ (Todo::Forward(_) | Todo::Follow(..)) => {
                    let Some(_place) = self.forwarder.place() else { return Ok(()) };
                    self.ask_elsewhere(todo, true).await
                }
            };
            let Some(answer) = answer else { return Ok(()) };
            let len = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let framed = [&len.to_be_bytes(), answer.as_slice()].concat();
            tokio::time::timeout(CONNECTION_IDLE, stream.write_all(&framed)).await??;
        }
    }

    fn look_at(&self, packet: &[u8], client: IpAddr, tcp: bool) -> Todo {
        if !self.may_ask(client) {
            return Todo::Nothing;
        }
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(Malformed::Silent) => return Todo::Nothing,
            Err(Malformed::Answer(answer)) => return Todo::Send(answer),
        };
        let found = {
            let desired = self.node.desired();
            let lost = self.unreachable.borrow();
            let zone = Zone {
                domain: &self.domain,
                dns: self.accepted.dns,
                ranges: [self.accepted.cluster_range, self.accepted.service_range],
                services: &desired.services,
                lost: |node| lost.contains(node),
                turn: usize::from(query.id),
            };
            match zone.look_up(&query) {
                // Before the master has named everything, nobody knows what there is not.
                Found::Reply(reply) if reply.answers.is_empty() && !desired.is_complete() => {
                    Found::Reply(Reply::of(Code::ServFail))
                }
                found @ (Found::Reply(_) | Found::Elsewhere | Found::Alias(..)) => found,
            }
        };
        match found {
            Found::Reply(reply) => Todo::Send(query.answer(&reply, tcp)),
            Found::Elsewhere => match self.forwarder.known(&Question::of(&query)) {
                Some(answer) => Todo::Send(Answer(&answer).for_client(&query, tcp)),
                None => Todo::Forward(query),
            },
            Found::Alias(reply, name) => Todo::Follow(query, reply, name),
        }
    }

    /// Only this node and its pods: for others it would be an open resolver. The rules drop their
    /// packets, too.
    fn may_ask(&self, client: IpAddr) -> bool {
        let IpAddr::V4(client) = client else { return false };
        contains(self.accepted.pod_range, client)
            || client.is_loopback()
            || client == self.accepted.dns
            || client == self.node.address()
    }

    async fn ask_elsewhere(&self, todo: Todo, tcp: bool) -> Option<Vec<u8>> {
        match todo {
            Todo::Nothing => None,
            Todo::Send(answer) => Some(answer),
            Todo::Forward(query) => {
                let answer = self.forwarder.ask(Question::of(&query), tcp).await;
                Some(match answer {
                    Some(answer) => Answer(&answer).for_client(&query, tcp),
                    None => query.answer(&Reply::of(Code::ServFail), tcp),
                })
            }
            Todo::Follow(query, mut reply, name) => {
                // By TCP, since the records are put into an answer of our own.
                let answer = self.forwarder.ask(Question::about(&query, name), true).await;
                let records = answer.map(|answer| Answer(&answer).records()).unwrap_or_default();
                reply.answers.extend(records);
                Some(query.answer(&reply, tcp))
            }
        }
    }
}
