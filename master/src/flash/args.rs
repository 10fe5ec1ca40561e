//! Flags of `bramble flash`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use bramble_card::layout::CARD_LEN_MIN;
use bramble_card::settings::Role;
use clap::{Args, ValueEnum};

/// Flags of `bramble flash`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FlashArgs {
    /// Name of the node, and of the board in the network.
    #[arg(long, value_name = "NAME", conflicts_with = "replace")]
    pub(crate) node: Option<String>,
    /// Make a new card for this node; its old card and certificate are worth nothing once the new
    /// one is used.
    #[arg(long, value_name = "NAME")]
    pub(crate) replace: Option<String>,
    /// What the board is in its cluster [default: agent, or what the replaced node was].
    #[arg(long, value_enum)]
    pub(crate) role: Option<CardRole>,
    /// Write this card; without it and --output, cards are listed.
    #[arg(long, value_name = "PATH", conflicts_with = "output")]
    pub(crate) device: Option<PathBuf>,
    /// Write a file that holds a whole card, for another program to write or QEMU to boot.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Size of that file's card: a power of two.
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub(crate) card_size: u64,
    /// Image of the system [default: bramble-arm64.img.gz beside this program, in target/images or
    /// in /usr/share/bramble].
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Cluster of the node [default: the only one].
    #[arg(long, value_name = "ID", conflicts_with_all = ["new_cluster", "cluster_dir"])]
    pub(crate) cluster: Option<String>,
    /// Begin another cluster with this master.
    #[arg(long, conflicts_with_all = ["replace", "cluster_dir"])]
    pub(crate) new_cluster: bool,
    /// The cluster's folder itself, as `cluster` in the data folder of `bramble server`.
    #[arg(long, value_name = "DIR")]
    pub(crate) cluster_dir: Option<PathBuf>,
    /// Public key that may log in to the board by SSH; may be given again.
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub(crate) ssh_keys: Vec<PathBuf>,
    /// Address that the board always has, such as 192.168.1.10/24 [default: by DHCP].
    #[arg(long, value_name = "ADDRESS/LEN", value_parser = parse_address)]
    pub(crate) address: Option<(Ipv4Addr, u8)>,
    /// The network's way to the internet, with --address.
    #[arg(long, value_name = "ADDRESS", requires = "address")]
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Name server, with --address; may be given again.
    #[arg(long, value_name = "ADDRESS", requires = "address")]
    pub(crate) dns: Vec<Ipv4Addr>,
    /// Use this Wi-Fi network instead of a cable; its passphrase is asked for.
    #[arg(long, value_name = "NAME", requires = "wifi_country")]
    pub(crate) wifi_ssid: Option<String>,
    /// Country whose radio rules hold, such as DE.
    #[arg(long, value_name = "CODE", requires = "wifi_ssid")]
    pub(crate) wifi_country: Option<String>,
    /// File with the passphrase in its first line.
    #[arg(long, value_name = "FILE", requires = "wifi_ssid", conflicts_with = "wifi_open")]
    pub(crate) wifi_passphrase_file: Option<PathBuf>,
    /// The Wi-Fi network has no passphrase.
    #[arg(long, requires = "wifi_ssid")]
    pub(crate) wifi_open: bool,
    /// Label of the node; may be given again.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Registry that is asked without TLS; may be given again.
    #[arg(long = "plain-http-registry", value_name = "HOST[:PORT]")]
    pub(crate) plain_http_registries: Vec<String>,
    /// NTP server of a master's card, or `none`; may be given again [default: what the network's
    /// DHCP server names, or Debian's].
    #[arg(long, value_name = "HOST")]
    pub(crate) ntp: Vec<String>,
    /// Where the board finds the master [default: <master>.local:6443, or its --address].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// Ask nothing.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Folder of the kubeconfig [default: ~/.kube].
    #[arg(long, value_name = "DIR")]
    pub(crate) kubeconfig_dir: Option<PathBuf>,
    /// Folder in which clusters are kept [default: ~/.config/bramble].
    #[arg(long, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
}

/// What a board is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CardRole {
    /// Runs pods, as every board does.
    Agent,
    /// Serves the API besides.
    Master,
}

impl From<CardRole> for Role {
    fn from(role: CardRole) -> Self {
        match role {
            CardRole::Agent => Self::Agent,
            CardRole::Master => Self::Master,
        }
    }
}

impl FlashArgs {
    /// Tells whether these flags mean a certain card, not only a look at the devices.
    pub(super) fn names_a_card(&self) -> bool {
        self.node.is_some() || self.replace.is_some()
    }
}

/// Reads a size like `512M` or `2G`, in bytes: a power of two, as QEMU wants a card to be.
fn parse_size(text: &str) -> Result<u64, String> {
    let problem = || format!("`{text}` is no size like 512M, 1G or 2G");
    let (number, shift) = match text.strip_suffix('G') {
        Some(number) => (number, 30),
        None => (text.strip_suffix('M').ok_or_else(problem)?, 20),
    };
    let number: u64 = number.parse().map_err(|_| problem())?;
    let len = number.checked_mul(1 << shift).ok_or_else(problem)?;
    if !len.is_power_of_two() {
        return Err(format!("`{text}` is no power of two; 512M, 1G and 2G are"));
    }
    if len < CARD_LEN_MIN {
        return Err(format!("`{text}` is too small; a card has at least 512M"));
    }
    Ok(len)
}

fn parse_address(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let problem = || format!("`{text}` is no address like 192.168.1.10/24");
    let (address, len) = text.split_once('/').ok_or_else(problem)?;
    Ok((address.parse().map_err(|_| problem())?, len.parse().map_err(|_| problem())?))
}

/// Reads `key=value` with the rules of Kubernetes labels.
fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))?;
    let part = |text: &str, len_max| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        text.len() <= len_max
            && text.bytes().all(inner)
            && outer(bytes.first())
            && outer(bytes.last())
    };
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    if !part(name, 63) || prefix.is_some_and(|prefix| !part(prefix, 253)) {
        return Err(format!("`{key}` is no label key"));
    }
    if !value.is_empty() && !part(value, 63) {
        return Err(format!("`{value}` is no label value"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        for bad in ["", "G", "1", "3G", "256M", "-1G", "1T", "99999999999999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_kubernetes_labels() {
        assert_eq!(parse_label("shelf=top"), Ok(("shelf".to_owned(), "top".to_owned())));
        parse_label("example.com/disk=").unwrap();
        for bad in ["x", "=x", "a b=c", "-a=b", "a=b c", "/a=b", "a/=b"] {
            assert!(parse_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_length() {
        assert_eq!(parse_address("10.0.0.2/24"), Ok((Ipv4Addr::new(10, 0, 0, 2), 24)));
        for bad in ["10.0.0.2", "10.0.0/24", "10.0.0.2/x", "10.0.0.2/999"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
