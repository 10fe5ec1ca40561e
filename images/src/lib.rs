//! Puts kernel, modules and bramble's binaries together into something that a board boots.
//!
//! Everything is made without root and without loop mounts, and the same inputs give the same
//! bytes. Today that is an initial RAM file system, for emulated boards.
#![forbid(unsafe_code)]

pub mod cpio;
pub mod initramfs;
pub mod modules;
pub mod packages;
