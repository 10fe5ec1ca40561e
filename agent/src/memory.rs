//! Gives the agent's memory back after a burst.

use bramble_process::{LOOK_INTERVAL, Memory};

/// Trims the heap whenever it is worth it, for ever.
pub(crate) async fn keep() {
    let mut memory = Memory::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        memory.look();
    }
}
