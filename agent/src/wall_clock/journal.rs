//! When the time is worth writing down: pure, with the clocks as arguments.
//!
//! What is written down is the floor of the next boot, and no time before the floor is ever
//! believed. So a time that somebody has just told, and that may be a lie, is not written until the
//! clock has stood for an hour with nobody taking it back.

use std::time::Duration;

/// Seconds between two writes: cards wear out.
const INTERVAL_S: u64 = 3_600;
/// A leap of the clock of which the new time need not stand the test first, in seconds: a board
/// that was off for the weekend. A lie of that size is over by itself in as long.
const LEAP_S: u64 = 2 * 86_400;
/// Time that a larger leap has to stand.
const PROOF: Duration = Duration::from_secs(3_600);

/// Remembers what was written, and since when the clock runs without a leap.
#[derive(Debug)]
pub(super) struct Journal {
    noted_s: Option<u64>,
    /// What both clocks showed at the last look: of the day in seconds, and since the start.
    looked: (u64, Duration),
    /// When the last large leap was seen.
    leapt: Option<Duration>,
}

impl Journal {
    /// Begins with what was written before; `now_s` is the time of day in seconds since 1970, and
    /// `uptime` a time that only runs on.
    pub(super) fn new(noted_s: Option<u64>, now_s: u64, uptime: Duration) -> Self {
        Self { noted_s, looked: (now_s, uptime), leapt: None }
    }

    /// The last time that was written.
    pub(super) fn noted_s(&self) -> Option<u64> {
        self.noted_s
    }

    /// Whether the time is to be written now. To be called every minute or so: leaps are seen by
    /// comparing the clocks between two calls.
    pub(super) fn due(&mut self, now_s: u64, uptime: Duration) -> bool {
        self.proven(now_s, uptime)
            && self.noted_s.is_none_or(|noted| now_s >= noted.saturating_add(INTERVAL_S))
    }

    /// Whether the time is worth writing at the end of the process.
    pub(super) fn last(&mut self, now_s: u64, uptime: Duration) -> bool {
        self.proven(now_s, uptime) && self.noted_s.is_none_or(|noted| now_s > noted)
    }

    /// The time was written.
    pub(super) fn written(&mut self, now_s: u64) {
        self.noted_s = Some(now_s);
    }

    fn proven(&mut self, now_s: u64, uptime: Duration) -> bool {
        let (then_s, then) = self.looked;
        let expected_s = then_s.saturating_add(uptime.saturating_sub(then).as_secs());
        if expected_s.abs_diff(now_s) > LEAP_S {
            self.leapt = Some(uptime);
        }
        self.looked = (now_s, uptime);
        self.leapt.is_none_or(|leapt| uptime.saturating_sub(leapt) >= PROOF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const YEAR: u64 = 365 * 86_400;

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_time_is_written_once_an_hour() {
        let mut journal = Journal::new(None, NOW, after(5));
        assert!(journal.due(NOW + 60, after(65)));
        journal.written(NOW + 60);
        assert!(!journal.due(NOW + 60 + 3_599, after(65 + 3_599)));
        assert!(journal.due(NOW + 60 + 3_600, after(65 + 3_600)));
        assert!(journal.last(NOW + 60 + 3_601, after(65 + 3_601)));
        assert_eq!(journal.noted_s(), Some(NOW + 60));
    }

    #[test]
    fn a_lie_that_is_taken_back_is_never_written() {
        let mut journal = Journal::new(Some(NOW), NOW, after(0));
        let lie = NOW + 10 * YEAR;
        for minute in 1..60 {
            assert!(!journal.due(lie + minute * 60, after(minute * 60)), "{minute}");
            assert!(!journal.last(lie + minute * 60, after(minute * 60)), "{minute}");
        }
        // Back again: that has to stand as long.
        assert!(!journal.due(NOW + 3_600, after(3_600)));
        assert!(!journal.due(NOW + 3_660, after(3_660)));
        assert!(journal.due(NOW + 7_200, after(7_200)));
    }

    #[test]
    fn a_leap_that_stands_for_an_hour_is_written() {
        let mut journal = Journal::new(Some(NOW), NOW, after(0));
        let later = NOW + YEAR;
        assert!(!journal.due(later, after(60)));
        assert!(!journal.due(later + 3_540, after(3_600)));
        assert!(journal.due(later + 3_600, after(3_660)));
    }

    #[test]
    fn a_board_that_was_off_for_a_day_writes_at_once() {
        let mut journal = Journal::new(Some(NOW), NOW, after(0));
        assert!(journal.due(NOW + 86_400, after(60)));
    }

    #[test]
    fn an_earlier_time_is_never_written_over_a_later_one() {
        let mut journal = Journal::new(Some(NOW), NOW, after(0));
        assert!(!journal.due(NOW - 86_400, after(60)));
        assert!(!journal.last(NOW - 86_300, after(120)));
    }
}
