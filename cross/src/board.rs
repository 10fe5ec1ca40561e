//! The boards that bramble knows: one row each.

/// A board, or an emulated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name as `--board` takes it.
    pub name: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// Rust's target triple.
    pub target: &'static str,
    /// Debian's architecture of kernel, firmware and foreign libraries.
    pub debian_architecture: &'static str,
    /// Go's architecture, as images and `kubernetes.io/arch` have it.
    pub architecture: &'static str,
    /// Kernel package.
    pub kernel_package: &'static str,
    /// Device tree in the kernel package; none where the emulator makes it.
    pub device_tree: Option<&'static str>,
    /// Kernel modules of its own devices, without their dependencies.
    pub devices: &'static [&'static str],
    /// How far it has been tried.
    pub tried: Tried,
}

/// How far a board has been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Booted under QEMU by a test.
    Emulated,
    /// Its binaries have been built and run under `qemu-user`.
    Built,
}

/// What every node needs: containers' roots, pod network, service rules.
const NODE_MODULES: [&str; 12] = [
    "overlay",
    "bridge",
    "veth",
    "nf_tables",
    "nf_conntrack",
    "nf_nat",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_numgen",
    "nf_conntrack_netlink",
];

const VIRT: [&str; 6] =
    ["virtio_net", "virtio_pci", "virtio_mmio", "virtio_blk", "i6300esb", "af_packet"];
const PI: [&str; 6] = ["bcm2835_wdt", "sdhci-iproc", "lan78xx", "smsc95xx", "genet", "brcmfmac"];
/// In the order in which its network card needs them.
const RASPI3B: [&str; 6] =
    ["phy-generic", "dwc2", "cdc_ether", "bcm2835", "bcm2835_wdt", "af_packet"];

impl Board {
    /// Kernel modules that a node needs on it, without their dependencies.
    pub fn modules(&self) -> impl Iterator<Item = &'static str> {
        self.devices.iter().chain(&NODE_MODULES).copied()
    }
}

/// All boards.
pub const BOARDS: [Board; 7] = [
    pi("pi-zero-2w", "Raspberry Pi Zero 2 W", "broadcom/bcm2837-rpi-zero-2-w.dtb"),
    pi("pi-3", "Raspberry Pi 3 B and B+", "broadcom/bcm2837-rpi-3-b-plus.dtb"),
    pi("pi-4", "Raspberry Pi 4 B", "broadcom/bcm2711-rpi-4-b.dtb"),
    pi("pi-5", "Raspberry Pi 5", "broadcom/bcm2712-rpi-5-b.dtb"),
    arm64("arm64", "any other 64-bit ARM board", None, &PI, Tried::Built),
    arm64("qemu-virt", "QEMU `virt`", None, &VIRT, Tried::Emulated),
    arm64(
        "qemu-raspi3b",
        "QEMU `raspi3b`",
        Some("broadcom/bcm2837-rpi-3-b.dtb"),
        &RASPI3B,
        Tried::Built,
    ),
];

/// The board of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Board> {
    BOARDS.iter().find(|board| board.name == name)
}

const fn pi(name: &'static str, description: &'static str, device_tree: &'static str) -> Board {
    arm64(name, description, Some(device_tree), &PI, Tried::Built)
}

const fn arm64(
    name: &'static str,
    description: &'static str,
    device_tree: Option<&'static str>,
    devices: &'static [&'static str],
    tried: Tried,
) -> Board {
    Board {
        name,
        description,
        target: "aarch64-unknown-linux-gnu",
        debian_architecture: "arm64",
        architecture: "arm64",
        kernel_package: "linux-image-arm64",
        device_tree,
        devices,
        tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_boards_differ() {
        for board in &BOARDS {
            assert_eq!(find(board.name), Some(board));
        }
    }
}
