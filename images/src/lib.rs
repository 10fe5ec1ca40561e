//! Puts kernel, firmware, programs and bramble's binaries together into the image of a card.
//!
//! Everything is made without root and without mounts, and the same inputs give the same bytes.
//! One image is for all boards.
#![forbid(unsafe_code)]

pub mod build;
pub mod card_image;
pub mod chosen_modules;
pub mod command;
pub mod cpio;
pub mod device_tree;
pub mod elf;
pub mod firmware;
pub mod gzip;
pub mod initramfs;
pub mod inspect;
pub mod kernel;
pub mod modules;
pub mod packages;
pub mod programs;
pub mod slot;
pub mod squashfs;
pub mod system;
pub mod tree;
pub mod version;
