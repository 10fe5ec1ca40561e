//! From packages and binaries to the file that people flash.

use std::path::Path;

use anyhow::{Context, Result};
use bramble_cross::build::Built;

use crate::packages::{Package, Packages};
use crate::version::Version;
use crate::{card_image, cpio, firmware, gzip, initramfs, kernel, slot, squashfs, system};

/// Debian's suite of firmware, programs and libraries.
const SUITE: &str = "trixie";
/// Debian's suite of the kernel, and of nothing else. The kernel of trixie itself has no driver for
/// the card reader and the network of a Pi 5. This one is the kernel of Debian's next release, built
/// for trixie by Debian's own kernel team, signed by the same keys, and renewed with each release
/// from upstream, where security fixes are made first. It is not Debian's security team that watches
/// it: who builds images does so again for each fix, as with the other packages.
const KERNEL_SUITE: &str = "trixie-backports";
/// Debian's component of free software.
const KERNEL_COMPONENTS: &str = "main";
/// Firmware is not free software; Debian keeps it apart.
const COMPONENTS: &str = "main non-free-firmware";
/// Debian's architecture of all 64-bit boards.
const ARCHITECTURE: &str = "arm64";

/// Makes the image of a card, packed. `folder` keeps packages between runs.
///
/// # Errors
/// A package cannot be fetched or lacks a file, a program of this machine is missing, or it all
/// does not fit a slot.
pub fn build(built: &Built, version: &Version, folder: &Path) -> Result<Vec<u8>> {
    let packages = Packages::open(&folder.join("packages"), SUITE, COMPONENTS, ARCHITECTURE)?;
    // A source of its own, so that nothing else can come from there.
    let kernels = folder.join("kernel-packages");
    let kernels = Packages::open(&kernels, KERNEL_SUITE, KERNEL_COMPONENTS, ARCHITECTURE)?;
    let kernel = kernel::Kernel::fetch(&kernels)?;
    let pi = packages.unpack(firmware::PI_PACKAGE)?;
    let wifi = packages.unpack(firmware::WIFI_PACKAGE)?;
    let radio = packages.unpack(firmware::RADIO_PACKAGE)?;
    let programs = packages.unpack_with_dependencies(&system::PACKAGES)?;

    let (mut tree, mut used) = system::tree(&kernel, &programs, &[&wifi, &pi], built, version)?;
    firmware::add_radio_rules(&mut tree, &radio)?;
    let system = squashfs::image(&tree, version.seconds, &folder.join("squashfs"))?;
    let mut contents: Vec<Package> = vec![pi.clone(), wifi, radio];
    contents.extend_from_slice(&kernel.packages);
    contents.append(&mut used);
    contents.sort();

    let initramfs = cpio::archive(&initramfs::tree(&kernel, &built.agent)?)?;
    let files = slot::files(&kernel, &pi, &initramfs, system, version, &contents)?;
    let image = card_image::image(firmware::first_program(&pi)?, &files)?;
    gzip::pack(&image).context("could not pack the image")
}
