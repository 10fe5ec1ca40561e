//! A place in the LAN for clients: a network namespace with one or more addresses.
//!
//! Sockets belong to the namespace of the thread that made them, so a thread of this program goes
//! into the namespace for as long as it makes some; they may be used anywhere afterwards.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lan::Lan;
use crate::programs::run;

/// A namespace on a [`Lan`] in which no board runs.
#[derive(Debug)]
pub struct Place {
    namespace: String,
    addresses: Vec<Ipv4Addr>,
}

impl Place {
    /// Makes one with `count` addresses from `first` on; it goes with the LAN.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(lan: &Lan, name: &str, first: Ipv4Addr, count: u8) -> Result<Self> {
        let namespace = lan.connect(name, first)?;
        let addresses: Vec<Ipv4Addr> = (0..count.max(1))
            .map(|step| Ipv4Addr::from_bits(first.to_bits() + u32::from(step)))
            .collect();
        for address in addresses.iter().skip(1) {
            let address = format!("{address}/24");
            run("ip", &["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
        }
        Ok(Self { namespace, addresses })
    }

    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// Runs `act` on a thread of its own that stands in this namespace.
    ///
    /// # Errors
    /// The namespace is gone, or `act` panics.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.namespace);
        let namespace = File::open(&path).with_context(|| format!("could not open {path}"))?;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(act())
            });
            thread.join().map_err(|_| anyhow!("a thread panicked in {path}"))?
        })
    }

    /// Connects once from the first address.
    ///
    /// # Errors
    /// Nobody answers within `bound`.
    pub fn connect(&self, to: SocketAddr, bound: Duration) -> Result<TcpStream> {
        let from = self.first();
        self.inside(|| connect_from(from, to, bound))?
    }

    /// A UDP socket that sends from the first address to `to`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn udp(&self, to: SocketAddr) -> Result<UdpSocket> {
        let from = self.first();
        self.inside(|| {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect(to)?;
            Ok(socket)
        })?
    }

    fn first(&self) -> Ipv4Addr {
        self.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}

/// Connects from one of several addresses of the namespace that the calling thread stands in.
///
/// # Errors
/// Nobody answers within `bound`.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr, bound: Duration) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    socket.connect_timeout(&to.into(), bound)?;
    Ok(socket.into())
}
