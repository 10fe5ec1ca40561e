//! An address and what comes with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use bramble_runtime::whole_file;

use super::parse_address;
use crate::paths::{ADDRESS, BUSYBOX, TIME_SERVERS};
use crate::program;

/// What a DHCP server or the card gives a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) interface: String,
    pub(super) address: Ipv4Addr,
    pub(super) prefix_len: u8,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) domain: Option<String>,
    pub(super) time_servers: Vec<Ipv4Addr>,
}

impl Lease {
    /// Reads the environment in which udhcpc calls its program; `None` if it gives no address.
    pub(super) fn of_environment(environment: &BTreeMap<String, String>) -> Option<Self> {
        let value = |name: &str| environment.get(name).map(String::as_str).unwrap_or_default();
        let addresses = |name: &str| -> Vec<Ipv4Addr> {
            value(name).split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let domain = value("domain");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        Some(Self {
            interface: environment.get("interface")?.clone(),
            address: value("ip").parse().ok()?,
            prefix_len: value("mask").parse().ok().filter(|&len| len <= 32).unwrap_or(24),
            gateway: addresses("router").first().copied(),
            dns: addresses("dns"),
            // The server is a stranger: nothing but a name goes into the file.
            domain: Some(domain)
                .filter(|domain| !domain.is_empty() && domain.chars().all(plain))
                .map(str::to_owned),
            time_servers: addresses("ntpsrv"),
        })
    }

    /// Makes it so, and tells of it in the address file last.
    ///
    /// # Errors
    /// The kernel refuses the address, or a file cannot be written.
    pub(super) fn apply(&self) -> io::Result<()> {
        let before = fs::read_to_string(ADDRESS).unwrap_or_default();
        let before = parse_address(&before).map(|(_, address)| address);
        for command in self.commands(before) {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            program::run(BUSYBOX, &args)?;
        }
        whole_file::replace(Path::new("/run/resolv.conf"), self.resolver().as_bytes(), 0o644)?;
        let lines = super::time_server_lines(&self.time_servers);
        whole_file::replace(Path::new(TIME_SERVERS), lines.as_bytes(), 0o644)?;
        let line = format!("{} {}\n", self.interface, self.address);
        whole_file::replace(Path::new(ADDRESS), line.as_bytes(), 0o644)
    }

    fn commands(&self, before: Option<Ipv4Addr>) -> Vec<Vec<String>> {
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        let (interface, address) = (&self.interface, self.address);
        let mut commands = Vec::new();
        if before.is_some_and(|before| before != address) {
            commands.push(words(format!("ip -4 address flush dev {interface} scope global")));
        }
        let prefix_len = self.prefix_len;
        commands.push(words(format!(
            "ip address replace {address}/{prefix_len} broadcast + dev {interface}"
        )));
        if let Some(gateway) = self.gateway {
            commands.push(words(format!("ip route replace default via {gateway} dev {interface}")));
        }
        commands
    }

    fn resolver(&self) -> String {
        let mut text = String::new();
        if let Some(domain) = &self.domain {
            let _infallible = writeln!(text, "search {domain}");
        }
        // A resolver looks at three at most.
        for server in self.dns.iter().take(3) {
            let _infallible = writeln!(text, "nameserver {server}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_lease_is_read_from_the_environment() {
        let lease = Lease::of_environment(&environment(&[
            ("interface", "eth0"),
            ("ip", "10.77.1.20"),
            ("mask", "16"),
            ("router", "10.77.0.1 10.77.0.2"),
            ("dns", "10.77.0.1 bad"),
            ("domain", "lan\nnameserver 6.6.6.6"),
            ("ntpsrv", "10.77.0.1 time.example 10.77.0.2"),
        ]))
        .unwrap();
        assert_eq!(lease.prefix_len, 16);
        assert_eq!(lease.gateway, Some(Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!(lease.resolver(), "nameserver 10.77.0.1\n");
        assert_eq!(lease.time_servers, [[10, 77, 0, 1], [10, 77, 0, 2]].map(Ipv4Addr::from));
        assert_eq!(Lease::of_environment(&environment(&[("interface", "eth0")])), None);
    }

    #[test]
    fn an_old_address_goes_only_if_it_is_another() {
        let lease = Lease {
            interface: "eth0".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 2),
            prefix_len: 24,
            gateway: None,
            dns: Vec::new(),
            domain: Some("lan".to_owned()),
            time_servers: Vec::new(),
        };
        let first = |before| lease.commands(before)[0].join(" ");
        assert!(first(None).starts_with("ip address replace 10.0.0.2/24"));
        assert!(first(Some(lease.address)).starts_with("ip address replace"));
        assert!(first(Some(Ipv4Addr::new(10, 0, 0, 3))).contains("flush dev eth0"));
        assert_eq!(lease.resolver(), "search lan\n");
    }
}
