//! Which refusals of boards were told lately: a board that is refused tries again every second.
//!
//! Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bramble_shared::limits::NODES_MAX;

/// Time between two words of one kind about one node.
const AGAIN: Duration = Duration::from_secs(60);
/// Words that are remembered: of each kind of refusal one for each node.
const TOLD_MAX: usize = 2 * NODES_MAX;

/// When refusals were told, by node and kind.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: BTreeMap<(String, &'static str), Instant>,
}

impl Refusals {
    /// Whether a refusal of this node is to be told now. The map is bounded: who has a certificate
    /// or a token can name any node.
    pub(super) fn tell(&mut self, node: &str, kind: &'static str, now: Instant) -> bool {
        self.told.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        let key = (node.to_owned(), kind);
        if self.told.contains_key(&key) || self.told.len() >= TOLD_MAX {
            return false;
        }
        self.told.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_node_is_told_of_once_a_minute() {
        let (mut refusals, start) = (Refusals::default(), monotonic());
        let at = |second| start + Duration::from_secs(second);
        let told: Vec<u64> =
            (0..120).filter(|second| refusals.tell("pi-1", "JoinRefused", at(*second))).collect();
        assert_eq!(told, [0, 60]);
        assert!(refusals.tell("pi-2", "JoinRefused", at(61)));
        assert!(refusals.tell("pi-1", "LinkRefused", at(61)));
    }

    #[test]
    fn names_are_bounded() {
        let (mut refusals, now) = (Refusals::default(), monotonic());
        let mut tell = |number: usize| refusals.tell(&number.to_string(), "JoinRefused", now);
        assert_eq!((0..10_000).filter(|number| tell(*number)).count(), TOLD_MAX);
    }
}
