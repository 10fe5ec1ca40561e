//! How many streams to pods may be open at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::link_client::STREAMS_MAX;

/// Most of them on one node: half of the link's streams, so that readers of logs and an upgrade
/// find room beside them.
pub(crate) const PLACES: usize = STREAMS_MAX / 2;

/// The places for streams on this node.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlaces {
    free: Arc<Semaphore>,
}

impl Default for StreamPlaces {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl StreamPlaces {
    /// Takes a place, which is given back when it is dropped; the error says what to do.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, String> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            format!("{PLACES} streams to pods of this node are open already; end one of them")
        })
    }
}
