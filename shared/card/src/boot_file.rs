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
/// Slot: version and contents, for people and for `node list`; see [`version`].
pub const VERSION: &str = "version.txt";
/// Word of the command line that names the slot: `bramble.slot=a`.
pub const SLOT_WORD: &str = "bramble.slot=";

/// The version that the text of a slot's [`VERSION`] tells: its first line, which may begin with
/// the program's name. Empty if it tells none.
#[must_use]
pub fn version(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default().trim();
    line.strip_prefix("bramble ").unwrap_or(line).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_first_line_without_the_programs_name() {
        assert_eq!(version("bramble 0.2.0+abc\nkernel 6\n"), "0.2.0+abc");
        assert_eq!(version(" bramble  1 \r\n"), "1");
        assert_eq!(version("2\n"), "2");
        assert_eq!(version(""), "");
        assert_eq!(version("\nkernel 6\n"), "");
    }
}
