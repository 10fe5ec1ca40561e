//! The board's way into the LAN: one interface, one address.
//!
//! Wired unless the card names a Wi-Fi network. Nothing waits for it: an interface may appear and
//! disappear at any time (it may hang on USB), and addresses may come and change.

pub(crate) mod dhcp_event;
mod interface;
mod lease;
mod wifi;

use std::fs;
use std::net::Ipv4Addr;

use bramble_card::settings::{CardSettings, Network};
use bramble_runtime::supervisor::Supervisor;

use self::interface::Interface;
use self::lease::Lease;
use crate::messages::say;
use crate::paths::{ADDRESS, AGENT, BUSYBOX, DHCP_EVENT, INIT_RUN, TIME_SERVERS};
use crate::{children, program};

/// Brings the network up and keeps it.
#[derive(Debug)]
pub(crate) struct NetworkTask {
    settings: CardSettings,
    interface: Option<Interface>,
    address: Option<Ipv4Addr>,
    time_servers: Vec<Ipv4Addr>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// The address, and maybe more.
    Address,
    /// The NTP servers that the LAN names.
    TimeServers,
}

impl NetworkTask {
    /// Prepares the network; nothing needs to be there yet.
    pub(crate) fn start(settings: &CardSettings) -> Self {
        let steps = [
            (
                "bring up the loopback interface",
                program::run(BUSYBOX, &["ip", "link", "set", "lo", "up"]),
            ),
            (
                "link the DHCP program",
                fs::create_dir_all(INIT_RUN)
                    .and_then(|()| std::os::unix::fs::symlink(AGENT, DHCP_EVENT)),
            ),
        ];
        for (what, outcome) in steps {
            if let Err(error) = outcome {
                say(&format!("could not {what}: {error}"));
            }
        }
        Self {
            settings: settings.clone(),
            interface: None,
            address: None,
            time_servers: Vec::new(),
        }
    }

    /// The board's address, if it has one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// NTP servers that the LAN's DHCP server names.
    pub(crate) fn time_servers(&self) -> &[Ipv4Addr] {
        &self.time_servers
    }

    /// Deals with what has changed since the last call, and tells what others need to know.
    pub(crate) fn on_time(&mut self, supervisor: &mut Supervisor) -> Option<Changed> {
        let wireless = self.settings.wifi.is_some();
        let found = interface::choose(&interface::all(), wireless);
        if let Some(found) = found
            && self.interface.as_ref() != Some(&found)
        {
            self.use_interface(&found, supervisor);
            self.interface = Some(found);
        }
        let text = fs::read_to_string(ADDRESS).unwrap_or_default();
        let (interface, address) = parse_address(&text)?;
        // After the address: these were written before it.
        let servers = fs::read_to_string(TIME_SERVERS).unwrap_or_default();
        let servers = parse_time_servers(&servers);
        let others = self.time_servers != servers;
        self.time_servers = servers;
        if self.address == Some(address) {
            return others.then_some(Changed::TimeServers);
        }
        say(&format!("address {address} on {interface}"));
        self.address = Some(address);
        Some(Changed::Address)
    }

    fn use_interface(&self, found: &Interface, supervisor: &mut Supervisor) {
        let name = found.name.as_str();
        if let Some(settings) = &self.settings.wifi {
            match wifi::prepare(settings) {
                Ok(()) => supervisor.put(children::wpa_supplicant(name, wifi::CONFIG)),
                Err(error) => say(&format!("Wi-Fi cannot be set up: {error}")),
            }
        }
        if let Err(error) = program::run(BUSYBOX, &["ip", "link", "set", name, "up"]) {
            say(&format!("{name} cannot be brought up: {error}"));
        }
        if self.settings.wifi.is_some() {
            // A radio that sleeps between beacons answers after hundreds of milliseconds.
            let awake = ["dev", name, "set", "power_save", "off"];
            if let Err(error) = program::run(wifi::IW, &awake) {
                say(&format!("{name} may sleep: {error}"));
            }
        }
        match &self.settings.network {
            Network::Dhcp => {
                // One that is there may have lost its interface.
                supervisor.restart(children::DHCP);
                supervisor.put(children::udhcpc(name, &self.settings.node));
            }
            Network::Static { address, prefix_len, gateway, dns } => {
                let lease = Lease {
                    interface: name.to_owned(),
                    address: *address,
                    prefix_len: *prefix_len,
                    gateway: *gateway,
                    dns: dns.clone(),
                    domain: None,
                    time_servers: Vec::new(),
                };
                if let Err(error) = lease.apply() {
                    say(&format!("{address} cannot be used: {error}"));
                }
            }
        }
    }
}

fn parse_address(text: &str) -> Option<(&str, Ipv4Addr)> {
    let (interface, address) = text.trim().split_once(' ')?;
    Some((interface, address.parse().ok()?))
}

/// Servers beyond these are not asked.
const TIME_SERVERS_MAX: usize = 4;

fn time_server_lines(servers: &[Ipv4Addr]) -> String {
    servers.iter().take(TIME_SERVERS_MAX).map(|server| format!("{server}\n")).collect()
}

fn parse_time_servers(text: &str) -> Vec<Ipv4Addr> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_as_it_was_written() {
        let address = Ipv4Addr::new(10, 77, 1, 20);
        assert_eq!(parse_address("eth0 10.77.1.20\n"), Some(("eth0", address)));
        assert_eq!(parse_address(""), None);
        assert_eq!(parse_address("eth0 x"), None);
    }

    #[test]
    fn time_servers_are_read_as_they_were_written() {
        let servers: Vec<Ipv4Addr> = (1..=6).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        let few = &servers[..TIME_SERVERS_MAX];
        assert_eq!(parse_time_servers(&time_server_lines(&servers)), few);
        assert_eq!(parse_time_servers(""), [Ipv4Addr::LOCALHOST; 0]);
    }
}
