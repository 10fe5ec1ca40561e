//! The board's own addresses on its networks, as they are now: a lease may change them.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use bramble_agent_core::overlap;
use bramble_shared::link::Ipv4Range;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// An address outside every network that boards are in (RFC 5737); only looked up, never sent to.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);

/// One address on one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interface {
    /// Name of the interface.
    pub(crate) name: String,
    /// Address on it.
    pub(crate) address: Ipv4Addr,
}

/// Addresses on networks with other boards: neither loopback nor the pods' own networks.
///
/// # Errors
///
/// When the kernel does not tell.
pub(crate) fn list(pod_bridge: &str) -> io::Result<Vec<Interface>> {
    let wanted =
        InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING | InterfaceFlags::IFF_MULTICAST;
    let mut found: Vec<Interface> = getifaddrs()?
        .filter(|each| each.flags.contains(wanted))
        .filter(|each| !each.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter(|each| {
            each.interface_name != pod_bridge && !each.interface_name.starts_with("veth")
        })
        .filter_map(|each| {
            let address = each.address?.as_sockaddr_in()?.ip();
            Some(Interface { name: each.interface_name, address })
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Networks that the board is in, but for its own inside: loopback and the pods' bridge.
///
/// # Errors
///
/// When the kernel does not tell.
pub(crate) fn networks(pod_bridge: &str) -> io::Result<Vec<(String, Ipv4Range)>> {
    let mut found: Vec<(String, Ipv4Range)> = getifaddrs()?
        .filter(|each| !each.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter(|each| each.interface_name != pod_bridge)
        .filter_map(|each| {
            let address = each.address?.as_sockaddr_in()?.ip();
            let mask = each.netmask?.as_sockaddr_in()?.ip();
            Some((each.interface_name, overlap::network_of(address, mask)))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The address by which other boards reach this one: the one of the default route, or else the
/// first that there is. Nothing is sent for it.
pub(crate) fn outward(pod_bridge: &str) -> Option<Ipv4Addr> {
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect(ELSEWHERE).and_then(|()| socket.local_addr()));
    match routed {
        Ok(std::net::SocketAddr::V4(own)) if !own.ip().is_loopback() => Some(*own.ip()),
        Ok(_) | Err(_) => list(pod_bridge).ok()?.first().map(|interface| interface.address),
    }
}
