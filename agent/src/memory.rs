//! Gives the agent's memory back after a burst.
//!
//! Knows nothing of what the memory was for.

use std::time::Duration;

use bramble_agent_core::trim::TrimPlan;
use bramble_runtime::heap;

use crate::facts;

/// Interval at which the process looks at itself.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Trims the heap whenever it is worth it, for ever.
pub(crate) async fn keep() {
    let mut plan = TrimPlan::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(bytes) = facts::resident_bytes() else { continue };
        if plan.trims(bytes) {
            heap::trim();
            let left = facts::resident_bytes().unwrap_or(bytes);
            plan.note_trimmed(left);
            tracing::debug!(before = bytes, after = left, "memory given back");
        }
    }
}
