//! Names under `.local` (RFC 6762): asks for others' and answers for this board's.
//!
//! `responder` decides what is said about our own name and when; `message` reads and writes
//! packets; this file has the sockets, one for each network, and looks for changed addresses.

mod message;
mod responder;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use embassy_time::Instant;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::clock;
use crate::interfaces::{self, Interface};
use responder::{Destination, Output, Responder};

/// The domain of names that the network itself keeps.
pub(crate) const DOMAIN: &str = ".local";
/// Where everybody listens.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// On this port.
const PORT: u16 = 5353;
/// Longest packet (RFC 6762, 17), in bytes.
const PACKET_LEN_MAX: usize = 9000;
/// Packets never leave the network, which a receiver can tell by this (RFC 6762, 11).
const TTL: u32 = 255;
/// Interval at which changed addresses are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// When a question is asked again, after the time before.
const ASK_AGAIN: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(750), Duration::from_millis(1500)];

/// A node's name under `.local`.
pub(crate) fn host_name(node: &str) -> String {
    format!("{node}{DOMAIN}")
}

/// Answers for `<node>.local` on all networks, for ever.
pub(crate) async fn serve(node: String, pod_bridge: String) {
    let name = host_name(&node);
    let mut served: Vec<Interface> = Vec::new();
    // Dropping the tasks ends them.
    let mut tasks = JoinSet::new();
    loop {
        match interfaces::list(&pod_bridge) {
            Ok(found) if found != served => {
                tasks = JoinSet::new();
                let own: Vec<Ipv4Addr> = found.iter().map(|each| each.address).collect();
                for interface in &found {
                    tasks.spawn(serve_one(name.clone(), interface.clone(), own.clone()));
                }
                served = found;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the board's addresses could not be read"),
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(LOOK).await;
    }
}

/// Answers on one network, for ever.
async fn serve_one(name: String, interface: Interface, own: Vec<Ipv4Addr>) {
    loop {
        let mut responder = Responder::new(&name, interface.address, own.clone(), Instant::now());
        match run(&mut responder, &interface).await {
            Ok(never) => match never {},
            Err(error) => {
                tracing::debug!(%error, interface = interface.name, "multicast DNS failed");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn run(
    responder: &mut Responder,
    interface: &Interface,
) -> io::Result<std::convert::Infallible> {
    let socket = listening(interface)?;
    let mut buffer = vec![0; PACKET_LEN_MAX];
    loop {
        let output = match responder.poll_deadline() {
            Some(deadline) => tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    received_from(responder, received?, &buffer)
                }
                () = clock::sleep_until(deadline) => responder.handle_timeout(Instant::now()),
            },
            None => {
                let received = socket.recv_from(&mut buffer).await?;
                received_from(responder, received, &buffer)
            }
        };
        let Some(Output { packet, to, conflict }) = output else { continue };
        if let Some(other) = conflict {
            let name = responder.name();
            tracing::warn!(name, %other, "another machine has this name; it is not announced");
        }
        let to = match to {
            Destination::Nobody => continue,
            Destination::Everybody => SocketAddrV4::new(GROUP, PORT),
            Destination::Asker(asker) => asker,
        };
        // An interface without a cable loses packets; the next one may arrive.
        if let Err(error) = socket.send_to(&packet, to).await {
            tracing::debug!(%error, "packet not sent");
        }
    }
}

fn received_from(
    responder: &mut Responder,
    (len, from): (usize, SocketAddr),
    buffer: &[u8],
) -> Option<Output> {
    let SocketAddr::V4(from) = from else { return None };
    responder.handle_input(Instant::now(), buffer.get(..len)?, from)
}

/// A socket beside others on the well-known port, for one network only.
fn listening(interface: &Interface) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    socket.join_multicast_v4(&GROUP, &interface.address)?;
    prepare(&socket, interface, PORT)
}

/// A socket for questions: answers come to it alone.
fn asking(interface: &Interface) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, interface, 0)
}

fn prepare(socket: &Socket, interface: &Interface, port: u16) -> io::Result<UdpSocket> {
    socket.set_multicast_if_v4(&interface.address)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    UdpSocket::from_std(socket.try_clone()?.into())
}

/// Asks all networks for a name under `.local`; the first answer counts.
///
/// # Errors
///
/// When nobody answers within some seconds, or there is no network.
pub(crate) async fn resolve(name: &str, pod_bridge: &str) -> io::Result<Ipv4Addr> {
    let interfaces = interfaces::list(pod_bridge)?;
    if interfaces.is_empty() {
        let message = format!("`{name}` cannot be looked up: this board has no network yet");
        return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, message));
    }
    let mut asked = JoinSet::new();
    for interface in interfaces {
        asked.spawn(ask(name.to_owned(), interface));
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(Some(address))) = answer {
            return Ok(address);
        }
    }
    let message = format!("nobody on this network answers for `{name}`");
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

async fn ask(name: String, interface: Interface) -> io::Result<Option<Ipv4Addr>> {
    let id = random_id();
    let question = message::question(&name, id).map_err(io::Error::other)?;
    let socket = asking(&interface)?;
    let mut buffer = vec![0; PACKET_LEN_MAX];
    for patience in ASK_AGAIN {
        socket.send_to(&question, (GROUP, PORT)).await?;
        let answered = tokio::time::timeout(patience, async {
            loop {
                let (len, _) = socket.recv_from(&mut buffer).await?;
                let packet = buffer.get(..len).unwrap_or_default();
                if let Some(address) = message::answer_to(packet, &name, id) {
                    return Ok::<_, io::Error>(address);
                }
            }
        });
        if let Ok(address) = answered.await {
            return address.map(Some);
        }
    }
    Ok(None)
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // Only tells answers to us from others; zero would do.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    u16::from_le_bytes(bytes)
}
