//! Finds the master by its name, anew at every dial: its address may have changed.
//!
//! Names under `.local` are asked for by multicast DNS; all others, and addresses, go to the
//! system's resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::config::Config;
use crate::{interfaces, mdns};

/// What a server's name is looked up with.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    /// This board's own name under `.local`, if it has one.
    own_name: Option<String>,
    pod_bridge: String,
}

/// Where a server's address comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    /// This board itself, on this port.
    Own(u16),
    /// Multicast DNS.
    Multicast(&'a str, u16),
    /// The system's resolver.
    System,
}

impl Finder {
    /// A finder for a board of this name and configuration.
    pub(crate) fn new(config: &Config, node: &str) -> Self {
        let own_name = config.mdns.then(|| mdns::host_name(node));
        Self { own_name, pod_bridge: config.bridge.clone() }
    }

    /// Connects to `host:port`.
    ///
    /// # Errors
    ///
    /// When the name is not known, or nobody answers at any of its addresses.
    pub(crate) async fn connect(&self, server: &str) -> io::Result<TcpStream> {
        match source(server, self.own_name.as_deref()) {
            Source::System => TcpStream::connect(server).await,
            Source::Own(port) => {
                let own = interfaces::outward(&self.pod_bridge).unwrap_or(Ipv4Addr::LOCALHOST);
                TcpStream::connect((own, port)).await
            }
            Source::Multicast(host, port) => {
                let address = mdns::resolve(host, &self.pod_bridge).await?;
                TcpStream::connect((address, port)).await
            }
        }
    }

    /// The address of this board as others see it, by a connection to the master: unspecified if
    /// only the master can tell.
    pub(crate) fn own_address(&self, connection: &TcpStream) -> Ipv4Addr {
        match connection.local_addr().map(|own| SocketAddr::ip(&own)) {
            Ok(IpAddr::V4(own)) if !own.is_loopback() => own,
            // The master is on this very board.
            Ok(_) | Err(_) => {
                interfaces::outward(&self.pod_bridge).unwrap_or(Ipv4Addr::UNSPECIFIED)
            }
        }
    }
}

fn source<'a>(server: &'a str, own_name: Option<&str>) -> Source<'a> {
    let parts = server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parts else { return Source::System };
    let plain = host.trim_end_matches('.');
    if own_name.is_some_and(|own| plain.eq_ignore_ascii_case(own)) {
        return Source::Own(port);
    }
    let local = plain.len().checked_sub(mdns::DOMAIN.len()).and_then(|at| plain.get(at..));
    if local.is_some_and(|end| end.eq_ignore_ascii_case(mdns::DOMAIN)) {
        return Source::Multicast(plain, port);
    }
    Source::System
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_under_local_are_asked_for_by_multicast() {
        let check = |server, expected| {
            assert_eq!(source(server, Some("pi-1.local")), expected, "{server}");
        };
        check("10.0.0.1:6443", Source::System);
        check("master.example:6443", Source::System);
        check("local:6443", Source::System);
        check("[fd00::1]:6443", Source::System);
        check("pi-2.local:6443", Source::Multicast("pi-2.local", 6443));
        check("PI-2.Local.:1", Source::Multicast("PI-2.Local", 1));
        check("pi-1.local:6443", Source::Own(6443));
        assert_eq!(source("pi-1.local:1", None), Source::Multicast("pi-1.local", 1));
        assert_eq!(source("pi-1.local", None), Source::System);
    }
}
