//! Asks the node's own resolvers for names that are not the cluster's.
//!
//! The same question is on its way once at a time, whoever asks it: so a resolver that asks back for
//! what it was asked waits for itself, and the loop ends with the question's time.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bramble_dns::{Answer, AnswerKind, Cache, Question, Race, Step, resolvers};
use embassy_time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::PORT;
use crate::clock;
use crate::random::random_below;
use crate::resolv_conf;

/// Questions of clients that may wait for an answer.
const WAITING_MAX: usize = 256;
/// Longest answer over UDP that is taken; more than was asked for.
const ANSWER_LEN_MAX: usize = 4096;
/// Time for one resolver to answer by TCP.
const TCP_PATIENCE: Duration = Duration::from_secs(2);
/// How long the node's configuration is believed.
const CONFIGURATION_AGE_MAX: embassy_time::Duration = embassy_time::Duration::from_secs(5);

/// An answer as it came.
type Packet = Arc<Vec<u8>>;

/// Asks the node's resolvers, and remembers what they said.
#[derive(Debug)]
pub(super) struct Forwarder {
    own: IpAddr,
    cache: Mutex<Cache>,
    running: Mutex<BTreeMap<Question, watch::Receiver<Option<Packet>>>>,
    places: Arc<Semaphore>,
    servers: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    /// The one that answered last.
    preferred: AtomicUsize,
}

impl Forwarder {
    /// `own` is the address of cluster DNS itself.
    pub(super) fn new(own: IpAddr) -> Self {
        Self {
            own,
            cache: Mutex::default(),
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            servers: Mutex::default(),
            preferred: AtomicUsize::new(0),
        }
    }

    /// A place for one more client; none if too many wait.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// What is remembered.
    pub(super) fn known(&self, question: &Question) -> Option<Vec<u8>> {
        locked(&self.cache).get(question, clock::now().instant)
    }

    /// Asks; `whole` for an answer that must not be cut short. None if nobody could say.
    pub(super) async fn ask(self: &Arc<Self>, question: Question, whole: bool) -> Option<Packet> {
        if let Some(known) = self.known(&question) {
            return Some(Arc::new(known));
        }
        let mut answered = self.join(&question);
        let answer = match answered.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        }?;
        if whole && Answer(&answer).kind() == AnswerKind::Truncated {
            return self.ask_by_tcp(&question).await.map(Arc::new);
        }
        Some(answer)
    }

    /// Joins those who wait for the same, or asks for them.
    fn join(self: &Arc<Self>, question: &Question) -> watch::Receiver<Option<Packet>> {
        let mut running = locked(&self.running);
        if let Some(answered) = running.get(question) {
            return answered.clone();
        }
        let (sender, receiver) = watch::channel(None);
        running.insert(question.clone(), receiver.clone());
        let (forwarder, question) = (Arc::clone(self), question.clone());
        tokio::spawn(async move {
            let answer = forwarder.race(&question).await.unwrap_or_default();
            if let Some(answer) = &answer {
                let now = clock::now().instant;
                locked(&forwarder.cache).put(question.clone(), answer, now);
            }
            locked(&forwarder.running).remove(&question);
            sender.send_replace(answer.map(Arc::new));
        });
        receiver
    }

    /// Asks by UDP; the first good answer counts, or else the last bad one.
    async fn race(&self, question: &Question) -> io::Result<Option<Vec<u8>>> {
        let servers = self.servers();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut race = Race::new(servers.len(), first, clock::now().instant);
        let sockets = Sockets::bind(&servers).await?;
        let id = u16::try_from(random_below(1 << 16)).unwrap_or_default();
        let packet = question.packet(id);
        let mut bad = None;
        let mut buffer = vec![0; ANSWER_LEN_MAX];
        loop {
            let until = match race.step(clock::now().instant) {
                Step::GiveUp => return Ok(bad),
                Step::Ask(number) => {
                    let Some(server) = servers.get(number) else { continue };
                    if sockets.send(&packet, *server).await.is_err() {
                        race.failed(number, clock::now().instant);
                    }
                    continue;
                }
                Step::Wait(until) => until,
            };
            let (len, from) = tokio::select! {
                received = sockets.receive(&mut buffer) => match received {
                    Ok(received) => received,
                    // One of an earlier packet: that resolver will not answer.
                    Err(_) => continue,
                },
                () = clock::sleep_until(until) => continue,
            };
            let answer = buffer.get(..len).unwrap_or_default();
            let Some(number) = servers.iter().position(|server| *server == from) else { continue };
            if !question.answered_by(id, answer) {
                continue;
            }
            match Answer(answer).kind() {
                AnswerKind::Good | AnswerKind::Truncated => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(Some(answer.to_vec()));
                }
                AnswerKind::Failed => {
                    bad = Some(answer.to_vec());
                    race.failed(number, clock::now().instant);
                }
            }
        }
    }

    async fn ask_by_tcp(&self, question: &Question) -> Option<Vec<u8>> {
        let servers = self.servers();
        let first = self.preferred.load(Ordering::Relaxed);
        for number in 0..servers.len() {
            let Some(server) = servers.get((first + number) % servers.len()) else { continue };
            let asked = tokio::time::timeout(TCP_PATIENCE, by_tcp(question, *server)).await;
            if let Ok(Ok(answer)) = asked
                && Answer(&answer).kind() == AnswerKind::Good
            {
                locked(&self.cache).put(question.clone(), &answer, clock::now().instant);
                return Some(answer);
            }
        }
        None
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let now = clock::now().instant;
        let mut kept = locked(&self.servers);
        if let Some((read, servers)) = kept.as_ref()
            && now.saturating_duration_since(*read) < CONFIGURATION_AGE_MAX
        {
            return servers.clone();
        }
        let found = resolvers(&resolv_conf::own(), self.own);
        let servers: Vec<SocketAddr> =
            found.addresses.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect();
        if kept.as_ref().is_none_or(|(_, before)| *before != servers) {
            if !found.looping.is_empty() {
                tracing::warn!(
                    resolvers = ?found.looping,
                    "resolvers in /etc/resolv.conf that would ask back are left out"
                );
            }
            tracing::info!(?servers, "names that are not the cluster's are asked for here");
        }
        *kept = Some((now, servers.clone()));
        servers
    }
}

async fn by_tcp(question: &Question, server: SocketAddr) -> io::Result<Vec<u8>> {
    let id = u16::try_from(random_below(1 << 16)).unwrap_or_default();
    let packet = question.packet(id);
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), packet.as_slice()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    match question.answered_by(id, &answer) {
        true => Ok(answer),
        false => Err(io::Error::other("an answer to another question")),
    }
}

/// Sockets of one question, at ports that nobody can foresee.
struct Sockets {
    v4: UdpSocket,
    v6: Option<UdpSocket>,
}

impl Sockets {
    async fn bind(servers: &[SocketAddr]) -> io::Result<Self> {
        let v6 = match servers.iter().any(SocketAddr::is_ipv6) {
            // A board without IPv6 asks the others.
            true => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok(),
            false => None,
        };
        Ok(Self { v4: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?, v6 })
    }

    async fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = match (to, &self.v6) {
            (SocketAddr::V4(_), _) => &self.v4,
            (SocketAddr::V6(_), Some(v6)) => v6,
            (SocketAddr::V6(_), None) => return Err(io::Error::other("no IPv6 here")),
        };
        socket.send_to(packet, to).await.map(drop)
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let ready = async {
            match &self.v6 {
                Some(v6) => v6.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = ready => {
                ready?;
                let Some(v6) = &self.v6 else { return Err(io::ErrorKind::WouldBlock.into()) };
                v6.try_recv_from(buffer)
            }
            ready = self.v4.readable() => {
                ready?;
                self.v4.try_recv_from(buffer)
            }
        }
    }
}

/// Each change behind these locks is whole: a panic leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
