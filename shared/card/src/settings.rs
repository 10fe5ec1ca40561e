//! What one card is told: name, role, cluster, network. Written by the flasher, read by init.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bramble_shared::node_name::valid_node_name;
use serde::{Deserialize, Serialize};

/// The settings of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CardSettings {
    /// Name of the node, and the board's host name.
    pub node: String,
    /// What the board is in its cluster.
    pub role: Role,
    /// Id of the cluster.
    pub cluster: String,
    /// `HOST:PORT` of the master; a host `NAME.local` is found by multicast DNS.
    pub server: String,
    /// Card token, with which the board joins.
    pub token: String,
    /// Public keys that may log in by SSH; without one there is no SSH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// Registries that are asked without TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain_http_registries: Vec<String>,
    /// NTP servers, names or addresses, that a master's board asks for the time: an empty list if
    /// it shall ask nobody. If missing, the board asks those that the LAN or the system names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Vec<String>>,
    /// Labels of the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Most MiB of logs that one pod may write to the card in a day, 0 for no bound; the agent's
    /// default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_budget_mib: Option<u64>,
    /// How the board gets its address.
    #[serde(default)]
    pub network: Network,
    /// Wi-Fi instead of a cable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wifi: Option<Wifi>,
}

/// What a board is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the server, and an agent beside it.
    Master,
    /// Runs an agent.
    Agent,
}

/// How a board gets its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "method")]
pub enum Network {
    /// From the LAN's DHCP server.
    #[default]
    Dhcp,
    /// Always the same.
    Static {
        /// Its address.
        address: Ipv4Addr,
        /// Bits of the LAN's part of the address, 1 to 30.
        prefix_len: u8,
        /// Where the internet is, if anywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<Ipv4Addr>,
        /// Name servers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dns: Vec<Ipv4Addr>,
    },
}

/// A Wi-Fi network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wifi {
    /// Its name, 1 to 32 bytes.
    pub ssid: String,
    /// Its passphrase, 8 to 63 bytes without control characters, or the key that was made of it, 64
    /// hexadecimal digits; none for an open network. Characters beyond ASCII count as UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Two-letter code of the country whose radio rules hold, such as `DE`.
    pub country: String,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardSettingsError {
    /// The text is not what it should be.
    #[error("the settings are not valid TOML or have an unknown key")]
    Parse(#[from] toml::de::Error),
    /// The file holds something else.
    #[error("the settings are no text in UTF-8 or UTF-16")]
    NoText,
    /// A value cannot be used.
    #[error("{key} `{value}` {problem}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Tells whether this can be a time server's name or address. It has no port: NTP has one only.
#[must_use]
pub fn valid_time_server(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && name.split('.').all(label))
}

/// Tells whether a Wi-Fi passphrase is the key that is made of one: 64 hexadecimal digits.
#[must_use]
pub fn wifi_key(passphrase: &str) -> bool {
    passphrase.len() == 64 && passphrase.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The text of a file that some editor wrote: UTF-8 or UTF-16, with or without a byte-order mark.
/// Ends of lines are as the editor made them. None if it is neither.
fn text(bytes: &[u8]) -> Option<String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        rest.is_empty()
            .then(|| String::from_utf16(&pairs.iter().copied().map(unit).collect::<Vec<_>>()).ok())
            .flatten()
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        // Settings begin with ASCII, which has a zero byte in UTF-16.
        [first, 0, ..] if *first != 0 => utf_16(bytes, u16::from_le_bytes),
        [0, first, ..] if *first != 0 => utf_16(bytes, u16::from_be_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

impl CardSettings {
    /// Reads and checks the settings in a file, whatever editor a person has changed it with.
    ///
    /// # Errors
    /// As [`CardSettings::parse`], or it is no text.
    pub fn parse_file(bytes: &[u8]) -> Result<Self, CardSettingsError> {
        Self::parse(&text(bytes).ok_or(CardSettingsError::NoText)?)
    }

    /// Reads and checks settings.
    ///
    /// # Errors
    /// A key is unknown or missing, or a value cannot be used.
    pub fn parse(text: &str) -> Result<Self, CardSettingsError> {
        let settings: Self = toml::from_str(text)?;
        settings.check()?;
        Ok(settings)
    }

    /// The text that [`CardSettings::parse`] reads.
    ///
    /// # Panics
    /// Never: every field can be written.
    #[must_use]
    pub fn text(&self) -> String {
        toml::to_string(self).expect("card settings can be written as TOML")
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<(), CardSettingsError> {
        let bad = |key, value: &str, problem| {
            Err(CardSettingsError::Value { key, value: value.to_owned(), problem })
        };
        if !valid_node_name(&self.node) {
            return bad("node", &self.node, "is no name of small letters, digits and hyphens");
        }
        let port = self.server.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
            return bad("server", &self.server, "is not of the form HOST:PORT");
        }
        if let Network::Static { prefix_len, .. } = &self.network
            && !(1..=30).contains(prefix_len)
        {
            return bad("prefix-len", &prefix_len.to_string(), "is not between 1 and 30");
        }
        if let Some(wifi) = &self.wifi {
            if wifi.ssid.is_empty() || wifi.ssid.len() > 32 {
                return bad("ssid", &wifi.ssid, "does not have 1 to 32 bytes");
            }
            if let Some(passphrase) = &wifi.passphrase
                && !wifi_key(passphrase)
                && (!(8..=63).contains(&passphrase.len())
                    || passphrase.bytes().any(|byte| byte.is_ascii_control()))
            {
                return bad("passphrase", "...", "does not have 8 to 63 printable characters");
            }
            if wifi.country.len() != 2 || !wifi.country.bytes().all(|b| b.is_ascii_uppercase()) {
                return bad("country", &wifi.country, "is no code of two capital letters");
            }
        }
        if let Some(servers) = &self.ntp {
            if self.role == Role::Agent {
                return bad("ntp", &servers.join(", "), "is for a master: agents take its time");
            }
            if let Some(server) = servers.iter().find(|server| !valid_time_server(server)) {
                return bad("ntp", server, "is no name or address of a server");
            }
        }
        for key in &self.ssh_keys {
            if key.split_whitespace().count() < 2 || key.contains(['\n', '"']) {
                return bad("ssh-keys", key, "is no line of a public key file");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CardSettings {
        CardSettings {
            node: "pi-2".to_owned(),
            role: Role::Agent,
            cluster: "bramble-5f2c".to_owned(),
            server: "pi-1.local:6443".to_owned(),
            token: "BR1".to_owned(),
            ssh_keys: vec!["ssh-ed25519 AAAA me".to_owned()],
            plain_http_registries: Vec::new(),
            ntp: None,
            labels: BTreeMap::from([("shelf".to_owned(), "top".to_owned())]),
            log_budget_mib: Some(32),
            network: Network::Static {
                address: Ipv4Addr::new(192, 168, 1, 20),
                prefix_len: 24,
                gateway: None,
                dns: Vec::new(),
            },
            wifi: Some(Wifi {
                ssid: "net".to_owned(),
                passphrase: Some("long enough".to_owned()),
                country: "DE".to_owned(),
            }),
        }
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let settings = settings();
        assert_eq!(CardSettings::parse(&settings.text()).unwrap(), settings);
        let plain = CardSettings {
            network: Network::Dhcp,
            wifi: None,
            ssh_keys: Vec::new(),
            labels: BTreeMap::new(),
            ..settings
        };
        assert_eq!(CardSettings::parse(&plain.text()).unwrap(), plain);
        for servers in [Vec::new(), vec!["ntp.example".to_owned(), "fd00::1".to_owned()]] {
            let master = CardSettings { role: Role::Master, ntp: Some(servers), ..plain.clone() };
            assert_eq!(CardSettings::parse(&master.text()).unwrap(), master);
        }
    }

    #[test]
    fn settings_are_read_as_any_editor_writes_them() {
        let settings = settings();
        let lines = settings.text().replace('\n', "\r\n");
        let check = |bytes: &[u8]| assert_eq!(CardSettings::parse_file(bytes).unwrap(), settings);
        check(settings.text().as_bytes());
        check(lines.as_bytes());
        check(format!("\u{feff}{lines}").as_bytes());
        for mark in ["", "\u{feff}"] {
            let units = || format!("{mark}{lines}").encode_utf16().collect::<Vec<_>>();
            check(&units().into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
            check(&units().into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
        }
        for bad in [&[0xff_u8, 0xfe, 0x00][..], &[0xc3, 0x28], &[0xff, 0xfe, 0x00, 0xd8], &[0, 0]] {
            assert!(CardSettings::parse_file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passphrases_are_taken_as_people_choose_them() {
        let check = |passphrase: &str, good: bool| {
            let mut settings = settings();
            settings.wifi.as_mut().unwrap().passphrase = Some(passphrase.to_owned());
            assert_eq!(settings.check().is_ok(), good, "{passphrase}");
            if good {
                assert_eq!(CardSettings::parse(&settings.text()).unwrap(), settings);
            }
        };
        for good in ["pa$$w\"ord!", "  blanks  ", "Füße im Schnee", "'single' \\n", "#=[]{}…"] {
            check(good, true);
        }
        check(&"0123456789abcdefABCDEF".repeat(3)[..64], true);
        for bad in ["short", "new\nline in it", "a\0b\0c\0d\0e", &"x".repeat(64), &"ü".repeat(32)]
        {
            check(bad, false);
        }
    }

    #[test]
    fn time_servers_are_names_or_addresses() {
        for good in ["0.debian.pool.ntp.org", "router", "10.0.0.1", "fd00::1", "ntp.example."] {
            assert!(valid_time_server(good), "{good}");
        }
        for bad in ["", ".", "a b", "ntp.example:123", "-x", "a..b", "http://x", "x\n"] {
            assert!(!valid_time_server(bad), "{bad}");
        }
        assert!(!valid_time_server(&"a.".repeat(127)));
    }

    #[test]
    fn bad_values_are_named() {
        let check = |change: &dyn Fn(&mut CardSettings), key: &str| {
            let mut settings = settings();
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        };
        check(&|settings| settings.node = "Pi_2".to_owned(), "node");
        check(&|settings| settings.server = "pi-1".to_owned(), "server");
        check(&|settings| settings.ssh_keys = vec!["x".to_owned()], "ssh-keys");
        check(&|settings| settings.ntp = Some(Vec::new()), "ntp");
        let master = |settings: &mut CardSettings, server: &str| {
            settings.role = Role::Master;
            settings.ntp = Some(vec![server.to_owned()]);
        };
        check(&|settings| master(settings, "a b"), "ntp");
        let wifi = |change: fn(&mut Wifi)| {
            move |settings: &mut CardSettings| change(settings.wifi.as_mut().unwrap())
        };
        check(&wifi(|wifi| wifi.ssid.clear()), "ssid");
        check(&wifi(|wifi| wifi.passphrase = Some("short".to_owned())), "passphrase");
        check(&wifi(|wifi| wifi.country = "Germany".to_owned()), "country");
        assert!(CardSettings::parse(&format!("{}\nunknown = 1\n", "")).is_err());
    }
}
