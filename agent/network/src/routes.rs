//! Routes to the pod ranges of other nodes.
//!
//! They carry a protocol number of their own, so that routes which someone else made are never
//! touched.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bramble_shared::link::Ipv4Range;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::NetworkError;
use crate::error::absent;

/// Protocol number of our routes: free in `/etc/iproute2/rt_protos`.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(98);

/// Protocol number of the route that lets the node's own programs dial Services. Free, too, and not the one
/// above: it stays whatever the other nodes are.
const PROTOCOL_SERVICES: RouteProtocol = RouteProtocol::Other(97);

/// A route to a range through a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub range: Ipv4Range,
    /// Through whom.
    pub via: Ipv4Addr,
}

/// Makes our routes exactly these.
///
/// # Errors
/// The first refusal of the kernel, after all others have been tried.
pub(crate) async fn set(handle: &Handle, wanted: &BTreeSet<Route>) -> Result<(), NetworkError> {
    let present = ours(handle).await?;
    let mut first_error = None;
    for (route, message) in &present {
        if route.is_none_or(|route| !wanted.contains(&route)) {
            match handle.route().del(message.clone()).execute().await {
                Err(source) if !absent(&source) => {
                    let doing = format!("remove the route {route:?}");
                    first_error.get_or_insert(NetworkError::Netlink { doing, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    for route in wanted {
        if present.iter().any(|(found, _)| *found == Some(*route)) {
            continue;
        }
        let message = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(route.range.network, route.range.prefix_len)
            .gateway(route.via)
            .protocol(PROTOCOL)
            .build();
        if let Err(source) = handle.route().add(message).replace().execute().await {
            let doing = format!(
                "add the route to {}/{} via {}",
                route.range.network, route.range.prefix_len, route.via
            );
            first_error.get_or_insert(NetworkError::Netlink { doing, source });
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Routes a range to a link itself; it goes when the link goes.
///
/// The kernel looks for a route before the rules see a packet of the node's own, so without a
/// default route a Service's address would be unreachable before it is replaced by a pod's.
///
/// # Errors
/// The kernel's refusal.
pub(crate) async fn add_on_link(
    handle: &Handle,
    range: Ipv4Range,
    link: u32,
) -> Result<(), NetworkError> {
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(range.network, range.prefix_len)
        .output_interface(link)
        .scope(RouteScope::Link)
        .protocol(PROTOCOL_SERVICES)
        .build();
    handle.route().add(message).replace().execute().await.map_err(|source| {
        let doing = format!("add the route to {}/{}", range.network, range.prefix_len);
        NetworkError::Netlink { doing, source }
    })
}

/// Our routes as the kernel has them.
async fn ours(handle: &Handle) -> Result<Vec<(Option<Route>, RouteMessage)>, NetworkError> {
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<RouteMessage> = handle
        .route()
        .get(all)
        .execute()
        .try_collect()
        .await
        .map_err(|source| NetworkError::Netlink { doing: "list the routes".into(), source })?;
    Ok(routes
        .into_iter()
        .filter(|message| message.header.protocol == PROTOCOL)
        .map(|message| (parse(&message), message))
        .collect())
}

fn parse(message: &RouteMessage) -> Option<Route> {
    let mut network = None;
    let mut via = None;
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute {
            network = Some(*address);
        }
        if let RouteAttribute::Gateway(RouteAddress::Inet(address)) = attribute {
            via = Some(*address);
        }
    }
    let prefix_len = message.header.destination_prefix_length;
    Some(Route { range: Ipv4Range { network: network?, prefix_len }, via: via? })
}
