//! The system: what a board runs from, read-only. Becomes the squashfs of a slot.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use bramble_cross::build::Built;

use crate::chosen_modules;
use crate::firmware;
use crate::kernel::Kernel;
use crate::packages::Package;
use crate::programs;
use crate::tree::Tree;
use crate::version::Version;

/// Packages of the programs; what they depend on is fetched, too.
pub const PACKAGES: [&str; 6] =
    ["busybox-static", "nftables", "e2fsprogs", "dropbear-bin", "wpasupplicant", "iw"];

/// Programs: package, path in it, path in the system.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("busybox-static", "usr/bin/busybox", BUSYBOX),
    ("nftables", "usr/sbin/nft", "usr/sbin/nft"),
    ("e2fsprogs", "usr/sbin/mke2fs", "usr/sbin/mke2fs"),
    ("e2fsprogs", "usr/sbin/e2fsck", "usr/sbin/e2fsck"),
    ("dropbear-bin", "usr/sbin/dropbear", "usr/sbin/dropbear"),
    ("dropbear-bin", "usr/bin/dropbearkey", "usr/sbin/dropbearkey"),
    ("wpasupplicant", "usr/sbin/wpa_supplicant", "usr/sbin/wpa_supplicant"),
    ("iw", "usr/sbin/iw", "usr/sbin/iw"),
];
/// Settings that come with the programs.
const SETTINGS: [(&str, &str); 1] = [("e2fsprogs", "etc/mke2fs.conf")];

const BUSYBOX: &str = "usr/bin/busybox";
/// What busybox is called as, in `/usr/bin`. Besides these it is `/usr/sbin/modprobe`, by which the
/// kernel asks for modules.
const APPLETS: &str = "[ arp arping ash awk base64 basename blockdev brctl bunzip2 bzcat cat chgrp \
    chmod chown chroot clear cmp cp cut date dc dd df diff dirname dmesg du echo egrep env expr \
    false fdisk fgrep find findfs fold free fsfreeze fstrim getopt grep groups gunzip gzip head \
    hexdump hostname hwclock id ifconfig insmod ionice ip ipcalc kill killall less ln logger \
    losetup ls lsmod lsscsi md5sum mkdir mkfifo mknod mktemp modinfo more mount mv nc netstat \
    nproc nsenter nslookup od paste patch pidof ping ping6 poweroff printf ps pwd readlink \
    realpath reboot renice reset rm rmdir rmmod route sed seq setsid sh sha256sum shred sleep sort \
    stat strings stty sync sysctl tail tar taskset tee telnet test time timeout top touch tr \
    traceroute true truncate tty udhcpc umount uname uniq unshare uptime usleep vi watch wc wget \
    which who whoami xargs xxd xz xzcat yes zcat";

/// Folders that something is mounted on.
const MOUNT_POINTS: [&str; 8] = ["proc", "sys", "dev", "run", "tmp", "var", "boot", "slot"];
/// Links into places that can be written.
const LINKS: [(&str, &str); 5] = [
    ("etc/resolv.conf", "/run/resolv.conf"),
    ("etc/hosts", "/run/hosts"),
    ("etc/hostname", "/run/hostname"),
    ("root", "/run/root"),
    ("etc/dropbear", "/var/lib/dropbear"),
];
const FILES: [(&str, &str); 5] = [
    ("etc/passwd", "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/:/usr/bin/false\n"),
    ("etc/group", "root:*:0:\ntty:*:5:\nnogroup:*:65534:\n"),
    ("etc/shells", "/bin/sh\n/usr/bin/sh\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\n"),
    ("etc/profile", "export PATH=/usr/sbin:/usr/bin\nexport PS1='\\u@\\h:\\w\\$ '\n"),
];

/// Puts the system together. Returns it with the packages of which something is in it.
///
/// # Errors
/// Something is missing in a package; the error says what.
pub fn tree(
    kernel: &Kernel,
    programs: &[Package],
    wifi: &[&Package],
    built: &Built,
    version: &Version,
) -> Result<(Tree, Vec<Package>)> {
    let mut tree = Tree::new();
    for folder in MOUNT_POINTS {
        tree.add_folder(folder);
    }
    for (name, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
        tree.add_link(name, target);
    }
    for (path, target) in LINKS {
        tree.add_link(path, target);
    }
    for (path, text) in FILES {
        tree.add_file(path, 0o644, text);
    }
    tree.add_file("etc/os-release", 0o644, os_release(version));
    tree.add_file("etc/bramble/build-time", 0o644, format!("{}\n", version.seconds));
    let used = programs::add(&mut tree, programs, &PROGRAMS)?;
    for (package, path) in SETTINGS {
        let package = programs.iter().find(|candidate| candidate.name == package);
        let package = package.with_context(|| format!("no package with `{path}`"))?;
        tree.add_copy(path, &package.folder.join(path))?;
    }
    add_applets(&mut tree, &used)?;
    for (path, from) in
        [("usr/bin/bramble", &built.master), ("usr/bin/bramble-agent", &built.agent)]
    {
        let failed = || format!("could not read `{}`", from.display());
        tree.add_file(path, 0o755, fs::read(from).with_context(failed)?);
    }
    firmware::add_wifi(&mut tree, wifi)?;
    chosen_modules::add_all(&mut tree, kernel)?;
    Ok((tree, used))
}

fn add_applets(tree: &mut Tree, packages: &[Package]) -> Result<()> {
    let package = packages.iter().find(|package| package.name == "busybox-static");
    let busybox = fs::read(package.context("no busybox")?.folder.join(BUSYBOX))?;
    // busybox has a list of its applets' names, each ended by a zero.
    let known: BTreeSet<&[u8]> = busybox.split(|byte| *byte == 0).collect();
    let applets = APPLETS.split_whitespace().map(|name| (name, format!("usr/bin/{name}")));
    for (name, path) in applets.chain([("modprobe", "usr/sbin/modprobe".to_owned())]) {
        ensure!(known.contains(name.as_bytes()), "busybox has no applet `{name}`");
        tree.add_link(&path, &format!("/{BUSYBOX}"));
    }
    Ok(())
}

fn os_release(version: &Version) -> String {
    format!(
        "NAME=bramble\nID=bramble\nPRETTY_NAME=\"bramble {0}\"\nVERSION_ID=\"{0}\"\n",
        version.text
    )
}
