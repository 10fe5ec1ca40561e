//! How much of its containers' output a pod may have written to the disk in a day.
//!
//! Pure: time comes in as milliseconds of the boot's monotonic clock. Knows pods only as groups of
//! log files in one folder.
//!
//! ```text
//!  Open --more than the budget--> UsedUp --24 h after the first byte--> Open
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What each pod has written. Each one's day begins with the first byte that it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Budgets {
    /// Most bytes of one pod and day; none for no bound.
    per_day: Option<u64>,
    days: BTreeMap<String, Day>,
}

/// One pod's day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    begun_ms: u64,
    written: u64,
    /// More was to be written than the budget has.
    pub(crate) used_up: bool,
}

/// What is to be done with some output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// It belongs on the disk.
    Write,
    /// It is counted, and the newest of it kept in memory.
    KeepNewest {
        /// Time until the disk may have output again.
        left_ms: u64,
    },
}

impl Budgets {
    /// Goes on with the days that were noted before.
    pub(super) fn new(per_day: Option<u64>, days: BTreeMap<String, Day>) -> Self {
        Self { per_day, days }
    }

    /// The bound of a day, if there is one.
    pub(super) fn per_day(&self) -> Option<u64> {
        self.per_day
    }

    /// The days, for a note.
    pub(super) fn days(&self) -> &BTreeMap<String, Day> {
        &self.days
    }

    /// Asks for some bytes.
    ///
    /// A budget that cannot give them is used up, for smaller wishes, too: a log with holes
    /// of chance would be worse than one that ends.
    pub(super) fn take(&mut self, group: &str, len: u64, now_ms: u64) -> Grant {
        let Some(per_day) = self.per_day else { return Grant::Write };
        self.days.retain(|_, day| day.left_ms(now_ms) > 0);
        let day = self.days.entry(group.to_owned()).or_insert(Day {
            begun_ms: now_ms,
            written: 0,
            used_up: false,
        });
        let written = day.written.saturating_add(len);
        day.used_up |= written > per_day;
        if day.used_up {
            return Grant::KeepNewest { left_ms: day.left_ms(now_ms) };
        }
        day.written = written;
        Grant::Write
    }
}

impl Day {
    fn left_ms(&self, now_ms: u64) -> u64 {
        self.begun_ms.saturating_add(DAY_MS).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 60 * 60 * 1000;

    fn kept(left_ms: u64) -> Grant {
        Grant::KeepNewest { left_ms }
    }

    #[test]
    fn a_pod_gets_its_budget_each_day_and_no_other_pods() {
        let mut budgets = Budgets::new(Some(100), BTreeMap::new());
        assert_eq!(budgets.take("a", 60, HOUR_MS), Grant::Write);
        assert_eq!(budgets.take("a", 40, 2 * HOUR_MS), Grant::Write);
        assert_eq!(budgets.take("b", 100, 2 * HOUR_MS), Grant::Write);
        assert_eq!(budgets.take("a", 1, 3 * HOUR_MS), kept(22 * HOUR_MS));
        assert_eq!(budgets.take("b", 1, 3 * HOUR_MS), kept(23 * HOUR_MS));
        assert_eq!(budgets.take("a", 1, 25 * HOUR_MS), Grant::Write);
        assert_eq!(budgets.take("b", 1, 25 * HOUR_MS), kept(HOUR_MS));
    }

    #[test]
    fn what_does_not_fit_uses_the_budget_up_and_what_is_not_written_does_not_count() {
        let mut budgets = Budgets::new(Some(100), BTreeMap::new());
        assert_eq!(budgets.take("a", 90, 0), Grant::Write);
        assert_eq!(budgets.take("a", u64::MAX, 1), kept(DAY_MS - 1));
        assert_eq!(budgets.take("a", 1, 2), kept(DAY_MS - 2));
        assert_eq!(budgets.days()["a"], Day { begun_ms: 0, written: 90, used_up: true });
    }

    #[test]
    fn a_successor_goes_on_with_the_day_and_days_that_are_over_are_forgotten() {
        let mut budgets = Budgets::new(Some(100), BTreeMap::new());
        budgets.take("a", 100, 0);
        let mut next = Budgets::new(budgets.per_day(), budgets.days().clone());
        assert_eq!(next.take("a", 1, HOUR_MS), kept(23 * HOUR_MS));
        assert_eq!(next.take("b", 1, 24 * HOUR_MS), Grant::Write);
        assert_eq!(next.days().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let mut budgets = Budgets::default();
        assert_eq!(budgets.take("a", u64::MAX, 0), Grant::Write);
        assert_eq!(budgets.take("a", u64::MAX, 0), Grant::Write);
        assert!(budgets.days().is_empty());
    }
}
