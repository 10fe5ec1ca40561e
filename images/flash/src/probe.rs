//! Reads a [`Machine`] from `/sys` and `/proc`.
//!
//! Decides nothing. A device that vanishes while it is read is left out.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::machine::{Block, DeviceNumber, Disk, Kind, Machine, Mount, Sort};
use crate::mount_table;

/// Why the devices of this machine could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read `{}`", path.display())]
pub struct ProbeError {
    path: PathBuf,
    source: io::Error,
}

/// Reads this machine's devices.
///
/// # Errors
/// `/sys` or `/proc` is not there.
pub fn machine() -> Result<Machine, ProbeError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|source| ProbeError { path: path.into(), source })
    };
    let mut mounts = Vec::new();
    for line in mount_table::mounts(&read("/proc/self/mountinfo")?) {
        // A file system of several devices has a number of its own: its source names one of them.
        let source = Path::new(&line.source);
        let source = source.starts_with("/dev").then(|| block_number(source)).flatten();
        let numbers = [Some(line.number), source.filter(|&number| number != line.number)];
        mounts.extend(
            numbers.into_iter().flatten().map(|number| Mount { number, point: line.point.clone() }),
        );
    }
    // A kernel without swap has no such file.
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let swaps = mount_table::swaps(&swaps);
    let swaps = swaps.iter().filter_map(|path| swap_number(path.as_ref()));
    Ok(Machine { blocks: blocks(Path::new("/sys"))?, mounts, swaps: swaps.collect() })
}

/// The number of the block device behind a path, through links; none for anything else.
#[must_use]
pub fn block_number(path: &Path) -> Option<DeviceNumber> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_block_device().then(|| device_number(metadata.rdev()))?
}

/// Swap is a device, or a file on one.
fn swap_number(path: &Path) -> Option<DeviceNumber> {
    block_number(path).or_else(|| device_number(fs::metadata(path).ok()?.dev()))
}

fn device_number(number: u64) -> Option<DeviceNumber> {
    let (major, minor) = (major(number), minor(number));
    Some(DeviceNumber { major: major.try_into().ok()?, minor: minor.try_into().ok()? })
}

fn blocks(sys: &Path) -> Result<Vec<Block>, ProbeError> {
    let folder = sys.join("block");
    let names = names(&folder).map_err(|source| ProbeError { path: folder.clone(), source })?;
    let mut blocks = Vec::new();
    for name in names {
        let disk = folder.join(&name);
        let Some(block) = block(&disk, &name, Kind::Disk(read_disk(&disk, &name))) else {
            continue;
        };
        blocks.push(block);
        for part in self::names(&disk).unwrap_or_default() {
            let path = disk.join(&part);
            if path.join("partition").exists() {
                blocks.extend(block_of_partition(&path, &part, &name));
            }
        }
    }
    Ok(blocks)
}

fn block_of_partition(path: &Path, name: &str, of: &str) -> Option<Block> {
    block(path, name, Kind::Partition { of: of.to_owned() })
}

fn block(path: &Path, name: &str, kind: Kind) -> Option<Block> {
    let sectors: u64 = text(path, "size").parse().ok()?;
    Some(Block {
        name: name.to_owned(),
        number: mount_table::number(&text(path, "dev"))?,
        // Always in units of 512 bytes, whatever the device's own sectors are.
        len: sectors.saturating_mul(512),
        kind,
        holders: names(&path.join("holders")).unwrap_or_default(),
    })
}

fn read_disk(path: &Path, name: &str) -> Disk {
    let place = fs::canonicalize(path).unwrap_or_default();
    let usb = place
        .components()
        .any(|part| part.as_os_str().to_str().is_some_and(|part| part.starts_with("usb")));
    let vendor = text(path, "device/vendor");
    let model = match text(path, "device/model") {
        model if model.is_empty() => text(path, "device/name"),
        model => format!("{vendor} {model}"),
    };
    Disk {
        sort: sort(name, &text(path, "device/type"), place.starts_with("/sys/devices/virtual")),
        removable: text(path, "removable") == "1",
        usb,
        read_only: text(path, "ro") == "1",
        model,
    }
}

fn sort(name: &str, device_type: &str, is_virtual: bool) -> Sort {
    if is_virtual {
        return Sort::Virtual;
    }
    match name {
        // The boot areas of soldered memory look like disks of their own.
        _ if name.starts_with("mmcblk") && device_type == "SD" => Sort::CardSlot,
        _ if name.starts_with("mmcblk") => Sort::BuiltIn,
        _ if name.starts_with("sd") => Sort::Scsi,
        _ if name.starts_with("sr") => Sort::Optical,
        _ if ["dm-", "loop", "md", "nbd", "ram", "zram"].iter().any(|v| name.starts_with(v)) => {
            Sort::Virtual
        }
        _ => Sort::Fixed,
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(folder)?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn reader_on_usb_is_read_with_its_partitions() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path();
        let disk = sys.join("devices/pci0000:00/usb1/1-1/host6/block/sdb");
        write(
            &disk,
            &[
                ("dev", "8:16\n"),
                ("size", "62333952\n"),
                ("removable", "1\n"),
                ("ro", "0\n"),
                ("device/vendor", "Generic \n"),
                ("device/model", "SD\n"),
                ("sdb1/partition", "1\n"),
                ("sdb1/dev", "8:17\n"),
                ("sdb1/size", "2048\n"),
                ("sdb1/holders/dm-3/x", ""),
                ("queue/rotational", "0"),
            ],
        );
        fs::create_dir_all(sys.join("block")).unwrap();
        symlink(&disk, sys.join("block/sdb")).unwrap();
        let blocks = blocks(sys).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].len, 62_333_952 * 512);
        let Kind::Disk(disk) = &blocks[0].kind else { panic!("no disk") };
        assert!(disk.usb && disk.removable && !disk.read_only);
        assert_eq!(
            (disk.sort, disk.model.as_str()),
            (Sort::Scsi, "Generic  SD".replace("  ", " ").as_str())
        );
        assert_eq!(blocks[1].kind, Kind::Partition { of: "sdb".to_owned() });
        assert_eq!(blocks[1].holders, ["dm-3"]);
    }

    #[test]
    fn devices_are_sorted_by_their_driver() {
        assert_eq!(sort("mmcblk0", "SD", false), Sort::CardSlot);
        assert_eq!(sort("mmcblk0", "MMC", false), Sort::BuiltIn);
        assert_eq!(sort("mmcblk0boot0", "", false), Sort::BuiltIn);
        assert_eq!(sort("sr0", "", false), Sort::Optical);
        assert_eq!(sort("loop1", "", true), Sort::Virtual);
        assert_eq!(sort("nvme0n1", "", false), Sort::Fixed);
        assert_eq!(sort("vda", "", false), Sort::Fixed);
    }

    #[test]
    fn nothing_of_this_machine_that_is_mounted_is_a_candidate() {
        let machine = machine().unwrap();
        for mount in &machine.mounts {
            for block in machine.blocks.iter().filter(|block| block.number == mount.number) {
                assert!(machine.judge(&block.name, 0).is_err(), "{block:?}");
            }
        }
    }
}
