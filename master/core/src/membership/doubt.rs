//! Doubts our own network when many nodes fall silent at once.

use std::collections::BTreeMap;

use bramble_shared::ids::NodeId;
use bramble_shared::limits::HEARTBEAT_INTERVAL_MS;
use embassy_time::{Duration, Instant};

/// Nodes that fall silent within this time fall silent "at once": 200 ms, and an interval because
/// what is known is when they were last heard.
const WINDOW: Duration = Duration::from_millis(200 + HEARTBEAT_INTERVAL_MS);

/// How long a silence is remembered. Detectors become suspicious after 0.3 to 0.6 s, each according
/// to its own node's habits, and after up to nine times that when we are late ourselves.
const MEMORY: Duration = Duration::from_secs(6);

/// How long nothing is replaced then: switches and access points reboot in about that time.
const HOLD: Duration = Duration::from_secs(3);

/// Remembers who fell silent lately.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkDoubt {
    recent: BTreeMap<NodeId, Instant>,
    until: Option<Instant>,
}

impl NetworkDoubt {
    /// Takes in that a node which was heard at `last` is silent, while `alive` others are still
    /// heard. At least two nodes, and more than half of all that were heard, raise the doubt; true
    /// if this one did.
    pub(super) fn on_silence(
        &mut self,
        node: NodeId,
        last: Instant,
        alive: usize,
        now: Instant,
    ) -> bool {
        self.recent.retain(|_, at| *at + MEMORY >= now);
        self.recent.insert(node, last);
        let together = |at: &&Instant| **at + WINDOW >= last && last + WINDOW >= **at;
        let silent = self.recent.values().filter(together).count();
        let raised = silent >= 2 && silent > alive;
        if raised {
            self.until = Some(now + HOLD);
        }
        raised
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
        let mut raised = false;
        for (node, alive, at) in silences {
            let (last, now) = (Instant::from_millis(*at), Instant::from_millis(*at + 300));
            raised = doubt.on_silence(NodeId(*node), last, *alive, now);
        }
        assert_eq!(doubt.until(), wanted.map(Instant::from_millis));
        assert_eq!(raised, wanted.is_some());
    }

    #[test]
    fn only_many_at_once_raise_doubt() {
        check(&[(1, 0, 0)], None);
        check(&[(1, 3, 0), (2, 2, 100)], None);
        check(&[(1, 3, 0), (2, 2, 100), (3, 1, 300)], Some(3_600));
        // The last to be suspected was the first to fall silent.
        check(&[(1, 3, 100), (2, 2, 100), (3, 1, 0)], Some(3_300));
        check(&[(1, 1, 0), (2, 0, 301)], None);
        check(&[(1, 1, 0), (1, 1, 50)], None);
    }
}
