//! An emulated board: QEMU's `virt` machine on a [`crate::lan::Lan`].

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use bramble_images::initramfs::{Boot, with_files};

use crate::board::hosts;
use crate::cgroup::Cgroup;
use crate::cluster::Cluster;

/// Program of Debian's package qemu-system-arm.
pub const PROGRAM: &str = "qemu-system-aarch64";

/// A running emulated board. Loses its power when dropped.
#[derive(Debug)]
pub struct EmulatedBoard {
    child: Child,
    console: PathBuf,
    _cgroup: Cgroup,
}

impl EmulatedBoard {
    /// Boots a board that joins the cluster by itself as `name`.
    ///
    /// # Errors
    /// QEMU is missing, or something that the board boots from cannot be written.
    pub fn boot(cluster: &Cluster, boot: &Boot, name: &str) -> Result<Self> {
        let [a, b, number, _] = cluster.master().address.octets();
        let address = Ipv4Addr::new(a, b, number, 50);
        let token = cluster.token(&[])?;
        let config = cluster.agent_config(
            name,
            address,
            "/var/lib/bramble-agent",
            "/run/bramble-agent",
            "/bramble",
        );
        let settings = format!(
            "NODE={name}\nADDRESS={address}\nGATEWAY={gateway}\nTOKEN={token}\n",
            gateway = cluster.lan().host_address()
        );
        let initramfs = cluster.folder().join(format!("{name}.cpio"));
        with_files(
            boot,
            &[
                ("etc/bramble/agent.toml", 0o600, config.into_bytes()),
                ("etc/hosts", 0o644, hosts(cluster.lan()).into_bytes()),
                ("etc/board.conf", 0o600, settings.into_bytes()),
            ],
            &initramfs,
        )?;
        let socket = cluster.lan().connect_emulated(name)?;
        let cgroup = Cgroup::create(&format!("bramble{number}-{name}"))?;
        let console = cluster.folder().join(format!("{name}-console.log"));
        let child = start(&boot.kernel, &initramfs, &socket, &console, &cgroup)?;
        Ok(Self { child, console, _cgroup: cgroup })
    }

    /// What the board has written to its serial console.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// QEMU cannot be ended.
    pub fn cut_power(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for EmulatedBoard {
    fn drop(&mut self) {
        let _ = self.cut_power();
    }
}

fn start(
    kernel: &Path,
    initramfs: &Path,
    socket: &str,
    console: &Path,
    cgroup: &Cgroup,
) -> Result<Child> {
    let qemu = format!(
        "{} && exec {PROGRAM} -M virt -cpu cortex-a72 -smp 2 -m 1024 -display none -no-reboot \
         -kernel {} -initrd {} -append 'console=ttyAMA0 quiet panic=1' -serial file:{} \
         -netdev tap,id=lan,ifname={socket},script=no,downscript=no \
         -device virtio-net-pci,netdev=lan,romfile=",
        cgroup.join_line(),
        kernel.display(),
        initramfs.display(),
        console.display(),
    );
    let log = File::create(console.with_extension("qemu.log"))?;
    Command::new("sh")
        .args(["-c", &qemu])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("could not start {PROGRAM} (package qemu-system-arm)"))
}
