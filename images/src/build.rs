//! From packages and binaries to the file that people flash.

use std::path::Path;

use anyhow::{Context, Result};
use bramble_cross::build::Built;

use crate::packages::{Package, Packages};
use crate::version::Version;
use crate::{card_image, cpio, firmware, gzip, initramfs, kernel, slot, squashfs, system};

/// Debian's suite of kernel, firmware, programs and libraries.
const SUITE: &str = "trixie";
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
    let kernel = kernel::Kernel::fetch(&packages)?;
    let pi = packages.unpack(firmware::PI_PACKAGE)?;
    let wifi = packages.unpack(firmware::WIFI_PACKAGE)?;
    let radio = packages.unpack(firmware::RADIO_PACKAGE)?;
    let programs = packages.unpack_with_dependencies(&system::PACKAGES)?;

    let (mut tree, mut used) = system::tree(&kernel, &programs, &[&wifi, &pi], built, version)?;
    firmware::add_radio_rules(&mut tree, &radio)?;
    let system = squashfs::image(&tree, version.seconds, &folder.join("squashfs"))?;
    let mut contents: Vec<Package> = vec![kernel.package.clone(), pi.clone(), wifi, radio];
    contents.append(&mut used);
    contents.sort();

    let initramfs = cpio::archive(&initramfs::tree(&kernel, &built.agent)?)?;
    let files = slot::files(&kernel, &pi, &initramfs, system, version, &contents)?;
    let image = card_image::image(firmware::first_program(&pi)?, &files)?;
    gzip::pack(&image).context("could not pack the image")
}
