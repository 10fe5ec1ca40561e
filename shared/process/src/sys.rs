//! Every unsafe call of this crate, one safe wrapper per file.

pub mod heap;
pub(crate) mod scheduler;
