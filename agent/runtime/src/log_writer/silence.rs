//! What a log says of the time in which its pod's budget was used up.
//!
//! Pure. The lines stand in the log itself, where whoever misses output looks.

use serde::{Deserialize, Serialize};

use crate::timestamp;

/// What was left out since the budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silence {
    lines: u64,
    bytes: u64,
}

impl Silence {
    /// Counts what was left out.
    pub(super) fn count(&mut self, lines: u64, len: usize) {
        self.lines = self.lines.saturating_add(lines);
        self.bytes = self.bytes.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// The line with which it ends. What memory has of it comes after.
    pub(super) fn ends(self, now_us: u64) -> Vec<u8> {
        let Self { lines, bytes } = self;
        let text = format!("{lines} lines ({bytes} bytes) were left out; the newest follow");
        line(now_us, &text)
    }
}

/// The line with which it begins.
pub(super) fn begins(now_us: u64, per_day: Option<u64>, left_ms: u64) -> Vec<u8> {
    let minutes = left_ms.div_ceil(60_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let text = format!(
        "this pod has used up the {} bytes of logs that it may write in a day (log-budget-mib); \
         for {hours} h {minutes} min only its newest lines are kept, in memory",
        per_day.unwrap_or(0)
    );
    line(now_us, &text)
}

fn line(now_us: u64, text: &str) -> Vec<u8> {
    format!("{} stderr F bramble: {text}\n", timestamp::format(now_us)).into_bytes()
}
