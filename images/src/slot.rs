//! The files of a slot: firmware with its settings, kernel, device trees, systems, version.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bramble_card::boot_file;
use bramble_card::layout::Slot;
use bramble_cross::board::BOARDS;

use crate::firmware;
use crate::gzip;
use crate::kernel::Kernel;
use crate::packages::Package;
use crate::version::Version;

/// Settings of the Pi's firmware.
const CONFIG: &str = "# Settings of the Pi's firmware for this slot. An upgrade replaces them.\n\
    arm_64bit=1\n\
    kernel=kernel8.img\n\
    initramfs initramfs.gz followkernel\n\
    # Debian's kernel: device trees have the kernel's names.\n\
    upstream_kernel=1\n\
    # A serial console, and a clock for it that does not change.\n\
    enable_uart=1\n\
    uart_2ndstage=0\n\
    disable_splash=1\n\
    disable_overscan=1\n\
    # Nobody looks at a screen: leave the memory to pods.\n\
    gpu_mem=16\n\
    # Wait for no one at power-on.\n\
    boot_delay=0\n\
    # The device tree of a Pi 5 has one name for all kernels. As for the Pi's own kernel, the\n\
    # firmware puts the overlay for newer boards over it.\n\
    [pi5]\n\
    upstream_kernel=0\n\
    [all]\n";

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Puts the files of slot a together.
///
/// # Errors
/// A package lacks a file, or a board has no device tree.
pub fn files(
    kernel: &Kernel,
    firmware: &Package,
    initramfs: &[u8],
    system: Vec<u8>,
    version: &Version,
    packages: &[Package],
) -> Result<Files> {
    let mut files = firmware::slot_files(firmware)?;
    files.extend(firmware::device_trees(kernel)?);
    for board in &BOARDS {
        if let Some(name) = board.device_tree {
            ensure!(files.contains_key(name), "the kernel has no `{name}` for {}", board.name);
        }
    }
    let text = [
        (boot_file::CONFIG, CONFIG.to_owned()),
        (boot_file::COMMAND_LINE, command_line(Slot::A)),
        (boot_file::VERSION, version_text(version, kernel, packages)),
    ];
    files.extend(text.map(|(name, text)| (name.to_owned(), text.into_bytes())));
    // A packed kernel is read from the card in a third of the time; firmware and emulator unpack.
    let kernel = gzip::pack(&kernel.image()?).context("could not pack the kernel")?;
    files.insert(boot_file::KERNEL.to_owned(), kernel);
    let initramfs = gzip::pack(initramfs).context("could not pack the initial RAM file system")?;
    files.insert(boot_file::INITRAMFS.to_owned(), initramfs);
    files.insert(boot_file::SYSTEM.to_owned(), system);
    Ok(files)
}

/// The kernel's command line: the firmware puts the console's name in place of `serial0`. No second
/// console may be named beside it: the kernel gives the first name to the first port of that
/// driver, and a board whose port has another number would be without a console.
fn command_line(slot: Slot) -> String {
    format!(
        "console=serial0,115200 cgroup_enable=memory cgroup_memory=1 panic=10 quiet {}{slot}\n",
        boot_file::SLOT_WORD
    )
}

fn version_text(version: &Version, kernel: &Kernel, packages: &[Package]) -> String {
    let mut text = format!("bramble {}\nkernel {}\n", version.text, kernel.version);
    for package in packages {
        let _ = writeln!(text, "package {} {}", package.name, package.version);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_names_the_slot_as_it_is_read() {
        let line = command_line(Slot::A);
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("bramble.slot="));
        assert_eq!(word.and_then(Slot::parse), Some(Slot::A));
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn settings_name_the_files_of_the_slot() {
        for name in [boot_file::KERNEL, boot_file::INITRAMFS] {
            assert!(CONFIG.contains(name), "{name}");
        }
        assert!(CONFIG.lines().all(|line| line.len() < 98), "the firmware cuts longer lines");
    }
}
