//! The first process of a flashed board.
//!
//! Where to start reading: [`first_stage`] for what happens in the initial RAM file system,
//! [`second_stage`] for how the board is put together, [`first_process`] for what goes on until it
//! is switched off. Everything that is decided is a function without side effects next to the code
//! that does it. Knows nothing of pods or the master: the agent is a child among others.
//!
//! ```text
//!  firmware -> kernel -> first stage -> second stage -> first process --+-- fence, log writer,
//!                        find the card  mounts, data    watches all     |   runtime, agent
//!                        mount system   partition                       +-- server (master)
//!                                                                       +-- udhcpc, shells, SSH
//! ```
#![forbid(unsafe_code)]

mod boot_report;
mod card_disk;
mod child_log;
mod children;
mod clock_floor;
mod command_line;
mod console;
mod data;
mod emergency;
pub mod entry;
mod first_process;
mod first_stage;
mod identity;
mod kernel_module;
pub mod messages;
mod module_index;
mod mounts;
mod network;
mod paths;
mod pattern;
mod program;
mod program_config;
mod second_stage;
mod shutdown;
mod slot_switch;
mod step;
mod switch_root;
mod trial;

pub use clock_floor::build_time_s;
