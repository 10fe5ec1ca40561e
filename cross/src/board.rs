//! The boards that bramble knows: one row each. One card image has what all of them need.

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
    /// Its device tree, by the name of the file in a slot; none where the emulator makes it.
    pub device_tree: Option<&'static str>,
    /// Kernel modules without which it cannot read its card, in load order, without their
    /// dependencies.
    pub early_modules: &'static [&'static str],
    /// Kernel modules of its other devices, without their dependencies.
    pub modules: &'static [&'static str],
    /// How far it has been tried.
    pub tried: Tried,
}

/// How far a board has been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// A card's image boots under QEMU, in a test.
    Emulated,
    /// Its binaries have been built and run under `qemu-user`; the card has never been in one.
    Built,
}

/// Card readers of the Pis, the supplies that feed them, and what must not come late.
const PI_EARLY: &[&str] = &[
    "fixed",
    "gpio_regulator",
    "pinctrl_brcmstb",
    "pinctrl_brcmstb_bcm2712",
    "gpio_brcmstb",
    "bcm2835",
    "sdhci_iproc",
    "sdhci_brcmstb",
    // Pi 5: interrupts of its PCI bus. The kernel waits for drivers of what others need only for
    // seconds; without this one it would start the bus, and with it the network, to no avail.
    "irq_bcm2712_mip",
    // Restarts the board, also after a panic of the kernel. Loading it arms nothing.
    "bcm2835_wdt",
];

/// USB host, networks with cable and without, watchdog, clock, temperature, random numbers.
const PI: &[&str] = &[
    // USB.
    "reset_raspberrypi",
    "phy_generic",
    "dwc2",
    "xhci_hcd",
    "xhci_pci",
    "xhci_plat_hcd",
    "dwc3",
    "onboard_usb_dev",
    // Networks on the board; all but the first three are USB devices.
    "mdio_bcm_unimac",
    "broadcom",
    "genet",
    "smsc",
    "smsc95xx",
    "microchip",
    "lan78xx",
    // Pi 5: network and USB are behind a chip of their own, at the end of a PCI bus.
    "clk_rp1",
    "pinctrl_rp1",
    "rp1_pci",
    "macb",
    // Networks that people plug into USB. Not cdc_subset: it takes devices from cdc_ether that the
    // better driver knows, too.
    "usbnet",
    "cdc_ether",
    "cdc_ncm",
    "rndis_host",
    "r8152",
    "asix",
    "ax88179_178a",
    // Wi-Fi; the part for a chip's vendor is asked for by name, when the chip has been seen.
    "brcmfmac",
    "brcmfmac_wcc",
    "brcmfmac_cyw",
    // The board itself.
    "bcm2835_thermal",
    "bcm2711_thermal",
    "raspberrypi_cpufreq",
    "bcm2835_rng",
    "iproc_rng200",
    "leds_gpio",
    "rtc_pcf8523",
];

const VIRT_EARLY: &[&str] = &["virtio_mmio", "virtio_blk"];
const VIRT: &[&str] = &["virtio_net", "virtio_rng", "i6300esb"];

/// All boards.
pub const BOARDS: [Board; 7] = [
    pi("pi-zero-2w", "Raspberry Pi Zero 2 W", "bcm2837-rpi-zero-2-w.dtb", Tried::Built),
    pi("pi-3", "Raspberry Pi 3 B and B+", "bcm2837-rpi-3-b-plus.dtb", Tried::Built),
    pi("pi-4", "Raspberry Pi 4 B", "bcm2711-rpi-4-b.dtb", Tried::Built),
    pi("pi-5", "Raspberry Pi 5", "bcm2712-rpi-5-b.dtb", Tried::Built),
    arm64("arm64", "any other 64-bit ARM board", None, &[], &[], Tried::Built),
    arm64("qemu-virt", "QEMU `virt`", None, VIRT_EARLY, VIRT, Tried::Emulated),
    pi("qemu-raspi3b", "QEMU `raspi3b`", "bcm2837-rpi-3-b.dtb", Tried::Emulated),
];

/// The board of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Board> {
    BOARDS.iter().find(|board| board.name == name)
}

const fn pi(
    name: &'static str,
    description: &'static str,
    device_tree: &'static str,
    tried: Tried,
) -> Board {
    arm64(name, description, Some(device_tree), PI_EARLY, PI, tried)
}

const fn arm64(
    name: &'static str,
    description: &'static str,
    device_tree: Option<&'static str>,
    early_modules: &'static [&'static str],
    modules: &'static [&'static str],
    tried: Tried,
) -> Board {
    Board {
        name,
        description,
        target: "aarch64-unknown-linux-gnu",
        debian_architecture: "arm64",
        device_tree,
        early_modules,
        modules,
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

    #[test]
    fn modules_are_named_as_the_kernel_names_them() {
        for board in &BOARDS {
            for name in board.early_modules.iter().chain(board.modules) {
                assert!(!name.contains('-'), "{name} of {}", board.name);
            }
        }
    }
}
