//! The boards that QEMU can play, and what is different about them.

/// An emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// QEMU's own board: virtio card and network, a PCI watchdog that really counts down.
    Virt,
    /// A Raspberry Pi 3 B: SD card, network by USB. Its watchdog resets at once when armed, so
    /// that it is off; it halts but does not power off.
    Raspi3b,
}

impl Model {
    /// File of its device tree in a slot; none if QEMU makes one.
    #[must_use]
    pub fn device_tree(self) -> Option<&'static str> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some("bcm2837-rpi-3-b.dtb"),
        }
    }

    /// Sections of `config.txt` that hold for it, besides `all`; as they stand behind the
    /// opening bracket.
    #[must_use]
    pub fn sections(self) -> &'static [&'static str] {
        match self {
            Self::Virt => &[],
            Self::Raspi3b => &["pi3]"],
        }
    }

    /// Linux's name of the port that the firmware calls `serial0`.
    #[must_use]
    pub fn serial_port(self) -> &'static str {
        match self {
            Self::Virt => "ttyAMA0",
            Self::Raspi3b => "ttyS1",
        }
    }

    /// What the firmware adds to the kernel's command line.
    #[must_use]
    pub fn command_line_words(self) -> &'static [&'static str] {
        match self {
            Self::Virt => &["bramble.firmware=emulated"],
            Self::Raspi3b => &["bramble.firmware=emulated", "bramble.watchdog=off"],
        }
    }

    /// Its memory in MiB. The Pi's is fixed.
    #[must_use]
    pub fn memory_mb(self) -> u32 {
        match self {
            Self::Virt => 512,
            Self::Raspi3b => 1024,
        }
    }

    /// The arguments of QEMU that make the board and plug in its card, network and serial port.
    /// The character device `console` and the network `lan` are defined elsewhere.
    #[must_use]
    pub fn arguments(self, card: &str, mac: &str, processors: u8) -> Vec<String> {
        let memory = self.memory_mb();
        let text = match self {
            // Boards have no clock: this one's begins in 1970.
            Self::Virt => format!(
                "-M virt -cpu cortex-a72 -smp {processors} -m {memory} \
                 -drive file={card},format=raw,if=none,id=card,cache=writeback \
                 -device virtio-blk-pci,drive=card \
                 -device virtio-net-pci,netdev=lan,mac={mac},romfile= \
                 -device virtio-rng-pci -device i6300esb \
                 -rtc base=1970-01-01T00:00:00 -serial chardev:console"
            ),
            // The emulated SD controller has no command to flush: every write is followed by
            // one, or a cut would lose what the guest may rely on.
            Self::Raspi3b => format!(
                "-M raspi3b -m {memory} -drive file={card},format=raw,if=sd,cache=writethrough \
                 -device usb-net,netdev=lan,mac={mac} -serial null -serial chardev:console"
            ),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }
}
