//! Doubts our own network when many nodes fall silent at once.

use std::collections::BTreeMap;

use bramble_shared::ids::NodeId;
use embassy_time::{Duration, Instant};

/// Nodes that fall silent within this time fall silent "at once".
const WINDOW: Duration = Duration::from_millis(200);

/// How long nothing is replaced then: switches and access points reboot in about that time.
const HOLD: Duration = Duration::from_secs(3);

/// Remembers who fell silent lately.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkDoubt {
    recent: BTreeMap<NodeId, Instant>,
    until: Option<Instant>,
}

impl NetworkDoubt {
    /// Takes in that a node fell silent while `alive` others were still heard. At least two nodes,
    /// and more than half of all that were heard, raise the doubt.
    pub(super) fn on_silence(&mut self, node: NodeId, alive: usize, now: Instant) {
        self.recent.retain(|_, at| *at + WINDOW >= now);
        self.recent.insert(node, now);
        let silent = self.recent.len();
        if silent >= 2 && silent > alive {
            self.until = Some(now + HOLD);
        }
    }

    /// Until when nothing may be replaced; may be past.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(silences: &[(u16, usize, u64)], wanted: Option<u64>) {
        let mut doubt = NetworkDoubt::default();
        for (node, alive, at) in silences {
            doubt.on_silence(NodeId(*node), *alive, Instant::from_millis(*at));
        }
        assert_eq!(doubt.until(), wanted.map(Instant::from_millis));
    }

    #[test]
    fn only_many_at_once_raise_doubt() {
        check(&[(1, 0, 0)], None);
        check(&[(1, 3, 0), (2, 2, 100)], None);
        check(&[(1, 3, 0), (2, 2, 100), (3, 1, 200)], Some(3_200));
        check(&[(1, 1, 0), (2, 0, 201)], None);
        check(&[(1, 1, 0), (1, 1, 50)], None);
    }
}
