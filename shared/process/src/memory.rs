//! Gives a process's memory back after a burst.
//!
//! Knows nothing of what the memory was for.

use std::fs;
use std::time::Duration;

use crate::sys::heap;
use crate::trim_plan::TrimPlan;

/// Interval at which a process is to look at its memory.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A page of the kernels that we know, in bytes; a Pi 5's may be larger, which only makes changes
/// look smaller than they are.
const PAGE_BYTES: u64 = 4096;

/// What a process knows of its memory.
#[derive(Debug, Default)]
pub struct Memory {
    plan: TrimPlan,
}

impl Memory {
    /// Trims the heap if that is worth it. To be called every [`LOOK_INTERVAL`].
    pub fn look(&mut self) {
        let Some(bytes) = resident_bytes() else { return };
        if self.plan.trims(bytes) {
            heap::trim();
            let left = resident_bytes().unwrap_or(bytes);
            self.plan.note_trimmed(left);
            tracing::debug!(before = bytes, after = left, "memory given back");
        }
    }
}

/// Memory of this process that is in RAM, in bytes.
fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages.saturating_mul(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_known() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
