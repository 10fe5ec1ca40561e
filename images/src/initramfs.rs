//! The initial RAM file system of an emulated board: kernel modules, `nft`, the agent.
//!
//! A container's root cannot be pivoted away from the kernel's first file system, so `/init`
//! copies itself into a tmpfs and goes on there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bramble_cross::board::Board;

use crate::cpio::Tree;
use crate::modules;
use crate::packages::Packages;

/// Debian's suite of kernel and libraries.
const SUITE: &str = "trixie";

/// What a board boots.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Kernel, as the emulator takes it.
    pub kernel: PathBuf,
    /// Initial RAM file system.
    pub initramfs: PathBuf,
}

/// First program of the board: sets up what a running system has, then becomes the agent.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ "$1" != "again" ]; then
    mkdir -p /new
    mount -t tmpfs -o mode=755,size=80% tmpfs /new
    cp -a /usr /etc /init /new/
    for link in bin sbin lib lib64; do [ -e "/$link" ] && cp -a "/$link" /new/; done
    mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp /new/var/lib /new/root
    exec switch_root /new /init again
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+cpu +memory +pids" > /sys/fs/cgroup/cgroup.subtree_control
for module in $(cat /etc/modules.order); do insmod "/usr/lib/modules/$module" || echo "no module $module"; done
. /etc/board.conf
hostname "$NODE"
ip link set lo up
ip link set eth0 up
ip address add "$ADDRESS/24" dev eth0
ip route add default via "$GATEWAY"
echo "board: network up"
bramble-agent run --token "$TOKEN" --config /etc/bramble/agent.toml
echo "board: agent ended with $?"
exec sh
"#;

/// Fetches packages and writes kernel and initial RAM file system into `folder`.
///
/// # Errors
/// A package, a module or the agent is missing; the error says which.
pub fn build(board: &Board, agent: &Path, folder: &Path) -> Result<Boot> {
    let packages = Packages::open(&folder.join("packages"), SUITE, board.debian_architecture)?;
    let kernel_package = packages.dependency(board.kernel_package, "linux-image-")?;
    let kernel = packages.unpack(&kernel_package)?;
    let version = kernel_package.trim_start_matches("linux-image-");

    let mut tree = Tree::new();
    tree.add_file("init", 0o755, INIT);
    for (link, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        tree.add_link(link, target);
        tree.add_folder(target);
    }
    for folder in ["dev", "proc", "sys", "run", "tmp", "new", "etc"] {
        tree.add_folder(folder);
    }
    add_modules(&mut tree, &kernel, version, board)?;
    for unpacked in packages.unpack_with_dependencies(&["nftables"])? {
        add_programs(&mut tree, &unpacked)?;
    }
    add_busybox(&mut tree, &packages.unpack("busybox-static")?)?;
    tree.add_copy("usr/bin/bramble-agent", agent)?;
    tree.add_file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n");

    let initramfs = folder.join(format!("{}.cpio", board.name));
    fs::write(&initramfs, tree.to_bytes()?)
        .context("could not write the initial RAM file system")?;
    Ok(Boot { kernel: kernel.join(format!("boot/vmlinuz-{version}")), initramfs })
}

/// Files that differ from board to board of one image, as a second archive behind the first.
///
/// # Errors
/// A file is too large.
pub fn with_files(boot: &Boot, files: &[(&str, u32, Vec<u8>)], path: &Path) -> Result<()> {
    let mut tree = Tree::new();
    for (name, mode, content) in files {
        tree.add_file(name, *mode, content.clone());
    }
    let mut archive = fs::read(&boot.initramfs)?;
    archive.extend(tree.to_bytes()?);
    fs::write(path, archive).with_context(|| format!("could not write `{}`", path.display()))
}

fn add_modules(tree: &mut Tree, kernel: &Path, version: &str, board: &Board) -> Result<()> {
    let mut order = String::new();
    for path in modules::closure(kernel, version, board.modules())? {
        let file = format!("{}.ko", modules::module_name(&path.to_string_lossy()));
        tree.add_file(&format!("usr/lib/modules/{file}"), 0o644, modules::read(&path)?);
        order += &file;
        order.push('\n');
    }
    tree.add_file("etc/modules.order", 0o644, order);
    Ok(())
}

/// Programs and libraries of a package, without its pages and settings.
fn add_programs(tree: &mut Tree, package: &Path) -> Result<()> {
    for folder in ["usr/sbin", "usr/bin", "usr/lib", "usr/lib64", "sbin", "bin", "lib", "lib64"] {
        let from = package.join(folder);
        if from.is_dir() && !from.is_symlink() {
            let folder = folder.trim_start_matches("usr/");
            tree.add_copy_of_folder(&format!("usr/{folder}"), &from)?;
        }
    }
    Ok(())
}

fn add_busybox(tree: &mut Tree, package: &Path) -> Result<()> {
    let program = [package.join("usr/bin/busybox"), package.join("bin/busybox")]
        .into_iter()
        .find(|path| path.is_file())
        .context("the package busybox-static has no busybox")?;
    tree.add_copy("usr/bin/busybox", &program)?;
    for applet in [
        "sh",
        "mount",
        "mkdir",
        "cp",
        "switch_root",
        "insmod",
        "hostname",
        "ip",
        "cat",
        "echo",
        "ls",
        "ps",
        "sleep",
        "dmesg",
        "poweroff",
    ] {
        tree.add_link(&format!("usr/bin/{applet}"), "busybox");
    }
    Ok(())
}
