//! Whether a device may be overwritten: only a card that nothing uses.
//!
//! What this cannot see (a mount in another namespace, a file system over several devices that
//! names only its first) is refused by the kernel, since the device is opened exclusively.

use bramble_card::layout::CARD_LEN_MIN;

use crate::machine::{Block, Disk, InUse, Kind, Machine, Sort};

/// Where the running system lives: a device that is mounted at one of these is never a card.
const SYSTEM_POINTS: &[&str] =
    &["/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/home", "/nix", "/usr", "/var"];

/// A device that may be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name without `/dev/`.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// What it calls itself, fit for people; never empty.
    pub model: String,
}

/// Why a device may not be overwritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such device.
    #[error("there is no block device `{name}`")]
    NotThere {
        /// Its name.
        name: String,
    },
    /// Only a part of a device.
    #[error("`{name}` is a partition; give the whole device: /dev/{of}")]
    Partition {
        /// Its name.
        name: String,
        /// The whole device.
        of: String,
    },
    /// The running system is on it.
    #[error("`{name}` holds the running system: {point} is on {on}")]
    System {
        /// Its name.
        name: String,
        /// Where it is mounted.
        point: String,
        /// What is mounted there.
        on: String,
    },
    /// Swap is on it.
    #[error("`{name}` holds the running system: it swaps to {on}")]
    Swap {
        /// Its name.
        name: String,
        /// What is swapped to.
        on: String,
    },
    /// It is mounted.
    #[error("`{name}` is in use: {on} is mounted at {point}; unmount it first: umount {point}")]
    Mounted {
        /// Its name.
        name: String,
        /// Where it is mounted.
        point: String,
        /// What is mounted there.
        on: String,
    },
    /// Another device is built of it.
    #[error("`{name}` is in use: {by} is built of it; close that first")]
    Held {
        /// Its name.
        name: String,
        /// The other device.
        by: String,
    },
    /// Not a card.
    #[error("`{name}` is no card: {what}")]
    NoCard {
        /// Its name.
        name: String,
        /// What it is instead.
        what: &'static str,
    },
    /// There is no card in it.
    #[error("there is no card in `{name}`")]
    Empty {
        /// Its name.
        name: String,
    },
    /// It cannot be written.
    #[error("`{name}` is read-only; move the switch on the card or its adapter")]
    ReadOnly {
        /// Its name.
        name: String,
    },
    /// There is not enough room.
    #[error("`{name}` has {len} bytes, a card needs {needed}")]
    TooSmall {
        /// Its name.
        name: String,
        /// Its bytes.
        len: u64,
        /// Bytes that are needed.
        needed: u64,
    },
}

impl Machine {
    /// Tells whether a device may be overwritten by an image of `image_len` bytes.
    ///
    /// # Errors
    /// The most serious reason why not.
    pub fn judge(&self, name: &str, image_len: u64) -> Result<Candidate, Refusal> {
        let named = || name.to_owned();
        let block = self.block(name).ok_or_else(|| Refusal::NotThere { name: named() })?;
        let disk = match &block.kind {
            Kind::Disk(disk) => disk,
            Kind::Partition { of } => {
                return Err(Refusal::Partition { name: named(), of: of.clone() });
            }
        };
        refuse_used(name, &self.uses(name))?;
        if let Some(what) = no_card(disk) {
            return Err(Refusal::NoCard { name: named(), what });
        }
        if block.len == 0 {
            return Err(Refusal::Empty { name: named() });
        }
        if disk.read_only {
            return Err(Refusal::ReadOnly { name: named() });
        }
        let needed = image_len.max(CARD_LEN_MIN);
        if block.len < needed {
            return Err(Refusal::TooSmall { name: named(), len: block.len, needed });
        }
        Ok(Candidate { name: named(), len: block.len, model: model(block, disk) })
    }

    /// Every whole device that is worth a line in a list, with the verdict.
    #[must_use]
    pub fn survey(&self, image_len: u64) -> Vec<(&Block, Result<Candidate, Refusal>)> {
        self.blocks
            .iter()
            .filter(|block| match &block.kind {
                Kind::Disk(disk) => !matches!(disk.sort, Sort::Virtual | Sort::Optical),
                Kind::Partition { .. } => false,
            })
            .map(|block| (block, self.judge(&block.name, image_len)))
            .collect()
    }
}

/// The most serious use first: what ends the system, what loses data, what is only in the way.
fn refuse_used(name: &str, uses: &[InUse]) -> Result<(), Refusal> {
    let name = || name.to_owned();
    let system = uses.iter().find_map(|used| match used {
        InUse::Mounted { point, on } if SYSTEM_POINTS.contains(&point.as_str()) => {
            Some(Refusal::System { name: name(), point: point.clone(), on: on.clone() })
        }
        InUse::Swap { on } => Some(Refusal::Swap { name: name(), on: on.clone() }),
        InUse::Mounted { .. } | InUse::Held { .. } => None,
    });
    let mounted = || {
        uses.iter().find_map(|used| match used {
            InUse::Mounted { point, on } => {
                Some(Refusal::Mounted { name: name(), point: point.clone(), on: on.clone() })
            }
            InUse::Swap { .. } | InUse::Held { .. } => None,
        })
    };
    let held = || {
        uses.iter().find_map(|used| match used {
            InUse::Held { by } => Some(Refusal::Held { name: name(), by: by.clone() }),
            InUse::Mounted { .. } | InUse::Swap { .. } => None,
        })
    };
    system.or_else(mounted).or_else(held).map_or(Ok(()), Err)
}

/// What a device is, if it is no card. Readers on USB say by themselves whether their medium can
/// be taken out, and some say it wrongly.
fn no_card(disk: &Disk) -> Option<&'static str> {
    match disk.sort {
        Sort::CardSlot => None,
        Sort::Scsi if disk.removable || disk.usb => None,
        Sort::Scsi | Sort::Fixed => Some("it is a fixed disk, neither removable nor on USB"),
        Sort::BuiltIn => Some("it is memory that is soldered on (eMMC)"),
        Sort::Optical => Some("it is an optical drive"),
        Sort::Virtual => Some("it is no device of its own (loop, RAM, volume or RAID)"),
    }
}

fn model(block: &Block, disk: &Disk) -> String {
    let model = disk.model.split_whitespace().collect::<Vec<_>>().join(" ");
    match disk.sort {
        _ if !model.is_empty() => model,
        Sort::CardSlot => "card".to_owned(),
        Sort::Scsi | Sort::BuiltIn | Sort::Optical | Sort::Virtual | Sort::Fixed => {
            block.name.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{DeviceNumber, Mount};

    const GB: u64 = 1_000_000_000;
    const IMAGE_LEN: u64 = 145 << 20;

    fn number(minor: u32) -> DeviceNumber {
        DeviceNumber { major: 8, minor }
    }

    fn disk(name: &str, minor: u32, sort: Sort, removable: bool, usb: bool) -> Block {
        let disk =
            Disk { sort, removable, usb, read_only: false, model: "Generic  SD ".to_owned() };
        let number = number(minor);
        Block {
            name: name.to_owned(),
            number,
            len: 32 * GB,
            kind: Kind::Disk(disk),
            holders: vec![],
        }
    }

    fn part(name: &str, minor: u32, of: &str) -> Block {
        let kind = Kind::Partition { of: of.to_owned() };
        Block { name: name.to_owned(), number: number(minor), len: GB, kind, holders: vec![] }
    }

    /// A laptop: `/` on an encrypted volume of an NVMe disk, a card reader, a card slot.
    fn laptop() -> Machine {
        let mut root = part("nvme0n1p2", 2, "nvme0n1");
        root.holders = vec!["dm-0".to_owned()];
        let mut crypt = disk("dm-0", 3, Sort::Virtual, false, false);
        crypt.holders = vec!["dm-1".to_owned()];
        Machine {
            blocks: vec![
                disk("nvme0n1", 1, Sort::Fixed, false, false),
                root,
                crypt,
                disk("dm-1", 4, Sort::Virtual, false, false),
                disk("sda", 10, Sort::Scsi, false, false),
                disk("sdb", 16, Sort::Scsi, true, true),
                part("sdb1", 17, "sdb"),
                part("sdb2", 18, "sdb"),
                disk("mmcblk0", 30, Sort::CardSlot, false, false),
                part("mmcblk0p1", 31, "mmcblk0"),
            ],
            mounts: vec![Mount { number: number(4), point: "/".to_owned() }],
            swaps: vec![],
        }
    }

    fn change(change: impl FnOnce(&mut Machine)) -> Machine {
        let mut machine = laptop();
        change(&mut machine);
        machine
    }

    fn block<'a>(machine: &'a mut Machine, name: &str) -> &'a mut Block {
        machine.blocks.iter_mut().find(|block| block.name == name).unwrap()
    }

    fn set_disk(machine: &mut Machine, name: &str, set: impl FnOnce(&mut Disk)) {
        match &mut block(machine, name).kind {
            Kind::Disk(disk) => set(disk),
            Kind::Partition { .. } => panic!("{name} is a partition"),
        }
    }

    #[track_caller]
    fn refused(machine: &Machine, name: &str, why: &str) {
        let refusal = machine.judge(name, IMAGE_LEN).unwrap_err().to_string();
        assert!(refusal.contains(why), "{refusal}");
    }

    #[test]
    fn cards_that_nothing_uses_may_be_overwritten() {
        let machine = laptop();
        let names: Vec<String> = machine
            .survey(IMAGE_LEN)
            .into_iter()
            .filter_map(|(_, verdict)| verdict.ok())
            .map(|candidate| candidate.name)
            .collect();
        assert_eq!(names, ["sdb", "mmcblk0"]);
        assert_eq!(machine.judge("sdb", IMAGE_LEN).unwrap().model, "Generic SD");
    }

    #[test]
    fn the_running_system_is_refused_however_deep_it_is() {
        refused(&laptop(), "nvme0n1", "holds the running system: / is on dm-1");
        // A Pi or Chromebook that runs from its card slot.
        let machine = change(|machine| {
            machine.mounts.push(Mount { number: number(31), point: "/boot".into() })
        });
        refused(&machine, "mmcblk0", "/boot is on mmcblk0p1");
        // A laptop that was booted from a USB stick.
        let machine = change(|machine| {
            machine.mounts.push(Mount { number: number(17), point: "/media/x".into() });
            machine.mounts.push(Mount { number: number(18), point: "/".into() });
        });
        refused(&machine, "sdb", "/ is on sdb2");
        refused(&change(|machine| machine.swaps.push(number(18))), "sdb", "swaps to sdb2");
    }

    #[test]
    fn mounted_and_held_cards_are_refused() {
        let mounted = |minor| {
            change(|machine| {
                machine.mounts.push(Mount { number: number(minor), point: "/media/me/x".into() })
            })
        };
        refused(&mounted(17), "sdb", "umount /media/me/x");
        refused(&mounted(16), "sdb", "sdb is mounted at");
        let held = change(|machine| block(machine, "sdb2").holders.push("dm-7".into()));
        refused(&held, "sdb", "dm-7 is built of it");
    }

    #[test]
    fn what_is_no_card_is_refused_and_said_exactly() {
        refused(&laptop(), "sda", "neither removable nor on USB");
        refused(&laptop(), "sdb1", "give the whole device: /dev/sdb");
        refused(&laptop(), "sdz", "no block device");
        refused(&laptop(), "dm-1", "running system");
        let built_in =
            change(|machine| set_disk(machine, "mmcblk0", |disk| disk.sort = Sort::BuiltIn));
        refused(&built_in, "mmcblk0", "soldered");
        let optical = change(|machine| set_disk(machine, "sdb", |disk| disk.sort = Sort::Optical));
        refused(&optical, "sdb", "optical");
        let locked = change(|machine| set_disk(machine, "sdb", |disk| disk.read_only = true));
        refused(&locked, "sdb", "read-only");
        refused(&change(|machine| block(machine, "sdb").len = 0), "sdb", "no card in");
        refused(
            &change(|machine| block(machine, "sdb").len = 300 << 20),
            "sdb",
            "a card needs 536870912",
        );
        let wrong_about_itself =
            change(|machine| set_disk(machine, "sdb", |disk| disk.removable = false));
        assert!(wrong_about_itself.judge("sdb", IMAGE_LEN).is_ok());
        assert!(laptop().judge("sdb", 64 * GB).is_err());
    }

    /// A forest of devices: each stands on an earlier one, as partition or as holder, or on none.
    fn machines() -> impl Strategy<Value = Machine> {
        let block = (any::<prop::sample::Index>(), 0..4_u8, any::<bool>(), any::<bool>());
        let blocks = prop::collection::vec(block, 1..24);
        (blocks, prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4))
            .prop_map(|(seeds, used)| {
                let mut machine = Machine::default();
                for (index, (below, how, removable, usb)) in seeds.into_iter().enumerate() {
                    let minor = u32::try_from(index).unwrap();
                    let name = format!("d{index}");
                    if index == 0 || how < 2 {
                        machine.blocks.push(disk(&name, minor, Sort::Scsi, removable, usb));
                        continue;
                    }
                    let below = below.index(index);
                    let of = machine.blocks[below].name.clone();
                    if how == 2 {
                        machine.blocks.push(part(&name, minor, &of));
                    } else {
                        machine.blocks[below].holders.push(name.clone());
                        machine.blocks.push(disk(&name, minor, Sort::Virtual, removable, usb));
                    }
                }
                for (index, swap) in used {
                    let number = machine.blocks[index.index(machine.blocks.len())].number;
                    if swap {
                        machine.swaps.push(number);
                    } else {
                        machine.mounts.push(Mount { number, point: format!("/m{}", number.minor) });
                    }
                }
                machine
            })
    }

    /// The same question asked the other way round: up from what is used to the disks below it.
    fn below(machine: &Machine, number: DeviceNumber) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting: Vec<String> =
            machine.blocks.iter().filter(|b| b.number == number).map(|b| b.name.clone()).collect();
        while let Some(name) = waiting.pop() {
            for block in &machine.blocks {
                if block.holders.contains(&name) {
                    waiting.push(block.name.clone());
                }
                if block.name == name
                    && let Kind::Partition { of } = &block.kind
                {
                    waiting.push(of.clone());
                }
            }
            found.push(name);
        }
        found
    }

    proptest! {
        #[test]
        fn nothing_below_a_used_device_is_ever_a_candidate(machine in machines()) {
            let used = machine.mounts.iter().map(|mount| mount.number).chain(machine.swaps.clone());
            for name in used.flat_map(|number| below(&machine, number)) {
                prop_assert!(machine.judge(&name, IMAGE_LEN).is_err(), "{name} of {machine:?}");
            }
        }

        #[test]
        fn only_whole_removable_devices_are_candidates(machine in machines()) {
            for block in &machine.blocks {
                if machine.judge(&block.name, IMAGE_LEN).is_ok() {
                    let Kind::Disk(disk) = &block.kind else { panic!("partition") };
                    prop_assert!(disk.removable || disk.usb);
                    prop_assert!(block.holders.is_empty());
                }
            }
        }
    }
}
