//! The block devices of a machine and what they are used for, as plain data.

use std::collections::BTreeSet;

/// Major and minor number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Its driver.
    pub major: u32,
    /// Which of that driver's devices.
    pub minor: u32,
}

/// A machine's block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Disks, partitions, and what is built of them.
    pub blocks: Vec<Block>,
    /// Mounts of block devices.
    pub mounts: Vec<Mount>,
    /// Devices that hold swap.
    pub swaps: Vec<DeviceNumber>,
}

/// One block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Name without `/dev/`, such as `sdb` or `mmcblk0p1`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// Bytes; 0 for a reader without a card.
    pub len: u64,
    /// Whole device or part of one.
    pub kind: Kind,
    /// Names of devices that are built of this one: encrypted volumes, logical volumes, RAID.
    pub holders: Vec<String>,
}

/// What a block device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole device.
    Disk(Disk),
    /// A part of one.
    Partition {
        /// Name of the whole device.
        of: String,
    },
}

/// What is known of a whole device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What drives it.
    pub sort: Sort,
    /// The kernel says that its medium can be taken out.
    pub removable: bool,
    /// It hangs on USB.
    pub usb: bool,
    /// It cannot be written.
    pub read_only: bool,
    /// What it calls itself; may be empty.
    pub model: String,
}

/// What drives a whole device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `sd*`: disks, and card readers on USB.
    Scsi,
    /// `mmcblk*` with a card in it.
    CardSlot,
    /// `mmcblk*` that is soldered on.
    BuiltIn,
    /// `sr*`.
    Optical,
    /// No device of its own: loop, RAM, device mapper, RAID, network.
    Virtual,
    /// Anything else: NVMe, virtio.
    Fixed,
}

/// A mounted device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Number of the device.
    pub number: DeviceNumber,
    /// Where it is mounted.
    pub point: String,
}

/// What a device is used for at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUse {
    /// A mount, and the device that is mounted: the disk itself or something on it.
    Mounted {
        /// Where.
        point: String,
        /// Name of the device that is mounted.
        on: String,
    },
    /// Swap.
    Swap {
        /// Name of the device that is swapped to.
        on: String,
    },
    /// Another device is built of it.
    Held {
        /// Name of that device.
        by: String,
    },
}

impl Machine {
    /// The device with this name.
    #[must_use]
    pub fn block(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// Everything that a device is used for, with all that is on it.
    #[must_use]
    pub fn uses(&self, name: &str) -> Vec<InUse> {
        let family = self.family(name);
        let mut uses = Vec::new();
        for block in self.blocks.iter().filter(|block| family.contains(block.name.as_str())) {
            let on = || block.name.clone();
            let mounts = self.mounts.iter().filter(|mount| mount.number == block.number);
            uses.extend(
                mounts.map(|mount| InUse::Mounted { point: mount.point.clone(), on: on() }),
            );
            if self.swaps.contains(&block.number) {
                uses.push(InUse::Swap { on: on() });
            }
            uses.extend(block.holders.iter().map(|by| InUse::Held { by: by.clone() }));
        }
        uses
    }

    /// Names of a device, its partitions, and all that is built of any of them.
    fn family(&self, name: &str) -> BTreeSet<&str> {
        let mut family = BTreeSet::new();
        let mut waiting: Vec<&str> =
            self.block(name).map(|block| block.name.as_str()).into_iter().collect();
        while let Some(name) = waiting.pop() {
            if !family.insert(name) {
                continue;
            }
            for block in &self.blocks {
                if matches!(&block.kind, Kind::Partition { of } if of == name) {
                    waiting.push(&block.name);
                }
                if block.name == name {
                    waiting.extend(block.holders.iter().map(String::as_str));
                }
            }
        }
        family
    }
}
