//! Plays the Pi's firmware: finds out from a card what to start.
//!
//! It reads what the real one reads (`autoboot.txt`, a slot's `config.txt` and `cmdline.txt`) and
//! fails where the real one would stay dark. It does not start anything.
//!
//! ```text
//!  power-on --------------------------------------> normal slot of autoboot.txt
//!  reset, file `tryboot` on the boot partition ---> trial slot, once
//!  reset otherwise -------------------------------> normal slot
//! ```
//!
//! A real board keeps the wish to try in a register that a power cut clears, so that a file
//! that is found at power-on is removed and means nothing.

use std::io::{Read, Seek, Write};

use anyhow::{Context, Result, bail};
use bramble_card::autoboot::Autoboot;
use bramble_card::boot_file;
use bramble_card::fat;
use bramble_card::layout::{self, Slot};
use bramble_card::partition_table::PartitionTable;

use crate::qemu::model::Model;

/// Why the firmware runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The board got power.
    PowerOn,
    /// The system or the watchdog has reset it.
    Reset,
}

/// What is to be started.
#[derive(Debug, PartialEq, Eq)]
pub struct Boot {
    /// Slot that it comes from.
    pub slot: Slot,
    /// This is the one boot that tries the other slot.
    pub trial: bool,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial RAM file system.
    pub initramfs: Vec<u8>,
    /// The board's device tree, if QEMU does not make one.
    pub device_tree: Option<Vec<u8>>,
    /// The kernel's command line.
    pub command_line: String,
}

/// Reads a card as the firmware does.
///
/// # Errors
/// There is nothing that a board could start.
pub fn start<T: Read + Write + Seek>(card: &mut T, model: Model, start: Start) -> Result<Boot> {
    let mut sector = [0; 512];
    card.rewind()?;
    card.read_exact(&mut sector).context("the card cannot be read")?;
    let table = PartitionTable::parse(&sector)?;
    if table.partitions[0].is_none() {
        bail!("the card has no boot partition");
    }
    let (autoboot, asked) = boot_partition(card).context("could not read the boot partition")?;
    let trial = asked && start == Start::Reset;
    let slot = if trial { autoboot.trial } else { autoboot.normal };
    read_slot(card, model, slot, trial).with_context(|| format!("could not start slot {slot}"))
}

/// What `autoboot.txt` says, and whether a trial is asked for. The wish is gone afterwards.
fn boot_partition<T: Read + Write + Seek>(card: &mut T) -> Result<(Autoboot, bool)> {
    let boot = fat::open(&mut *card, layout::BOOT_START, layout::BOOT_LEN)?;
    let text = fat::read(&boot, boot_file::AUTOBOOT)?;
    let text = text.with_context(|| format!("there is no {}", boot_file::AUTOBOOT))?;
    let autoboot = Autoboot::parse(&String::from_utf8_lossy(&text))?;
    let asked = fat::read(&boot, boot_file::TRY_BOOT)?.is_some();
    if asked {
        boot.root_dir().remove(boot_file::TRY_BOOT)?;
    }
    boot.unmount()?;
    card.flush()?;
    Ok((autoboot, asked))
}

fn read_slot<T: Read + Write + Seek>(
    card: &mut T,
    model: Model,
    slot: Slot,
    trial: bool,
) -> Result<Boot> {
    let files = fat::open(card, slot.start(), layout::SLOT_LEN)?;
    let file = |name: &str| -> Result<Vec<u8>> {
        fat::read(&files, name)
            .with_context(|| format!("could not read {name}"))?
            .with_context(|| format!("there is no {name}"))
    };
    let text = |name: &str| file(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let config = Config::parse(&text(boot_file::CONFIG)?, model);
    let initramfs = config.initramfs.context("config.txt names no initramfs")?;
    Ok(Boot {
        slot,
        trial,
        kernel: file(&config.kernel)?,
        initramfs: file(&initramfs)?,
        device_tree: model.device_tree().map(file).transpose()?,
        command_line: command_line(&text(boot_file::COMMAND_LINE)?, model),
    })
}

/// What matters of `config.txt`.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    kernel: String,
    initramfs: Option<String>,
}

impl Config {
    fn parse(text: &str, model: Model) -> Self {
        let mut config = Self { kernel: boot_file::KERNEL.to_owned(), initramfs: None };
        let mut ours = true;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                ours = section == "all]" || model.sections().contains(&section);
            } else if !ours {
            } else if let Some(kernel) = line.strip_prefix("kernel=") {
                config.kernel = kernel.trim().to_owned();
            } else if let Some(initramfs) = line.strip_prefix("initramfs ") {
                config.initramfs = initramfs.split_whitespace().next().map(str::to_owned);
            }
        }
        config
    }
}

/// The command line as the kernel gets it: one line, with the name of the serial port that this
/// board has, and what an emulated board has to know.
fn command_line(text: &str, model: Model) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    let words = line.split_whitespace().map(|word| match word.strip_prefix("console=serial0") {
        Some(rest) => format!("console={}{rest}", model.serial_port()),
        None => word.to_owned(),
    });
    let added = model.command_line_words().iter().map(|word| (*word).to_owned());
    words.chain(added).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A card with a system in slot a and, if asked for, one in slot b.
    struct Card(Vec<u8>);

    impl Card {
        fn new() -> Self {
            let mut bytes = vec![0; usize::try_from(layout::DATA_START).unwrap()];
            bytes[..512].copy_from_slice(&PartitionTable::new_card(7).to_sector());
            let mut card = Self(bytes);
            card.format(layout::BOOT_START, layout::BOOT_LEN, layout::BOOT_LABEL);
            card.write_boot(boot_file::AUTOBOOT, Autoboot::starting(Slot::A).text().as_bytes());
            for slot in [Slot::A, Slot::B] {
                card.format(slot.start(), layout::SLOT_LEN, slot.label());
                card.write_slot(slot, boot_file::KERNEL, format!("kernel {slot}").as_bytes());
                card.write_slot(slot, boot_file::INITRAMFS, b"initramfs");
                card.write_slot(slot, "bcm2837-rpi-3-b.dtb", b"tree");
                let config = "[pi4]\nkernel=other\n[all]\narm_64bit=1\n\
                              initramfs initramfs.gz followkernel\n";
                card.write_slot(slot, boot_file::CONFIG, config.as_bytes());
                let line = format!("console=serial0,115200 quiet bramble.slot={slot}\n");
                card.write_slot(slot, boot_file::COMMAND_LINE, line.as_bytes());
            }
            card
        }

        fn format(&mut self, start: u64, len: u64, label: [u8; 11]) {
            fat::format(Cursor::new(&mut self.0[..]), start, len, label, 1).unwrap();
        }

        fn write(&mut self, start: u64, len: u64, name: &str, content: &[u8]) {
            let files = fat::open(Cursor::new(&mut self.0[..]), start, len).unwrap();
            fat::write(&files, name, content).unwrap();
            files.unmount().unwrap();
        }

        fn write_boot(&mut self, name: &str, content: &[u8]) {
            self.write(layout::BOOT_START, layout::BOOT_LEN, name, content);
        }

        fn write_slot(&mut self, slot: Slot, name: &str, content: &[u8]) {
            self.write(slot.start(), layout::SLOT_LEN, name, content);
        }

        fn start(&mut self, model: Model, start: Start) -> Result<Boot> {
            super::start(&mut Cursor::new(&mut self.0[..]), model, start)
        }
    }

    #[test]
    fn each_board_gets_its_console_and_device_tree() {
        let mut card = Card::new();
        let virt = card.start(Model::Virt, Start::PowerOn).unwrap();
        assert_eq!((virt.slot, virt.trial, virt.device_tree), (Slot::A, false, None));
        assert_eq!((&virt.kernel[..], &virt.initramfs[..]), (&b"kernel a"[..], &b"initramfs"[..]));
        let words = "console=ttyAMA0,115200 quiet bramble.slot=a bramble.firmware=emulated";
        assert_eq!(virt.command_line, words);
        let pi = card.start(Model::Raspi3b, Start::PowerOn).unwrap();
        assert_eq!(pi.device_tree.as_deref(), Some(&b"tree"[..]));
        assert!(pi.command_line.starts_with("console=ttyS1,115200 quiet "));
        assert!(pi.command_line.ends_with(" bramble.firmware=emulated bramble.watchdog=off"));
    }

    #[test]
    fn trial_happens_once_and_only_after_a_reset() {
        let mut card = Card::new();
        let boot = |card: &mut Card, start| {
            let boot = card.start(Model::Virt, start).unwrap();
            assert_eq!(boot.kernel, format!("kernel {}", boot.slot).into_bytes());
            (boot.slot, boot.trial)
        };
        card.write_boot(boot_file::TRY_BOOT, b"");
        assert_eq!(boot(&mut card, Start::Reset), (Slot::B, true));
        assert_eq!(boot(&mut card, Start::Reset), (Slot::A, false));
        card.write_boot(boot_file::TRY_BOOT, b"");
        assert_eq!(boot(&mut card, Start::PowerOn), (Slot::A, false));
        assert_eq!(boot(&mut card, Start::Reset), (Slot::A, false));
        card.write_boot(boot_file::AUTOBOOT, Autoboot::starting(Slot::B).text().as_bytes());
        assert_eq!(boot(&mut card, Start::PowerOn), (Slot::B, false));
    }

    #[test]
    fn card_that_starts_nothing_is_an_error_that_says_why() {
        let mut card = Card::new();
        card.write_slot(Slot::A, boot_file::CONFIG, b"kernel=none.img\ninitramfs initramfs.gz\n");
        let check = |card: &mut Card, why: &str| {
            let error = format!("{:#}", card.start(Model::Virt, Start::PowerOn).unwrap_err());
            assert!(error.contains(why), "{error}");
        };
        check(&mut card, "there is no none.img");
        card.write_slot(Slot::A, boot_file::CONFIG, b"");
        check(&mut card, "no initramfs");
        card.write_boot(boot_file::AUTOBOOT, b"[all]\nboot_partition=9\n");
        check(&mut card, "no slot");
        card.0[..512].fill(0);
        check(&mut card, "no partition table");
    }
}
