//! The point in time at which something is decided, by both of a board's clocks.
//!
//! Deadlines are counted on the monotonic clock only; the time of day is for people to read and
//! may step by years when the master sets it.

use embassy_time::Instant;

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time: what deadlines are counted on.
    pub instant: Instant,
    /// Time of day, in milliseconds since 1970: what status and events show.
    pub time_of_day_ms: u64,
}
