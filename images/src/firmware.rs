//! Files of the Pi's own firmware, and of the chips for Wi-Fi on Pis.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::device_tree::DeviceTree;
use crate::kernel::Kernel;
use crate::packages::Package;
use crate::tree::Tree;

/// Package of the firmware.
pub const PI_PACKAGE: &str = "raspi-firmware";
/// Package of the files for Wi-Fi.
pub const WIFI_PACKAGE: &str = "firmware-brcm80211";
/// Package of the radio rules of countries, without which the kernel keeps to what all allow.
pub const RADIO_PACKAGE: &str = "wireless-regdb";

/// The rules and Debian's signature of them, which Debian's kernel checks: name in the package,
/// name that the kernel asks for.
const RADIO_FILES: [(&str, &str); 2] =
    [("regulatory.db-debian", "regulatory.db"), ("regulatory.db.p7s-debian", "regulatory.db.p7s")];
const FIRMWARE_FOLDER: &str = "usr/lib/firmware";

const PI_FOLDER: &str = "usr/lib/raspi-firmware";
/// The full programs, and the small ones that are started where the screen gets least memory.
const PI_FILES: [&str; 8] = [
    "start.elf",
    "start_cd.elf",
    "start4.elf",
    "start4cd.elf",
    "fixup.dat",
    "fixup_cd.dat",
    "fixup4.dat",
    "fixup4cd.dat",
];
/// The first program of boards that have none in a chip of their own.
const FIRST_PROGRAM: &str = "bootcode.bin";

/// Chips of Pis; the newest boards have the last ones.
const WIFI_CHIPS: [&str; 4] = ["43430", "43430b0", "43455", "43456"];
/// Marks of the files that are for Pis and not for other boards with the same chip.
const WIFI_BOARD: &str = ".raspberrypi,";

/// The Pi 5 was built with two steppings of its processor. The kernel has a device tree for each;
/// the firmware takes the first one for both and puts this overlay over it where the second one is.
const FIRST_STEPPING: &str = "bcm2712-rpi-5-b.dtb";
const SECOND_STEPPING: &str = "bcm2712-d-rpi-5-b.dtb";
const STEPPING_OVERLAY: &str = "overlays/bcm2712d0.dtbo";

/// Firmware of a slot, by file name.
///
/// # Errors
/// The package lacks a file.
pub fn slot_files(package: &Package) -> Result<BTreeMap<String, Vec<u8>>> {
    PI_FILES.into_iter().map(|name| Ok((name.to_owned(), pi_file(package, name)?))).collect()
}

/// Firmware of the boot partition: name and content of its one file.
///
/// # Errors
/// The package lacks it.
pub fn first_program(package: &Package) -> Result<(&'static str, Vec<u8>)> {
    Ok((FIRST_PROGRAM, pi_file(package, FIRST_PROGRAM)?))
}

/// Device trees of all Pis, by file name: as the kernel names them, and as the Pi's firmware names
/// them if it looks for its own kernel.
///
/// # Errors
/// The kernel has none.
pub fn device_trees(kernel: &Kernel) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = kernel.device_trees();
    let mut trees = BTreeMap::new();
    let entries = fs::read_dir(folder)
        .with_context(|| format!("no device trees in `{}`", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("bcm") && name.contains("-rpi-") {
            let content = fs::read(entry.path())?;
            if let Some(rest) = name.strip_prefix("bcm2837-") {
                trees.insert(format!("bcm2710-{rest}"), content.clone());
            }
            trees.insert(name, content);
        }
    }
    let parsed = |name: &str| {
        let tree = trees.get(name).with_context(|| format!("the kernel has no `{name}`"))?;
        DeviceTree::parse(tree).with_context(|| format!("could not read `{name}`"))
    };
    let overlay = parsed(FIRST_STEPPING)?.overlay_to(&parsed(SECOND_STEPPING)?)?;
    trees.insert(STEPPING_OVERLAY.to_owned(), overlay);
    Ok(trees)
}

/// Adds the radio rules of countries to the system.
///
/// # Errors
/// The package lacks a file.
pub fn add_radio_rules(tree: &mut Tree, package: &Package) -> Result<()> {
    for (from, to) in RADIO_FILES {
        let from = package.folder.join(FIRMWARE_FOLDER).join(from);
        let failed = || format!("could not read `{}`", from.display());
        let content = fs::read(&from).with_context(failed)?;
        tree.add_file(&format!("{FIRMWARE_FOLDER}/{to}"), 0o644, content);
    }
    Ok(())
}

/// Adds the files for Wi-Fi to the system.
///
/// # Errors
/// A file cannot be read, or none is there for a chip.
pub fn add_wifi(tree: &mut Tree, packages: &[&Package]) -> Result<()> {
    let mut found = 0;
    for package in packages {
        let folder = package.folder.join(FIRMWARE_FOLDER).join("brcm");
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_for_a_pi(&name) {
                add_with_target(tree, &package.folder, &path)?;
                found += 1;
            }
        }
    }
    ensure!(found > WIFI_CHIPS.len(), "the packages have no files for Wi-Fi on Pis");
    Ok(())
}

/// `brcmfmac43455-sdio.bin`, `.clm_blob`, `.txt` and those that name a Pi; not those of others.
fn is_for_a_pi(name: &str) -> bool {
    let rest = name.strip_prefix("brcmfmac").and_then(|rest| rest.split_once("-sdio."));
    rest.is_some_and(|(chip, kind)| {
        let plain = ["bin", "clm_blob", "txt"].contains(&kind);
        WIFI_CHIPS.contains(&chip) && (plain || name.contains(WIFI_BOARD))
    })
}

/// Adds a file, or a link with what it points to.
fn add_with_target(tree: &mut Tree, base: &Path, path: &Path) -> Result<()> {
    let inside = path.strip_prefix(base)?.to_string_lossy().into_owned();
    if let Ok(target) = fs::read_link(path) {
        tree.add_link(&inside, &target.to_string_lossy());
        let target = without_dots(&path.parent().unwrap_or(base).join(target));
        return add_with_target(tree, base, &target);
    }
    let failed = || format!("could not read `{}`", path.display());
    tree.add_file(&inside, 0o644, fs::read(path).with_context(failed)?);
    Ok(())
}

fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

fn pi_file(package: &Package, name: &str) -> Result<Vec<u8>> {
    let path = package.folder.join(PI_FOLDER).join(name);
    fs::read(&path).with_context(|| format!("the package `{}` has no `{name}`", package.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_boards_stay_away() {
        let check = |name: &str, expected| assert_eq!(is_for_a_pi(name), expected, "{name}");
        check("brcmfmac43455-sdio.bin", true);
        check("brcmfmac43455-sdio.raspberrypi,5-model-b.txt", true);
        check("brcmfmac43430-sdio.clm_blob", true);
        check("brcmfmac43430-sdio.starfive,visionfive-v1.txt", false);
        check("brcmfmac4356-pcie.bin", false);
        check("bcm43xx-0.fw", false);
    }

    #[test]
    fn dots_are_taken_out_of_paths() {
        assert_eq!(without_dots(Path::new("/a/brcm/../cypress/x")), Path::new("/a/cypress/x"));
    }
}
