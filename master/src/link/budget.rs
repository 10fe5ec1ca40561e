//! How much of the master one node may use up: in messages, in bytes on the card, in events.
//!
//! Pure: time is an argument. A node beyond its budget is not cut off, it is read more slowly, so that
//! TCP holds it back and nothing that it says is lost; only events are dropped, which are best effort.
//! Budgets belong to nodes and not to sessions: who redials begins with what is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bramble_shared::limits::NODES_MAX;

/// Messages: a board that starts 110 pods at once says some 20 of each.
const MESSAGES: Rate = Rate { burst: 2_000, per_minute: 6_000 };
/// Bytes of stored objects, which is what reaches the card: 110 pods of 10 KB that change six times
/// while they start; and less than 16 MB in any later minute.
const BYTES: Rate = Rate { burst: 8 << 20, per_minute: 8 << 20 };
/// Writes that reach the card at once, and hellos, which may be such writes: a restart has two.
const DURABLE: Rate = Rate { burst: 20, per_minute: 20 };
/// Events: five for each of 110 pods that start at once. Upstream lets 25 of one object through, and
/// then one in five minutes.
const EVENTS: Rate = Rate { burst: 600, per_minute: 120 };
/// Longest wait that one message costs, so that a node stays curable by its next words.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u64,
    per_minute: u64,
}

/// A bucket that fills with time and may go into debt.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    /// What is left, in sixty-thousandths: negative is debt.
    level: i128,
    at: Instant,
}

/// Parts of one unit: what comes in a millisecond at one a minute.
const PARTS: i128 = 60_000;

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, level: i128::from(rate.burst) * PARTS, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let ms = now.saturating_duration_since(self.at).as_millis();
        let ms = i128::try_from(ms).unwrap_or(i128::MAX / PARTS);
        let gain = ms.saturating_mul(i128::from(self.rate.per_minute));
        self.level = self.level.saturating_add(gain).min(i128::from(self.rate.burst) * PARTS);
        self.at += Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
    }

    /// Takes `cost` and says how long to wait until the debt is paid.
    fn spend(&mut self, cost: u64, now: Instant) -> Duration {
        self.fill(now);
        // Debt is bounded, too: whoever stops is whole again within minutes.
        let full = i128::from(self.rate.burst) * PARTS;
        self.level = (self.level - i128::from(cost) * PARTS).max(-full);
        let debt = u64::try_from(-self.level).unwrap_or(0);
        Duration::from_millis(debt.div_ceil(self.rate.per_minute)).min(WAIT_MAX)
    }

    /// Takes one if there is one.
    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let enough = self.level >= PARTS;
        if enough {
            self.level -= PARTS;
        }
        enough
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level == i128::from(self.rate.burst) * PARTS
    }
}

/// What is left of one node's budget.
#[derive(Clone, Copy, Debug)]
struct Budget {
    messages: Bucket,
    bytes: Bucket,
    durable: Bucket,
    events: Bucket,
}

/// What one message has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Bytes of the objects that were stored.
    pub(super) bytes: u64,
    /// Writes that reach the card at once.
    pub(super) durable: u64,
}

/// All nodes' budgets.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    by_node: BTreeMap<String, Budget>,
}

impl Budgets {
    /// Takes a message and what it has cost; says how long to read nothing more of this node.
    pub(super) fn spend(&mut self, node: &str, cost: Cost, now: Instant) -> Duration {
        let budget = self.of(node, now);
        let waits = [
            budget.messages.spend(1, now),
            budget.bytes.spend(cost.bytes, now),
            budget.durable.spend(cost.durable, now),
        ];
        waits.into_iter().max().unwrap_or_default()
    }

    /// Takes an event; false if the node has said too many.
    pub(super) fn take_event(&mut self, node: &str, now: Instant) -> bool {
        self.of(node, now).events.take(now)
    }

    fn of(&mut self, node: &str, now: Instant) -> &mut Budget {
        if self.by_node.len() >= 2 * NODES_MAX {
            // Who has not said anything for long has all of it anyway.
            self.by_node.retain(|_, budget| {
                let Budget { messages, bytes, durable, events } = budget;
                ![messages, bytes, durable, events].into_iter().all(|bucket| bucket.is_full(now))
            });
        }
        self.by_node.entry(node.to_owned()).or_insert_with(|| Budget {
            messages: Bucket::full(MESSAGES, now),
            bytes: Bucket::full(BYTES, now),
            durable: Bucket::full(DURABLE, now),
            events: Bucket::full(EVENTS, now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    /// A minute of a node that goes on as fast as it may; what it has said and stored.
    fn minute(budgets: &mut Budgets, cost: Cost, from: Instant) -> u64 {
        let (mut now, mut said) = (from, 0);
        while now < from + Duration::from_secs(60) {
            now += budgets.spend("evil", cost, now).max(Duration::from_millis(1));
            said += 1;
        }
        said
    }

    #[test]
    fn what_a_node_writes_in_a_minute_is_bounded() {
        let (mut budgets, start) = (Budgets::default(), monotonic());
        let cost = Cost { bytes: 32 << 10, durable: 0 };
        let first = minute(&mut budgets, cost, start) * cost.bytes;
        let next = minute(&mut budgets, cost, start + Duration::from_secs(60)) * cost.bytes;
        assert!(first <= 17 << 20, "{first} bytes in the first minute");
        assert!(next <= 9 << 20, "{next} bytes in the second minute");
    }

    #[test]
    fn messages_and_durable_writes_are_bounded() {
        let start = monotonic();
        let said = minute(&mut Budgets::default(), Cost::default(), start);
        assert!((6_000..=8_100).contains(&said), "{said} messages");
        let durable = Cost { bytes: 0, durable: 1 };
        let said = minute(&mut Budgets::default(), durable, start);
        assert!((20..=41).contains(&said), "{said} durable writes");
    }

    #[test]
    fn a_board_that_starts_all_its_pods_does_not_wait() {
        let (mut budgets, now) = (Budgets::default(), monotonic());
        for _ in 0..110 * 6 {
            let wait = budgets.spend("pi-1", Cost { bytes: 10_000, durable: 0 }, now);
            assert_eq!(wait, Duration::ZERO);
        }
        for _ in 0..110 * 5 {
            assert!(budgets.take_event("pi-1", now));
        }
    }

    #[test]
    fn events_beyond_the_budget_are_dropped_and_nobody_elses() {
        let (mut budgets, start) = (Budgets::default(), monotonic());
        let taken = (0..100_000).filter(|_| budgets.take_event("evil", start)).count();
        assert_eq!(taken, 600);
        assert!(budgets.take_event("pi-1", start));
        let later = start + Duration::from_secs(60);
        let taken = (0..100_000).filter(|_| budgets.take_event("evil", later)).count();
        assert_eq!(taken, 120);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_debts_are_not_forgotten() {
        let (mut budgets, now) = (Budgets::default(), monotonic());
        budgets.spend("evil", Cost { bytes: 1 << 40, durable: 0 }, now);
        let mut later = now;
        for number in 0..10_000 {
            later = now + Duration::from_millis(number);
            budgets.spend(&number.to_string(), Cost::default(), later);
        }
        assert!(budgets.by_node.len() <= 2 * NODES_MAX);
        assert_eq!(budgets.spend("evil", Cost::default(), later), WAIT_MAX);
        // It has paid for all of it some minutes later.
        let paid = later + Duration::from_secs(180);
        assert_eq!(budgets.spend("evil", Cost::default(), paid), Duration::ZERO);
    }
}
