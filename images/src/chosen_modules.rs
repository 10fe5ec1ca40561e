//! Which kernel modules are on a card: those of all boards' devices, and what every node needs.

use bramble_cross::board::BOARDS;

use crate::kernel::Kernel;
use crate::modules::{dependency_lines, modprobe_files};
use crate::tree::Tree;
use anyhow::Result;

/// Needed on every board to get from the card's reader to the system.
const EARLY: [&str; 5] = ["nls_cp437", "nls_ascii", "vfat", "loop", "squashfs"];

/// Loaded on every board: containers' roots, pod network, service rules, the data partition. What
/// rules and file systems are made of has no device that would ask for it.
const ALWAYS: [&str; 24] = [
    "ext4",
    "overlay",
    "bridge",
    "veth",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_redir",
    "nft_numgen",
    "nft_hash",
    "nft_fib",
    "nft_fib_ipv4",
    "nft_fib_inet",
    "nft_limit",
    "nft_log",
    "nft_reject",
    "nft_reject_ipv4",
    "nft_reject_inet",
    "af_packet",
];

/// There for who asks: tests make networks worse, people mount what they plug in.
const ON_DEMAND: [&str; 6] =
    ["sch_netem", "nls_iso8859_1", "nls_utf8", "br_netfilter", "dummy", "tun"];

/// Where modules are in the system.
const FOLDER: &str = "usr/lib/modules";

/// Adds the early modules and the order in which they are loaded to the initial RAM file system.
///
/// # Errors
/// The kernel lacks one, or a file cannot be read.
pub fn add_early(tree: &mut Tree, kernel: &Kernel) -> Result<()> {
    let names = kernel.modules.closure(&early())?;
    let mut order = String::new();
    for name in &names {
        tree.add_file(&format!("modules/{name}.ko"), 0o644, kernel.module(name)?);
        order += &format!("{name}\n");
    }
    tree.add_file("modules/early.order", 0o644, order);
    Ok(())
}

/// Adds all modules to the system, with lists of what they need, of the devices that they are for
/// and of those that are always loaded.
///
/// # Errors
/// As [`add_early`].
pub fn add_all(tree: &mut Tree, kernel: &Kernel) -> Result<()> {
    let mut wanted = early();
    wanted.extend(BOARDS.iter().flat_map(|board| board.modules));
    wanted.extend(ALWAYS);
    wanted.extend(ON_DEMAND);
    let names = kernel.modules.closure(&wanted)?;
    for name in &names {
        tree.add_file(&format!("{FOLDER}/{name}.ko"), 0o644, kernel.module(name)?);
    }
    let dependencies = dependency_lines(&kernel.modules, &names);
    let aliases = kernel.modules.alias_lines(&names);
    for (name, text) in modprobe_files(&dependencies, &aliases)? {
        tree.add_file(&format!("{FOLDER}/{}/{name}", kernel.version), 0o644, text);
    }
    tree.add_file(&format!("{FOLDER}/modules.dep"), 0o644, dependencies);
    tree.add_file(&format!("{FOLDER}/modules.alias"), 0o644, aliases);
    let always: Vec<String> =
        kernel.modules.closure(&ALWAYS)?.into_iter().map(|name| name + "\n").collect();
    tree.add_file(&format!("{FOLDER}/modules.load"), 0o644, always.concat());
    Ok(())
}

/// Names of the modules up to the system, each once: readers first.
fn early() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for name in BOARDS.iter().flat_map(|board| board.early_modules).chain(&EARLY) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}
