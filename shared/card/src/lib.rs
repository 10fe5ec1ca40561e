//! What is on a card: partitions, the files of its boot partitions, what one card is told.
//!
//! The image builder, the flasher, init and the test harness all read cards through this crate.
//! It does not know devices, mounts or QEMU: a card is anything that can be read, written and
//! sought.
//!
//! ```text
//!  sector 0   partition table
//!  1   boot   FAT   autoboot.txt, bramble.toml, cluster/ (master only), the first boot program
//!  2   slot a FAT   firmware, config.txt, cmdline.txt, kernel, device trees, initramfs, system
//!  3   slot b FAT   the same, of another version; empty on a new card
//!  4   data   ext4  made at the first boot, up to the end of the card
//! ```
#![forbid(unsafe_code)]

pub mod autoboot;
pub mod boot_file;
pub mod boot_report;
pub mod fat;
pub mod layout;
pub mod partition_table;
pub mod real_size;
pub mod settings;
pub mod upgrade;
pub mod window;
