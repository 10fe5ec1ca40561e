//! One pod's link: the veth pair, its addresses and its default route.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{
    Handle, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::NetworkError;
use crate::error::{absent, exists};
use crate::namespace;

/// Name of a pod's link in its own namespace.
const POD_LINK: &str = "eth0";

/// Name of the node's end of a pod's link, from the pod's uid: a hash, since a uid may be any
/// text and a link's name has at most 15 bytes.
pub(crate) fn node_link_name(uid: &str) -> String {
    // FNV-1a: short, stable over releases, and no secret depends on it.
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("vb{:012x}", hash >> 16)
}

/// Hardware address made from an IP address, so that a neighbour's cache stays right when an
/// address moves on to the next pod. `0a` marks it as locally administered.
pub(crate) fn hardware_address(ip: Ipv4Addr) -> Vec<u8> {
    let mut address = vec![0x0a, 0x58];
    address.extend(ip.octets());
    address
}

/// Index of the link with this name.
///
/// # Errors
/// The kernel's refusal; an absent link is `None`.
pub(crate) async fn link_index(handle: &Handle, name: &str) -> Result<Option<u32>, NetworkError> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(error) if absent(&error) => Ok(None),
        Err(source) => {
            Err(NetworkError::Netlink { doing: format!("look for link `{name}`"), source })
        }
    }
}

/// Connects the namespace to the bridge and gives it its address.
///
/// # Errors
/// The kernel's refusal; what was made is left for [`disconnect`] or the next try.
pub(crate) async fn connect(
    handle: &Handle,
    namespace: &Path,
    uid: &str,
    ip: Ipv4Addr,
    bridge: u32,
    gateway: Ipv4Addr,
) -> Result<(), NetworkError> {
    let name = node_link_name(uid);
    if link_index(handle, &name).await?.is_none() {
        let target = namespace::open(namespace)?;
        // The far end is born in the pod's namespace under its final name: one request, and no
        // moment in which the node has an `eth0` too many.
        let far_end = LinkMessageBuilder::<LinkUnspec>::new()
            .name(POD_LINK)
            .address(hardware_address(ip))
            .append_extra_attribute(LinkAttribute::NetNsFd(target.as_raw_fd()))
            .build();
        let pair = LinkVeth::new(&name, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
            .controller(bridge)
            .up()
            .build();
        handle.link().add(pair).execute().await.map_err(|source| NetworkError::Netlink {
            doing: format!("make the link `{name}` of a pod"),
            source,
        })?;
    }
    let Some(near_end) = link_index(handle, &name).await? else {
        return Err(NetworkError::NoLink { name });
    };
    // A pod that reaches itself through its Service comes in by the port that it left by.
    handle
        .link()
        .set_port(LinkBridgePort::new(near_end).hairpin(true).build())
        .execute()
        .await
        .map_err(|source| NetworkError::Netlink {
            doing: format!("let `{name}` reach itself"),
            source,
        })?;

    let path = namespace.to_path_buf();
    tokio::task::spawn_blocking(move || {
        namespace::inside(path.clone(), move || in_new_runtime(&path, ip, gateway))
    })
    .await
    .map_err(|_| NetworkError::NoLink { name: POD_LINK.into() })?
}

/// Removes the link pair of a pod.
///
/// # Errors
/// The kernel's refusal; an absent pair is none.
pub(crate) async fn disconnect(handle: &Handle, uid: &str) -> Result<(), NetworkError> {
    let name = node_link_name(uid);
    let Some(index) = link_index(handle, &name).await? else { return Ok(()) };
    match handle.link().del(index).execute().await {
        Err(source) if !absent(&source) => {
            Err(NetworkError::Netlink { doing: format!("remove the link `{name}`"), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A netlink socket belongs to the namespace of the thread that opens it, so the pod's side runs
/// in a runtime of this thread's own.
fn in_new_runtime(path: &Path, ip: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::Namespace { doing: "enter", path: path.into(), source };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    runtime.block_on(async move {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        tokio::spawn(connection);
        configure(&handle, ip, gateway).await
    })
}

async fn configure(handle: &Handle, ip: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let refused = |doing: &str| {
        let doing = doing.to_owned();
        move |source| NetworkError::Netlink { doing, source }
    };
    for name in ["lo", POD_LINK] {
        let up = LinkUnspec::new_with_name(name).up().build();
        handle.link().set(up).execute().await.map_err(refused("switch a pod's link on"))?;
    }
    let Some(link) = link_index(handle, POD_LINK).await? else {
        return Err(NetworkError::NoLink { name: POD_LINK.into() });
    };
    let address = handle.address().add(link, IpAddr::V4(ip), 32).replace().execute().await;
    address.map_err(refused("give a pod its address"))?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(link)
        .scope(RouteScope::Link)
        .build();
    let default =
        RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(link).build();
    for route in [to_gateway, default] {
        match handle.route().add(route).execute().await {
            Err(error) if !exists(&error) => return Err(refused("give a pod its route")(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_fit_the_kernel_and_differ() {
        let first = node_link_name("0b3c9a52-0000-4000-8000-000000000001");
        let second = node_link_name("0b3c9a52-0000-4000-8000-000000000002");
        assert!(first.len() <= 15, "{first}");
        assert_ne!(first, second);
    }

    #[test]
    fn hardware_address_is_local_and_unicast() {
        let address = hardware_address(Ipv4Addr::new(10, 42, 1, 7));
        assert_eq!(address, [0x0a, 0x58, 10, 42, 1, 7]);
    }
}
