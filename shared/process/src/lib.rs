//! What a process of ours asks of its kernel, its allocator and its language: priority, memory that
//! goes back, and what a panic ends.
//!
//! Knows nothing of what the process is for. Unsafe calls are in `sys/`, one wrapper a file.
#![deny(unsafe_code)]

mod memory;
pub mod panics;
mod sys;
mod trim_plan;
pub mod urgency;

pub use memory::{LOOK_INTERVAL, Memory};
pub use sys::heap;
