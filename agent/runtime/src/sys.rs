//! Every unsafe call of this crate, one safe wrapper per file.

pub(crate) mod descriptors;
pub(crate) mod fork;
pub(crate) mod inherited;
pub(crate) mod pass;
pub(crate) mod pidfd;
pub(crate) mod signals;
pub(crate) mod watchdog;
