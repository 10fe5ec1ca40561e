//! Every unsafe call of this crate, one safe wrapper per file.

pub(crate) mod descriptors;
pub(crate) mod device_filter;
pub(crate) mod fork;
pub(crate) mod fresh_program;
pub(crate) mod inherited;
pub mod loop_device;
pub mod partition_device;
pub(crate) mod pass;
pub(crate) mod pidfd;
pub mod restart;
pub(crate) mod sibling;
pub(crate) mod signals;
pub mod slew;
pub mod terminal;
pub(crate) mod wait_any;
pub(crate) mod watchdog;
