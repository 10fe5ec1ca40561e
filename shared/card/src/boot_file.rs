//! Names of the files on the boot partition and in a slot.

/// Boot partition: which slot the firmware starts; see [`crate::autoboot`].
pub const AUTOBOOT: &str = "autoboot.txt";
/// Boot partition: what this card is told; see [`crate::settings`].
pub const SETTINGS: &str = "bramble.toml";
/// Boot partition of a master: folder with the cluster's identity, as the flasher made it.
pub const CLUSTER: &str = "cluster";
/// Boot partition of an emulated board: asks the emulated firmware to try the other slot once.
/// A real firmware is asked by an argument of the reboot and never sees this file.
pub const TRY_BOOT: &str = "tryboot";
/// Slot: settings of the firmware.
pub const CONFIG: &str = "config.txt";
/// Slot: command line of the kernel; one line.
pub const COMMAND_LINE: &str = "cmdline.txt";
/// Slot: the kernel.
pub const KERNEL: &str = "kernel8.img";
/// Slot: the initial RAM file system, gzip.
pub const INITRAMFS: &str = "initramfs.gz";
/// Slot: the system, a squashfs.
pub const SYSTEM: &str = "system.squashfs";
/// Slot: version and contents, for people and for `node list`; the first line is the version.
pub const VERSION: &str = "version.txt";
/// Word of the command line that names the slot: `bramble.slot=a`.
pub const SLOT_WORD: &str = "bramble.slot=";
