//! The heartbeat thread's word to the fence: how long singletons may run.

use std::path::PathBuf;
use std::time::Duration;

use bramble_runtime::fence::client::FenceClient;
use embassy_time::Instant;

/// Longest wait for the fence; it answers within microseconds or is being restarted.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(20);

/// A connection to the fence that comes back by itself.
#[derive(Debug)]
pub(crate) struct FenceLink {
    socket: PathBuf,
    client: Option<FenceClient>,
}

impl FenceLink {
    /// Names the fence's socket without touching it.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, client: None }
    }

    /// Extends the lease. A renewal that is lost is made up for by the next one, 100 ms later.
    pub(crate) fn renew(&mut self, until: Instant) {
        if self.client.is_none() {
            self.client = FenceClient::connect(&self.socket, ANSWER_TIME_MAX).ok();
        }
        let Some(client) = &mut self.client else { return };
        if let Err(error) = client.renew(until.as_micros()) {
            tracing::debug!(%error, "the fence did not take a renewal");
            self.client = None;
        }
    }
}
