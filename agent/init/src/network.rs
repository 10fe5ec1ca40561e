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
use crate::paths::{ADDRESS, AGENT, BUSYBOX, DHCP_EVENT, INIT_RUN};
use crate::{children, program};

/// Brings the network up and keeps it.
#[derive(Debug)]
pub(crate) struct NetworkTask {
    settings: CardSettings,
    interface: Option<Interface>,
    address: Option<Ipv4Addr>,
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
        Self { settings: settings.clone(), interface: None, address: None }
    }

    /// The board's address, if it has one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Deals with what has changed since the last call; returns whether the address has.
    pub(crate) fn on_time(&mut self, supervisor: &mut Supervisor) -> bool {
        let wireless = self.settings.wifi.is_some();
        let found = interface::choose(&interface::all(), wireless);
        if let Some(found) = found
            && self.interface.as_ref() != Some(&found)
        {
            self.use_interface(&found, supervisor);
            self.interface = Some(found);
        }
        let text = fs::read_to_string(ADDRESS).unwrap_or_default();
        let Some((interface, address)) = parse_address(&text) else { return false };
        if self.address == Some(address) {
            return false;
        }
        say(&format!("address {address} on {interface}"));
        self.address = Some(address);
        true
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
}
