//! The node's side of the pod network, as the agent uses it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use bramble_shared::link::Ipv4Range;
use rtnetlink::{Handle, LinkBridge};
use tokio::task::JoinHandle;

use crate::connections::Lost;
use crate::error::exists;
use crate::routes::Route;
use crate::{NetworkError, connections, namespace, pod_link, routes, rules};

/// What a node's network needs to know.
#[derive(Clone, Debug)]
pub struct NodeNetworkConfig {
    /// Name of the bridge; at most 15 bytes.
    pub bridge: String,
    /// Addresses of this node's pods; the first one is the bridge's.
    pub pod_range: Ipv4Range,
    /// Addresses of Services.
    pub service_range: Ipv4Range,
    /// Folder for the pods' namespaces (`netns/UID` in it); on a tmpfs.
    pub run_dir: PathBuf,
}

/// The node's pod network. Dropping it leaves everything in place, for the next agent.
#[derive(Debug)]
pub struct NodeNetwork {
    config: NodeNetworkConfig,
    handle: Handle,
    connection: JoinHandle<()>,
    bridge: u32,
    gateway: Ipv4Addr,
}

impl NodeNetwork {
    /// Makes the bridge and switches forwarding on, or finds both as they were.
    ///
    /// # Errors
    /// A range without room, or the kernel's refusal.
    pub async fn open(config: NodeNetworkConfig) -> Result<Self, NetworkError> {
        let gateway = bridge_address(config.pod_range)?;
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| NetworkError::Setting { path: "netlink socket".into(), source })?;
        let connection = tokio::spawn(connection);
        let bridge = open_bridge(&handle, &config, gateway).await?;
        for (path, value) in [
            ("net/ipv4/ip_forward".to_owned(), "1"),
            // Neighbours on the bridge must go on using the router: see the crate's page.
            (format!("net/ipv4/conf/{}/send_redirects", config.bridge), "0"),
            ("net/ipv4/conf/all/send_redirects".to_owned(), "0"),
            // A pod must not reach what listens on the node's loopback address only. Said, since
            // an agent before this one may have allowed it.
            (format!("net/ipv4/conf/{}/route_localnet", config.bridge), "0"),
        ] {
            write_setting(&path, value)?;
        }
        routes::add_on_link(&handle, config.service_range, bridge).await?;
        Ok(Self { config, handle, connection, bridge, gateway })
    }

    /// Address of the bridge: the pods' router.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Makes a pod's namespace with its link and address and returns the namespace's path.
    ///
    /// # Errors
    /// The kernel's refusal; nothing of the pod is left then.
    pub async fn add_pod(&self, uid: &str, ip: Ipv4Addr) -> Result<PathBuf, NetworkError> {
        let path = self.namespace_path(uid);
        namespace::create(namespace::Kind::Network, &path, || Ok(()))?;
        let connected =
            pod_link::connect(&self.handle, &path, uid, ip, self.bridge, self.gateway).await;
        if let Err(error) = connected {
            // The first error is the one to be told; what this one leaves, `pods` still shows.
            let _ = self.remove_pod(uid).await;
            return Err(error);
        }
        Ok(path)
    }

    /// Removes a pod's link and namespace. Does nothing if there is none.
    ///
    /// # Errors
    /// The kernel's refusal, after everything has been tried.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), NetworkError> {
        let disconnected = pod_link::disconnect(&self.handle, uid).await;
        namespace::remove(&self.namespace_path(uid))?;
        disconnected
    }

    /// Uids of all pods that have a namespace here.
    #[must_use]
    pub fn pods(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.config.run_dir.join("netns")) else {
            return Vec::new();
        };
        let mut uids: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.sort();
        uids
    }

    /// Path at which a pod's namespace is (or would be) kept.
    #[must_use]
    pub fn namespace_path(&self, uid: &str) -> PathBuf {
        Self::namespace_path_in(&self.config.run_dir, uid)
    }

    /// The same for who has only the folder of a [`NodeNetworkConfig`].
    #[must_use]
    pub fn namespace_path_in(run_dir: &Path, uid: &str) -> PathBuf {
        run_dir.join("netns").join(uid)
    }

    /// Applies service rules as one transaction.
    ///
    /// # Errors
    /// `nft` is missing or refuses the text; the old rules stay then.
    pub async fn apply_rules(&self, text: &str) -> Result<(), NetworkError> {
        rules::apply(text).await
    }

    /// Says whether the kernel would take these rules, and changes nothing.
    ///
    /// # Errors
    /// `nft` is missing or refuses the text.
    pub async fn check_rules(&self, text: &str) -> Result<(), NetworkError> {
        rules::check(text).await
    }

    /// The rules of iptables for what this board forwards; none if there is no iptables here, and
    /// so nobody who uses it.
    pub async fn forward_rules(&self) -> Option<String> {
        rules::forward_rules().await
    }

    /// Puts a rule of iptables before all others for what this board forwards.
    ///
    /// # Errors
    /// iptables refuses.
    pub async fn allow_forwarding(&self, rule: &[String]) -> Result<(), NetworkError> {
        rules::allow_forwarding(rule).await
    }

    /// Makes the routes to other nodes' pods exactly these.
    ///
    /// # Errors
    /// The first refusal of the kernel, after all others have been tried.
    pub async fn set_routes(&self, wanted: &BTreeSet<Route>) -> Result<(), NetworkError> {
        routes::set(&self.handle, wanted).await
    }

    /// Gives the node one more address of its own, on the pods' bridge: pods reach it there, and
    /// nobody else is led to it. One that is there already stays.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn add_local_address(&self, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let address = self.handle.address().add(self.bridge, IpAddr::V4(ip), 32).replace();
        address.execute().await.map_err(|source| {
            let doing = format!("give the address {ip} to the bridge `{}`", self.config.bridge);
            NetworkError::Netlink { doing, source }
        })
    }

    /// Ends the established connections that were directed to what is lost, so that a client
    /// notices and connects again. Returns how many there were.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn drop_connections_to(&self, lost: Lost) -> Result<usize, NetworkError> {
        tokio::task::spawn_blocking(move || connections::drop_to(&lost))
            .await
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")))
            .map_err(|source| NetworkError::Connections { source })
    }

    /// Removes everything: pods, routes, bridge. For an uninstall.
    ///
    /// # Errors
    /// The first refusal, after everything has been tried.
    pub async fn destroy(self) -> Result<(), NetworkError> {
        let mut first_error = None;
        for uid in self.pods() {
            if let Err(error) = self.remove_pod(&uid).await {
                first_error.get_or_insert(error);
            }
        }
        if let Err(error) = self.set_routes(&BTreeSet::new()).await {
            first_error.get_or_insert(error);
        }
        if let Err(source) = self.handle.link().del(self.bridge).execute().await {
            let doing = "remove the bridge".to_owned();
            first_error.get_or_insert(NetworkError::Netlink { doing, source });
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl Drop for NodeNetwork {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// First host address of the range.
fn bridge_address(range: Ipv4Range) -> Result<Ipv4Addr, NetworkError> {
    let Ipv4Range { network, prefix_len } = range;
    if prefix_len > 30 {
        return Err(NetworkError::RangeTooSmall { network, prefix_len });
    }
    Ok(Ipv4Addr::from(u32::from(network) + 1))
}

async fn open_bridge(
    handle: &Handle,
    config: &NodeNetworkConfig,
    gateway: Ipv4Addr,
) -> Result<u32, NetworkError> {
    let refused = |doing: &str| {
        let doing = format!("{doing} the bridge `{}`", config.bridge);
        move |source| NetworkError::Netlink { doing, source }
    };
    let bridge =
        LinkBridge::new(&config.bridge).address(pod_link::hardware_address(gateway)).up().build();
    match handle.link().add(bridge).execute().await {
        Err(error) if !exists(&error) => return Err(refused("make")(error)),
        Ok(()) | Err(_) => {}
    }
    let Some(index) = pod_link::link_index(handle, &config.bridge).await? else {
        return Err(NetworkError::NoLink { name: config.bridge.clone() });
    };
    let address = IpAddr::V4(gateway);
    let prefix_len = config.pod_range.prefix_len;
    let added = handle.address().add(index, address, prefix_len).replace().execute().await;
    added.map_err(refused("give an address to"))?;
    Ok(index)
}

fn write_setting(path: &str, value: &str) -> Result<(), NetworkError> {
    fs::write(format!("/proc/sys/{path}"), value)
        .map_err(|source| NetworkError::Setting { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridge_takes_the_first_address() {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 42, 3, 0), prefix_len: 24 };
        assert_eq!(bridge_address(range).unwrap(), Ipv4Addr::new(10, 42, 3, 1));
    }

    #[test]
    fn range_without_room_is_refused() {
        let range = Ipv4Range { network: Ipv4Addr::new(10, 42, 3, 0), prefix_len: 31 };
        assert!(matches!(bridge_address(range), Err(NetworkError::RangeTooSmall { .. })));
    }
}
