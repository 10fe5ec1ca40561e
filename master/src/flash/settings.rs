//! Turns flags into the settings of a card.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bramble_card::settings::{CardSettings, CardSettingsError, Network, Role, Wifi};

use super::args::FlashArgs;
use super::cluster_folder::ClusterRecord;
use super::console;

/// Port of the master.
const PORT: u16 = 6443;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A file could not be read.
    #[error("could not read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file holds no public key.
    #[error("`{}` holds no public key; the public half is in the file that ends in .pub", path.display())]
    NoPublicKey { path: PathBuf },
    /// Nobody could be asked.
    #[error(
        "the passphrase of `{ssid}` is needed: say --wifi-passphrase-file FILE, or --wifi-open if it has none"
    )]
    NoPassphrase { ssid: String },
    /// Asked to ask and not to ask.
    #[error("`--ntp none` asks no server: say it alone, or leave it out")]
    NtpNone,
    /// The terminal failed, or somebody stopped.
    #[error("no passphrase was typed")]
    Ask(#[source] io::Error),
    /// A value cannot be used.
    #[error(transparent)]
    Value(#[from] CardSettingsError),
}

/// What the flags alone say of a card.
#[derive(Debug)]
pub(super) struct CardParts {
    server: Option<String>,
    ssh_keys: Vec<String>,
    plain_http_registries: Vec<String>,
    ntp: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
    network: Network,
    wifi: Option<Wifi>,
}

impl CardParts {
    /// Reads the files that the flags name, and asks for a passphrase.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or holds something else, or nobody answers.
    pub(super) fn from_args(args: &FlashArgs) -> Result<Self, SettingsError> {
        let mut ssh_keys = Vec::new();
        for path in &args.ssh_keys {
            ssh_keys.extend(public_keys(path, &read(path)?)?);
        }
        let network = args.address.map_or(Network::Dhcp, |(address, prefix_len)| Network::Static {
            address,
            prefix_len,
            gateway: args.gateway,
            dns: args.dns.clone(),
        });
        Ok(Self {
            server: args.server.clone(),
            ssh_keys,
            plain_http_registries: args.plain_http_registries.clone(),
            ntp: ntp(&args.ntp)?,
            labels: args.labels.iter().cloned().collect(),
            network,
            wifi: wifi(args)?,
        })
    }

    /// `HOST:PORT` of the master: as the flags say, or as it is noted, or as this card has it.
    pub(super) fn server(&self, record: Option<&ClusterRecord>, name: &str, role: Role) -> String {
        let noted = record.map(|record| record.server.clone()).filter(|server| !server.is_empty());
        match (&self.server, role, &self.network, noted) {
            (Some(server), _, _, _) => server.clone(),
            (None, Role::Agent, _, Some(noted)) => noted,
            (None, Role::Master, Network::Static { address, .. }, _) => format!("{address}:{PORT}"),
            // A port or name that was chosen once holds for a new card of the master, too.
            (None, Role::Master, Network::Dhcp, Some(noted))
                if !noted.starts_with(|first: char| first.is_ascii_digit()) =>
            {
                noted
            }
            (None, _, _, _) => format!("{name}.local:{PORT}"),
        }
    }

    /// All settings but the cluster's id and the token.
    pub(super) fn settings(self, name: &str, role: Role, server: &str) -> CardSettings {
        CardSettings {
            node: name.to_owned(),
            role,
            cluster: String::new(),
            server: server.to_owned(),
            token: String::new(),
            ssh_keys: self.ssh_keys,
            plain_http_registries: self.plain_http_registries,
            log_budget_mib: None,
            ntp: self.ntp,
            labels: self.labels,
            network: self.network,
            wifi: self.wifi,
        }
    }
}

/// The servers that the flags name; an empty list asks nobody.
fn ntp(servers: &[String]) -> Result<Option<Vec<String>>, SettingsError> {
    match servers {
        [] => Ok(None),
        [none] if none == "none" => Ok(Some(Vec::new())),
        _ if servers.iter().any(|server| server == "none") => Err(SettingsError::NtpNone),
        _ => Ok(Some(servers.to_vec())),
    }
}

fn wifi(args: &FlashArgs) -> Result<Option<Wifi>, SettingsError> {
    let (Some(ssid), Some(country)) = (&args.wifi_ssid, &args.wifi_country) else {
        return Ok(None);
    };
    let passphrase = match &args.wifi_passphrase_file {
        _ if args.wifi_open => None,
        Some(path) => Some(read(path)?.lines().next().unwrap_or_default().to_owned()),
        None => {
            let asked = console::ask_secret(&format!("passphrase of {ssid}: "));
            let no_passphrase = || SettingsError::NoPassphrase { ssid: ssid.clone() };
            Some(asked.map_err(SettingsError::Ask)?.ok_or_else(no_passphrase)?)
        }
    };
    Ok(Some(Wifi { ssid: ssid.clone(), passphrase, country: country.to_ascii_uppercase() }))
}

/// The keys in a file like `id_ed25519.pub` or `authorized_keys`.
fn public_keys(path: &Path, text: &str) -> Result<Vec<String>, SettingsError> {
    let lines = text.lines().map(str::trim);
    let keys: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let kinds = ["ssh-", "ecdsa-", "sk-"];
    let public = |key: &String| {
        kinds.iter().any(|kind| key.starts_with(kind)) && key.split_whitespace().count() >= 2
    };
    if keys.is_empty() || !keys.iter().all(public) {
        return Err(SettingsError::NoPublicKey { path: path.to_path_buf() });
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn parts(server: Option<&str>, network: Network) -> CardParts {
        CardParts {
            server: server.map(str::to_owned),
            ssh_keys: Vec::new(),
            plain_http_registries: Vec::new(),
            ntp: None,
            labels: BTreeMap::new(),
            network,
            wifi: None,
        }
    }

    #[test]
    fn boards_find_their_master() {
        let address = Ipv4Addr::new(192, 168, 1, 10);
        let fixed = || Network::Static { address, prefix_len: 24, gateway: None, dns: Vec::new() };
        let noted =
            |server: &str| ClusterRecord { server: server.to_owned(), ..ClusterRecord::default() };
        let check = |server, network, noted: Option<&ClusterRecord>, role, expected: &str| {
            assert_eq!(parts(server, network).server(noted, "pi-1", role), expected);
        };
        check(None, Network::Dhcp, None, Role::Master, "pi-1.local:6443");
        check(None, fixed(), None, Role::Master, "192.168.1.10:6443");
        check(Some("m:1"), fixed(), None, Role::Master, "m:1");
        let name = noted("pi-0.local:6443");
        check(None, fixed(), Some(&name), Role::Agent, "pi-0.local:6443");
        check(Some("m:1"), Network::Dhcp, Some(&name), Role::Agent, "m:1");
        // The master's new card has no fixed address any more.
        check(
            None,
            Network::Dhcp,
            Some(&noted("192.168.1.10:6443")),
            Role::Master,
            "pi-1.local:6443",
        );
        check(None, Network::Dhcp, Some(&noted("m.example:1")), Role::Master, "m.example:1");
    }

    #[test]
    fn time_servers_are_named_or_switched_off() {
        let ntp =
            |servers: &[&str]| ntp(&servers.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(ntp(&[]).unwrap(), None);
        assert_eq!(ntp(&["none"]).unwrap(), Some(Vec::new()));
        let two = ["a.example".to_owned(), "10.0.0.1".to_owned()];
        assert_eq!(ntp(&["a.example", "10.0.0.1"]).unwrap(), Some(two.to_vec()));
        assert!(ntp(&["none", "a.example"]).is_err());
    }

    #[test]
    fn private_keys_are_not_put_on_cards() {
        let path = Path::new("id_ed25519");
        let keys = public_keys(path, "# mine\nssh-ed25519 AAAA me\n\nssh-rsa BBBB you\n").unwrap();
        assert_eq!(keys, ["ssh-ed25519 AAAA me", "ssh-rsa BBBB you"]);
        for bad in ["", "# nothing", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "ssh-rsa"] {
            assert!(public_keys(path, bad).is_err(), "{bad}");
        }
    }
}
