//! Whose turn it is: how those who ask something of the master share its time and its memory.
//!
//! Two rules, each a file: who may have a request worked on at all ([`RequestTable`]), and whose
//! work is done next ([`FairQueue`]). Both count by [`Identity`], so that one who asks for much
//! waits for himself. Knows no threads, no clock and nothing of what is asked.

mod fair_queue;
mod request_table;

use std::fmt;
use std::sync::Arc;

use crate::connections::Source;

pub use fair_queue::FairQueue;
pub use request_table::{
    Entry, LONG_OF_IDENTITY_MAX, RequestId, RequestTable, SEATS, SEATS_OF_IDENTITY,
    WAITING_OF_IDENTITY_MAX,
};

/// Whose time and memory something takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A user by name.
    User(Arc<str>),
    /// Somebody unknown, by where he comes from.
    Source(Source),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Source(source) => write!(f, "{source}"),
        }
    }
}
