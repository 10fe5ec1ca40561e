//! A switch with cables: one bridge on this machine and one network namespace per board.
//!
//! Subnet `10.77.N.0/24`; this machine has the address 254 in it and can reach every board.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::programs::{run, try_run};

/// A switch. Unplugs and removes everything when dropped.
#[derive(Debug)]
pub struct Lan {
    number: u8,
}

impl Lan {
    /// Makes the switch, after removing what a crashed predecessor of the same number has left.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub fn create(number: u8) -> Result<Self> {
        let lan = Self { number };
        lan.remove_left_overs()?;
        let bridge = lan.bridge();
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        let address = format!("{}/24", lan.host_address());
        run("ip", &["address", "add", &address, "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        Ok(lan)
    }

    /// Address of this machine in the LAN.
    #[must_use]
    pub fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 254)
    }

    /// Makes a board's namespace with a cable to the switch and returns its name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn connect(&self, board: &str, address: Ipv4Addr) -> Result<String> {
        let namespace = format!("bramble{}-{board}", self.number);
        run("ip", &["netns", "add", &namespace])?;
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
        self.plug_new_cable(board, &namespace, address)?;
        Ok(namespace)
    }

    /// Makes a socket of the switch for an emulated board and returns the name of its interface.
    ///
    /// # Errors
    /// The kernel refuses, or has no `tun` device.
    pub fn connect_emulated(&self, board: &str) -> Result<String> {
        let port = self.port(board);
        run("ip", &["tuntap", "add", "dev", &port, "mode", "tap"])?;
        run("ip", &["link", "set", &port, "master", &self.bridge(), "up"])?;
        Ok(port)
    }

    /// Pulls a board's cable: the far end loses its carrier, its address stays.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pull_cable(&self, board: &str) -> Result<()> {
        run("ip", &["link", "set", &self.port(board), "down"]).map(drop)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn plug_cable(&self, board: &str) -> Result<()> {
        run("ip", &["link", "set", &self.port(board), "up"]).map(drop)
    }

    fn plug_new_cable(&self, board: &str, namespace: &str, address: Ipv4Addr) -> Result<()> {
        let (port, bridge) = (self.port(board), self.bridge());
        run(
            "ip",
            &["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", namespace],
        )?;
        run("ip", &["link", "set", &port, "master", &bridge, "up"])?;
        let address = format!("{address}/24");
        run("ip", &["-n", namespace, "address", "add", &address, "dev", "eth0"])?;
        run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
        let gateway = self.host_address().to_string();
        run("ip", &["-n", namespace, "route", "add", "default", "via", &gateway])?;
        Ok(())
    }

    fn bridge(&self) -> String {
        format!("brlan{}", self.number)
    }

    /// Link names have at most 15 bytes.
    fn port(&self, board: &str) -> String {
        format!("brp{}{board}", self.number)
    }

    fn remove_left_overs(&self) -> Result<()> {
        let prefix = format!("bramble{}-", self.number);
        for line in run("ip", &["netns", "list"])?.lines() {
            if let Some(name) =
                line.split_whitespace().next().filter(|name| name.starts_with(&prefix))
            {
                try_run("ip", &["netns", "delete", name]);
            }
        }
        let ports = format!("brp{}", self.number);
        for line in run("ip", &["-o", "link", "show"])?.lines() {
            let name =
                line.split_whitespace().nth(1).and_then(|name| name.split(['@', ':']).next());
            if let Some(name) = name.filter(|name| name.starts_with(&ports)) {
                try_run("ip", &["link", "delete", name]);
            }
        }
        try_run("ip", &["link", "delete", &self.bridge()]);
        Ok(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.remove_left_overs();
    }
}
