//! What the agent is told by its configuration file and its command line, checked once.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bramble_card::settings::valid_time_server;
use bramble_runtime::whole_file;
use bramble_shared::node_name::valid_node_name;
use serde::{Deserialize, Serialize};

/// Where the administrator's configuration is.
pub(crate) const SYSTEM_CONFIG: &str = "/etc/bramble/agent.toml";
/// Where state is kept unless said otherwise.
pub(crate) const DATA_DIR: &str = "/var/lib/bramble-agent";
/// Where everything is kept that ends with the boot, unless said otherwise.
pub(crate) const RUN_DIR: &str = "/run/bramble-agent";

/// Budget of logs on a card, in MiB a pod and day: twice what is kept of one container (30 MiB), so
/// a pod that says a lot is cut after its log has been replaced once. Thirty such pods then write
/// 2 GiB a day, which a card of 16 GB that bears 500 rewrites does for ten years.
const LOG_BUDGET_CARD_MIB: u64 = 64;
/// Budget of logs on any other disk: no pod that means it meets it, but one that does not cannot
/// wear out the cheapest SSD (40 TB) in ten years.
const LOG_BUDGET_MIB: u64 = 10 * 1024;

/// The file's content; every field may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct File {
    /// Name of the node.
    pub(crate) node: Option<String>,
    /// Address of the master, `host:port`.
    pub(crate) server: Option<String>,
    /// State that outlives the boot.
    pub(crate) data_dir: Option<PathBuf>,
    /// State of this boot; a tmpfs.
    pub(crate) run_dir: Option<PathBuf>,
    /// Address by which other nodes reach this one.
    pub(crate) address: Option<Ipv4Addr>,
    /// Cgroup of everything that the agent runs.
    pub(crate) cgroup_root: Option<String>,
    /// Name of the pods' bridge.
    pub(crate) bridge: Option<String>,
    /// Registries that are asked without TLS, `host[:port]`.
    pub(crate) plain_http_registries: Vec<String>,
    /// Labels of the node.
    pub(crate) labels: BTreeMap<String, String>,
    /// Most pods of the node.
    pub(crate) pods_max: Option<u32>,
    /// Token by which the agent joins by itself, again and again until it is a node.
    pub(crate) token: Option<String>,
    /// Answers for `<node>.local` by multicast DNS.
    pub(crate) mdns: bool,
    /// Takes the time of day from the master.
    pub(crate) set_clock: bool,
    /// NTP servers, names or addresses, that are asked for the time of day; none sets no clock.
    pub(crate) ntp_servers: Vec<String>,
    /// What the first process of a card says about this boot.
    pub(crate) boot_report: Option<PathBuf>,
    /// Watchdog device of the fence, such as `/dev/watchdog0`.
    pub(crate) watchdog: Option<PathBuf>,
    /// Most MiB of logs that the containers of one pod may write to the disk in a day, 0 for no
    /// bound.
    pub(crate) log_budget_mib: Option<u64>,
}

/// The configuration as the agent uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) node: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) cgroup_root: String,
    pub(crate) bridge: String,
    pub(crate) plain_http_registries: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pods_max: u32,
    pub(crate) token: Option<String>,
    pub(crate) mdns: bool,
    pub(crate) set_clock: bool,
    pub(crate) ntp_servers: Vec<String>,
    pub(crate) boot_report: Option<PathBuf>,
    pub(crate) watchdog: Option<PathBuf>,
    /// Most bytes of logs of one pod and day on the disk.
    pub(crate) log_budget: Option<u64>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadConfigError {
    /// The file cannot be read.
    #[error("could not read configuration `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not as it should be.
    #[error("configuration `{}` is not valid", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    /// A value cannot be used.
    #[error("{what} `{value}` {why}")]
    Value { what: &'static str, value: String, why: &'static str },
}

impl Config {
    /// Reads the configuration: flags over the file over the defaults.
    ///
    /// Without `--config` it is the system's file, or what a join left in the data directory.
    ///
    /// # Errors
    ///
    /// When the file is damaged or a value cannot be used.
    pub(crate) fn load(path: Option<&Path>, flags: &File) -> Result<Self, LoadConfigError> {
        let data_dir = |file: &File| {
            let chosen = flags.data_dir.clone().or_else(|| file.data_dir.clone());
            chosen.unwrap_or_else(|| DATA_DIR.into())
        };
        let file = match path {
            Some(path) => read(path, true)?,
            None => read(Path::new(SYSTEM_CONFIG), false)?,
        };
        let joined = read(&data_dir(&file).join("agent.toml"), false)?;
        let data_dir = data_dir(&file);
        let mut plain_http_registries = flags.plain_http_registries.clone();
        plain_http_registries.extend(file.plain_http_registries);
        plain_http_registries.extend(joined.plain_http_registries);
        let mut labels = file.labels;
        labels.extend(flags.labels.clone());
        let config = Self {
            node: flags.node.clone().or(file.node).or(joined.node),
            server: flags.server.clone().or(file.server).or(joined.server),
            data_dir,
            run_dir: flags.run_dir.clone().or(file.run_dir).unwrap_or_else(|| RUN_DIR.into()),
            address: flags.address.or(file.address).or(joined.address),
            cgroup_root: flags
                .cgroup_root
                .clone()
                .or(file.cgroup_root)
                .unwrap_or_else(|| "/bramble".to_owned()),
            bridge: flags.bridge.clone().or(file.bridge).unwrap_or_else(|| "bramble0".to_owned()),
            plain_http_registries,
            labels,
            pods_max: flags.pods_max.or(file.pods_max).unwrap_or(110),
            token: file.token,
            mdns: file.mdns,
            set_clock: file.set_clock,
            ntp_servers: file.ntp_servers,
            log_budget: log_budget(file.log_budget_mib, file.boot_report.is_some()),
            boot_report: file.boot_report,
            watchdog: file.watchdog,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), LoadConfigError> {
        let refuse = |what, value: &str, why| {
            Err(LoadConfigError::Value { what, value: value.to_owned(), why })
        };
        if let Some(node) = self.node.as_deref().filter(|node| !valid_node_name(node)) {
            return refuse("node name", node, "must be a DNS label of at most 63 characters");
        }
        for path in [&self.data_dir, &self.run_dir] {
            if !path.is_absolute() {
                return refuse("folder", &path.to_string_lossy(), "must be an absolute path");
            }
        }
        if !self.cgroup_root.starts_with('/') || self.cgroup_root.contains("..") {
            return refuse("cgroup", &self.cgroup_root, "must be an absolute path");
        }
        if self.bridge.is_empty() || self.bridge.len() > 15 {
            return refuse("bridge", &self.bridge, "must have 1 to 15 characters");
        }
        if let Some(server) = self.ntp_servers.iter().find(|server| !valid_time_server(server)) {
            return refuse("time server", server, "must be a name or an address, without a port");
        }
        if self.set_clock && !self.ntp_servers.is_empty() {
            let why = "cannot be asked by a board that takes its master's time (set-clock)";
            return refuse("time server", &self.ntp_servers.join(", "), why);
        }
        Ok(())
    }

    /// Where the node's key and certificates are.
    pub(crate) fn identity_dir(&self) -> PathBuf {
        self.data_dir.join("identity")
    }
}

/// The bytes of a budget of logs as it is configured, or else as the disk can bear it.
fn log_budget(mib: Option<u64>, card: bool) -> Option<u64> {
    let default = if card { LOG_BUDGET_CARD_MIB } else { LOG_BUDGET_MIB };
    match mib.unwrap_or(default) {
        0 => None,
        mib => Some(mib.saturating_mul(1 << 20)),
    }
}

/// Writes what a join has learnt into the data directory.
///
/// # Errors
///
/// When the disk refuses.
pub(crate) fn write_joined(data_dir: &Path, node: &str, server: &str) -> io::Result<()> {
    // Both were checked to hold nothing that needs escaping.
    let text = format!("node = \"{node}\"\nserver = \"{server}\"\n");
    whole_file::replace_durably(&data_dir.join("agent.toml"), text.as_bytes(), 0o644)
}

fn read(path: &Path, must_exist: bool) -> Result<File, LoadConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
            return Ok(File::default());
        }
        Err(source) => return Err(LoadConfigError::Read { path: path.to_owned(), source }),
    };
    toml::from_str(&text).map_err(|source| LoadConfigError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "node = \"pi-1\"\nserver = \"10.0.0.1:6443\"\n").unwrap();
        let flags = File {
            node: Some("pi-9".to_owned()),
            data_dir: Some(folder.path().join("data")),
            ..File::default()
        };
        let config = Config::load(Some(&path), &flags).unwrap();
        assert_eq!(config.node.as_deref(), Some("pi-9"));
        assert_eq!(config.server.as_deref(), Some("10.0.0.1:6443"));
        assert_eq!(config.cgroup_root, "/bramble");
    }

    #[test]
    fn what_a_join_left_is_found() {
        let folder = tempfile::tempdir().unwrap();
        write_joined(folder.path(), "pi-2", "m1:6443").unwrap();
        let flags = File { data_dir: Some(folder.path().to_owned()), ..File::default() };
        let path = folder.path().join("empty.toml");
        std::fs::write(&path, "").unwrap();
        let config = Config::load(Some(&path), &flags).unwrap();
        assert_eq!(config.node.as_deref(), Some("pi-2"));
    }

    #[test]
    fn logs_have_a_budget_that_a_card_bears_and_that_can_be_changed() {
        assert_eq!(log_budget(None, true), Some(64 << 20));
        assert_eq!(log_budget(None, false), Some(10 << 30));
        assert_eq!(log_budget(Some(5), true), Some(5 << 20));
        assert_eq!(log_budget(Some(0), true), None);
        assert_eq!(log_budget(Some(u64::MAX), false), Some(u64::MAX));
    }

    #[test]
    fn mistakes_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        for (text, part) in [
            ("nodes = \"x\"", "unknown field"),
            ("node = \"Pi_1\"", "DNS label"),
            ("cgroup-root = \"bramble\"", "absolute"),
            ("ntp-servers = [\"ntp.example:123\"]", "without a port"),
            ("set-clock = true\nntp-servers = [\"ntp.example\"]", "takes its master's time"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Config::load(Some(&path), &File::default()).unwrap_err();
            let text = crate::telemetry::Chain(&error).to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
