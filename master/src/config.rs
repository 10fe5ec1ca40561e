//! The master's configuration: one TOML file, overridden by flags, checked once.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use bramble_api::pod_security::Level;
use bramble_shared::link::Ipv4Range;
use serde::Deserialize;

use crate::cli::ServerFlags;
use crate::objects::{API_HOST, DNS_HOST};

/// Where the configuration is looked for when no path is given; it may be absent there.
pub(crate) const DEFAULT_CONFIG_PATH: &str = "/etc/bramble/server.toml";

/// Default folder of everything that must survive.
const DEFAULT_DATA_DIR: &str = "/var/lib/bramble";

/// The checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Folder of everything that must survive.
    pub(crate) data_dir: PathBuf,
    /// TCP address of the API and the node link.
    pub(crate) listen: SocketAddr,
    /// UDP port of heartbeats.
    pub(crate) heartbeat_port: u16,
    /// Address by which clients and nodes reach this master.
    pub(crate) advertise_address: Ipv4Addr,
    /// Addresses of pods. Invariant: does not overlap with `service_range`.
    pub(crate) cluster_range: Ipv4Range,
    /// Addresses of Services. Invariant: prefix length 12 to 24.
    pub(crate) service_range: Ipv4Range,
    /// Ports that Services may have on every node, first and last.
    pub(crate) node_port_range: (u16, u16),
    /// Where objects are kept.
    pub(crate) store: StoreKind,
    /// Folder of the identity that a new cluster takes instead of making one.
    pub(crate) identity_from: Option<PathBuf>,
    /// Level of pods in namespaces whose labels do not say one.
    pub(crate) pod_security_default: Level,
    /// File that the audit log is written to, besides the newest lines in memory.
    pub(crate) audit_log: Option<PathBuf>,
}

/// Where objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// In memory: gone when the process ends.
    Memory,
    /// In one file in the data folder.
    Disk,
}

/// What the file may say; every key is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    heartbeat_port: Option<u16>,
    advertise_address: Option<Ipv4Addr>,
    cluster_range: Option<String>,
    service_range: Option<String>,
    node_port_range: Option<String>,
    store: Option<StoreKind>,
    identity_from: Option<PathBuf>,
    pod_security_default: Option<String>,
    audit_log: Option<PathBuf>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("could not read configuration `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not what it should be.
    #[error("configuration `{}` is not valid", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    /// A value cannot be used.
    #[error("{key} `{value}` {problem}")]
    Value { key: &'static str, value: String, problem: &'static str },
}

impl Config {
    /// Reads the file and lays the flags over it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read (a missing default file is no error) or a value is not valid.
    pub(crate) fn load(flags: &ServerFlags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None if Path::new(DEFAULT_CONFIG_PATH).exists() => {
                read(Path::new(DEFAULT_CONFIG_PATH))?
            }
            None => File::default(),
        };
        Self::merge(file, flags)
    }

    /// Folder of everything that must survive, unless the configuration says otherwise.
    pub(crate) fn default_data_dir() -> PathBuf {
        PathBuf::from(DEFAULT_DATA_DIR)
    }

    fn merge(file: File, flags: &ServerFlags) -> Result<Self, ConfigError> {
        let listen = flags
            .listen
            .or(file.listen)
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 6443)));
        let text = |flag: &Option<String>, file: Option<String>, default: &str| {
            flag.clone().or(file).unwrap_or_else(|| default.to_owned())
        };
        let cluster = text(&flags.cluster_range, file.cluster_range, "10.42.0.0/16");
        let service = text(&flags.service_range, file.service_range, "10.43.0.0/16");
        let ports = text(&flags.node_port_range, file.node_port_range, "30000-32767");

        let cluster_range = parse_range("cluster-range", &cluster, 8, 22)?;
        let service_range = parse_range("service-range", &service, 12, 24)?;
        if overlap(cluster_range, service_range) {
            return Err(ConfigError::Value {
                key: "service-range",
                value: service,
                problem: "overlaps with cluster-range",
            });
        }
        Ok(Self {
            data_dir: flags
                .data_dir
                .clone()
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            listen,
            heartbeat_port: flags
                .heartbeat_port
                .or(file.heartbeat_port)
                .unwrap_or_else(|| listen.port()),
            advertise_address: flags
                .advertise_address
                .or(file.advertise_address)
                .unwrap_or_else(|| detect_address(listen)),
            cluster_range,
            service_range,
            node_port_range: parse_ports(&ports)?,
            store: flags.store.or(file.store).unwrap_or(StoreKind::Disk),
            identity_from: flags.identity_from.clone().or(file.identity_from),
            audit_log: flags.audit_log.clone().or(file.audit_log),
            pod_security_default: parse_level(
                flags.pod_security_default.clone().or(file.pod_security_default),
            )?,
        })
    }

    /// First address of the Service range: the API's own.
    pub(crate) fn api_service_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.service_range.network.to_bits() + API_HOST)
    }

    /// Address of cluster DNS.
    pub(crate) fn dns_service_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.service_range.network.to_bits() + DNS_HOST)
    }
}

fn parse_level(text: Option<String>) -> Result<Level, ConfigError> {
    let text = text.unwrap_or_else(|| Level::default().to_string());
    text.parse().map_err(|_| ConfigError::Value {
        key: "pod-security-default",
        value: text,
        problem: "is none of privileged, baseline and restricted",
    })
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: path.to_path_buf(), source: Box::new(source) })
}

/// Finds the address that this machine uses towards others; sends nothing.
///
/// A machine without any network gets the loopback address: the master works for itself then.
fn detect_address(listen: SocketAddr) -> Ipv4Addr {
    if let IpAddr::V4(address) = listen.ip()
        && !address.is_unspecified()
    {
        return address;
    }
    // 192.0.2.1 is reserved for documentation: connecting a UDP socket only looks up the route.
    let source = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match source.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) | Err(_) => Ipv4Addr::LOCALHOST,
    }
}

fn parse_range(
    key: &'static str,
    value: &str,
    prefix_min: u8,
    prefix_max: u8,
) -> Result<Ipv4Range, ConfigError> {
    let bad = |problem| ConfigError::Value { key, value: value.to_owned(), problem };
    let (network, prefix_len) =
        value.split_once('/').ok_or_else(|| bad("is not of the form a.b.c.d/n"))?;
    let network: Ipv4Addr = network.parse().map_err(|_| bad("is not of the form a.b.c.d/n"))?;
    let prefix_len: u8 = prefix_len.parse().map_err(|_| bad("is not of the form a.b.c.d/n"))?;
    if prefix_len < prefix_min || prefix_len > prefix_max {
        return Err(bad("is too large or too small"));
    }
    let range = Ipv4Range { network, prefix_len };
    if first_bits(range) != network.to_bits() {
        return Err(bad("does not begin at its first address"));
    }
    Ok(range)
}

fn first_bits(range: Ipv4Range) -> u32 {
    range.network.to_bits() & (u32::MAX << (32 - u32::from(range.prefix_len).clamp(1, 32)))
}

fn overlap(a: Ipv4Range, b: Ipv4Range) -> bool {
    let shorter = a.prefix_len.min(b.prefix_len);
    let cut = |range: Ipv4Range| first_bits(Ipv4Range { prefix_len: shorter, ..range });
    cut(a) == cut(b)
}

fn parse_ports(value: &str) -> Result<(u16, u16), ConfigError> {
    let bad =
        |problem| ConfigError::Value { key: "node-port-range", value: value.to_owned(), problem };
    let (first, last) = value.split_once('-').ok_or_else(|| bad("is not of the form a-b"))?;
    let first: u16 = first.parse().map_err(|_| bad("is not of the form a-b"))?;
    let last: u16 = last.parse().map_err(|_| bad("is not of the form a-b"))?;
    if first == 0 || first > last {
        return Err(bad("is empty"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::{Config, File, Level, ServerFlags, StoreKind};

    fn load(text: &str) -> Result<Config, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        Config::merge(file, &ServerFlags::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn empty_file_gives_the_defaults() {
        let config = load("").unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:6443");
        assert_eq!(config.heartbeat_port, 6443);
        assert_eq!(config.api_service_address().to_string(), "10.43.0.1");
        assert_eq!(config.store, StoreKind::Disk);
    }

    #[test]
    fn bad_values_are_named() {
        let check = |text: &str, problem: &str| {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        };
        check("cluster-range = '10.42.0.0'", "cluster-range");
        check("cluster-range = '10.42.1.0/16'", "first address");
        check("service-range = '10.42.128.0/20'", "overlaps");
        check("service-range = '10.43.0.0/30'", "too large or too small");
        check("node-port-range = '5-4'", "empty");
        check("lisen = '0.0.0.0:1'", "unknown field");
        check("pod-security-default = 'strict'", "none of privileged, baseline and restricted");
    }

    #[test]
    fn pods_may_be_held_to_a_level() {
        assert_eq!(load("").unwrap().pod_security_default, Level::Privileged);
        let config = load("pod-security-default = 'baseline'").unwrap();
        assert_eq!(config.pod_security_default, Level::Baseline);
    }

    #[test]
    fn identity_may_come_from_a_folder() {
        assert_eq!(load("").unwrap().identity_from, None);
        let config = load("identity-from = '/boot/cluster'").unwrap();
        assert_eq!(config.identity_from.unwrap().to_str(), Some("/boot/cluster"));
    }

    #[test]
    fn flags_win_over_the_file() {
        let file: File = toml::from_str("listen = '127.0.0.1:1000'").unwrap();
        let flags = ServerFlags {
            listen: Some("127.0.0.1:2000".parse().unwrap()),
            ..ServerFlags::default()
        };
        let config = Config::merge(file, &flags).unwrap();
        assert_eq!(config.listen.port(), 2000);
        assert_eq!(config.heartbeat_port, 2000);
        assert_eq!(config.advertise_address.to_string(), "127.0.0.1");
    }
}
