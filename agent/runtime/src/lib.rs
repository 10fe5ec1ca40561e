//! Containers of a node: supervisor, runtime process, fence and log writer.
//!
//! Each process of a node is one `run` function here that takes a configuration; the agent's
//! command line starts them. Knows nothing of pods, images, networks or the master.
//!
//! ```text
//! supervise --+-- fence        lease and singletons
//!             +-- runtime      containers, their exits and their output
//!             +-- log writer   output to files
//!             +-- agent        everything else
//! ```

pub mod cgroup;
pub mod client;
pub mod clock;
pub mod device_rules;
pub mod error_chain;
pub mod fence;
pub mod log_writer;
pub mod logs;
mod output;
mod parking;
pub mod process;
pub mod protocol;
pub mod run_dir;
pub mod runtime;
pub mod session;
pub mod spec;
pub mod supervisor;
mod sys;
pub mod timestamp;
pub mod whole_file;

pub use sys::{loop_device, partition_device, restart, slew, terminal};
