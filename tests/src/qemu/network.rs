//! What a home's router does on the LAN of emulated boards: addresses, names, and bad days. It
//! names this machine as time server, whether one runs or not.
//!
//! `dnsmasq` is bound to the LAN's bridge alone; packets are lost by rules of the bridge family.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cgroup::Cgroup;
use crate::lan::Lan;
use crate::programs::{run, try_run};

/// Program of Debian's package dnsmasq-base.
pub const PROGRAM: &str = "dnsmasq";
/// Name by which boards know the image registry, which is on this machine.
pub const REGISTRY_NAME: &str = "registry.test";

/// A board's place on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its address, always the same.
    pub address: Ipv4Addr,
    /// Last byte of its MAC address.
    pub number: u8,
}

impl Place {
    /// Its MAC address, as QEMU is told.
    #[must_use]
    pub fn mac(&self, lan: u8) -> String {
        format!("52:54:00:4d:{lan:02x}:{:02x}", self.number)
    }

    /// As Linux reads it from QEMU's USB network card, which changes the first byte.
    fn mac_by_usb(&self, lan: u8) -> String {
        format!("40:54:00:4d:{lan:02x}:{:02x}", self.number)
    }
}

/// Address and name server of a LAN, and its packet loss. Ends when dropped.
#[derive(Debug)]
pub struct Network {
    number: u8,
    child: Child,
    lost_permille: BTreeMap<String, u32>,
    _cgroup: Cgroup,
}

impl Network {
    /// Starts the server on a LAN for these boards.
    ///
    /// # Errors
    /// `dnsmasq` is missing or ends at once.
    pub fn start(lan: &Lan, number: u8, places: &[Place], folder: &Path) -> Result<Self> {
        remove_left_overs(number);
        let host = lan.host_address();
        let mut arguments: Vec<String> = format!(
            "--keep-in-foreground --conf-file=/dev/null --user=root --pid-file= \
             --bind-interfaces --interface=brlan{number} --except-interface=lo \
             --no-resolv --no-hosts --local=/{REGISTRY_NAME}/ \
             --address=/{REGISTRY_NAME}/{host} \
             --dhcp-authoritative --dhcp-range=10.77.{number}.0,static,255.255.255.0,1h \
             --dhcp-option=option:router,{host} --dhcp-option=option:ntp-server,{host} \
             --dhcp-leasefile={folder}/leases \
             --log-facility={folder}/dnsmasq.log --log-dhcp --no-ping",
            folder = folder.display(),
        )
        .split_whitespace()
        .map(str::to_owned)
        .collect();
        arguments.extend(places.iter().map(|place| {
            let macs = [place.mac(number), place.mac_by_usb(number)].join(",");
            format!("--dhcp-host={macs},{},{}", place.address, place.name)
        }));
        let cgroup = Cgroup::create(&format!("bramble{number}-network"))?;
        let log = File::create(folder.join("dnsmasq.out"))?;
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{} && exec {PROGRAM} \"$@\"", cgroup.join_line()))
            .arg(PROGRAM)
            .args(&arguments)
            .env("PATH", path_with_sbin())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("could not start `dnsmasq` (package dnsmasq-base)")?;
        let leases = folder.join("dnsmasq.log");
        crate::wait::wait_until("dnsmasq serves", std::time::Duration::from_secs(10), || {
            if let Some(status) = child.try_wait()? {
                let words = std::fs::read_to_string(folder.join("dnsmasq.out"))?;
                return Ok(Some(format!("dnsmasq ended ({status}): {words}")));
            }
            Ok((!leases.exists()).then(|| "no log yet".to_owned()))
        })?;
        Ok(Self { number, child, lost_permille: BTreeMap::new(), _cgroup: cgroup })
    }

    /// Loses this part of the packets of a board, each way; 0 ends it.
    ///
    /// # Errors
    /// The kernel refuses the rules.
    pub fn lose_packets(&mut self, port: &str, permille: u32) -> Result<()> {
        ensure!(permille <= 1000, "{permille} of 1000 packets cannot be lost");
        if permille == 0 {
            self.lost_permille.remove(port);
        } else {
            self.lost_permille.insert(port.to_owned(), permille);
        }
        apply(&rules(self.number, &self.lost_permille))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_left_overs(self.number);
    }
}

/// `true` if `dnsmasq` is here.
#[must_use]
pub fn installed() -> bool {
    let path = path_with_sbin();
    std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file())
}

/// Removes the rules that a crashed predecessor has left; its processes go with their cgroup.
pub fn remove_left_overs(number: u8) {
    try_run("nft", &["delete", "table", "bridge", &table(number)]);
}

fn table(number: u8) -> String {
    format!("bramble_loss_{number}")
}

/// The whole table, in place of the one that there is.
fn rules(number: u8, lost_permille: &BTreeMap<String, u32>) -> String {
    let table = table(number);
    let mut text = format!("table bridge {table}\ndelete table bridge {table}\n");
    let _ = writeln!(text, "table bridge {table} {{");
    for (chain, hook, way) in [("from", "prerouting", "iifname"), ("to", "postrouting", "oifname")]
    {
        let _ = writeln!(text, " chain {chain} {{ type filter hook {hook} priority 0;");
        for (port, permille) in lost_permille {
            let _ = writeln!(
                text,
                "  {way} \"{port}\" numgen random mod 1000 < {permille} counter drop"
            );
        }
        text += " }\n";
    }
    text += "}\n";
    text
}

fn apply(rules: &str) -> Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .env("PATH", path_with_sbin())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not run `nft` (package nftables)")?;
    child.stdin.take().context("no standard input")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft refuses the rules: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Packets that were lost so far by the rules of a LAN, both ways.
///
/// # Errors
/// There are no rules.
pub fn lost_packets(number: u8) -> Result<u64> {
    let text = run("nft", &["list", "table", "bridge", &table(number)])?;
    let mut words = text.split_whitespace();
    let mut lost = 0;
    while let Some(word) = words.next() {
        if word == "packets" {
            lost += words.next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(lost)
}

/// Daemons are in folders that a user's path may lack.
fn path_with_sbin() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip_unless;

    #[test]
    fn rules_lose_both_ways_and_replace_the_old_ones() {
        let text = rules(7, &BTreeMap::from([("brp7pi-1".to_owned(), 50)]));
        assert!(text.starts_with("table bridge bramble_loss_7\ndelete table"));
        assert!(text.contains("iifname \"brp7pi-1\" numgen random mod 1000 < 50 counter drop"));
        assert!(text.contains("oifname \"brp7pi-1\" numgen random mod 1000 < 50 counter drop"));
    }

    #[test]
    fn packets_are_lost_and_nothing_is_left() {
        skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
        skip_unless!(installed(), "dnsmasq is not installed");
        let number = 39;
        let folder = std::env::temp_dir().join(format!("bramble-network-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let lan = Lan::create(number).unwrap();
        let address = Ipv4Addr::new(10, 77, number, 1);
        let place = Place { name: "a".into(), address, number: 1 };
        let mut network = Network::start(&lan, number, &[place], &folder).unwrap();
        lan.connect("a", address).unwrap();
        let socket = std::net::UdpSocket::bind((lan.host_address(), 0)).unwrap();
        // To all, since one board's hardware address would have to be asked for first, and the
        // question or its answer may be among the packets that are lost.
        socket.set_broadcast(true).unwrap();
        let everyone = Ipv4Addr::new(10, 77, number, 255);
        let mut lost_of_300 = |permille| {
            network.lose_packets(&format!("brp{number}a"), permille).unwrap();
            for _ in 0..300 {
                socket.send_to(b"x", (everyone, 9)).unwrap();
                crate::wait::pause(std::time::Duration::from_millis(1));
            }
            lost_packets(number).unwrap()
        };
        let lost = lost_of_300(300);
        assert!((30..200).contains(&lost), "{lost} of 300 were lost");
        assert_eq!(lost_of_300(0), 0);
        drop(network);
        assert!(lost_packets(number).is_err());
        let _ = std::fs::remove_dir_all(&folder);
    }
}
