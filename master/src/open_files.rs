//! How many descriptors the process may have.
//!
//! Many systems start programs with 1,024, which is fewer than the connections that the port has
//! places for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// All places of the port, as many sockets and files of our own, and room to grow.
const WANTED: u64 = 4_096;

/// Raises the limit as far as the system lets us; with fewer, strangers' connections are given up
/// earlier.
pub(crate) fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft >= WANTED {
            return Ok(());
        }
        setrlimit(Resource::RLIMIT_NOFILE, WANTED.min(hard), hard)
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "could not raise the limit of open files");
    }
}
