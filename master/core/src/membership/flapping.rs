//! Holds back a node that dies and returns again and again.

use embassy_time::{Duration, Instant};

/// Two returns within this time are flapping.
const WINDOW: Duration = Duration::from_secs(60);

/// How long the first hold lasts.
const BACK_OFF_MIN: Duration = Duration::from_secs(10);

/// The longest hold; also the calm after which the next hold is the shortest again.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What is remembered of a node's returns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flapping {
    last_return: Option<Instant>,
    held_until: Option<Instant>,
    back_off: Option<Duration>,
}

impl Flapping {
    /// Takes in that the node came back from the dead.
    pub(super) fn on_return(&mut self, now: Instant) {
        let calm = |until: Instant| now >= until + BACK_OFF_MAX;
        if self.held_until.is_some_and(calm) {
            self.back_off = None;
        }
        let again = self.last_return.is_some_and(|last| now < last + WINDOW);
        self.last_return = Some(now);
        if again {
            let doubled = self.back_off.map_or(BACK_OFF_MIN, |present| present * 2);
            let back_off = doubled.min(BACK_OFF_MAX);
            self.back_off = Some(back_off);
            self.held_until = Some(now + back_off);
        }
    }

    /// Until when it gets no new pods; may be past.
    pub(super) const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_double_up_to_five_minutes_and_start_again_after_calm() {
        let mut flapping = Flapping::default();
        let mut at = |secs| {
            flapping.on_return(Instant::from_secs(secs));
            flapping.held_until().map(|until| until.as_secs().saturating_sub(secs))
        };
        let holds: Vec<_> = (0..8).map(|number| at(number * 30)).collect();
        let wanted =
            [None, Some(10), Some(20), Some(40), Some(80), Some(160), Some(300), Some(300)];
        assert_eq!(holds, wanted);
        at(210 + 700);
        assert_eq!(at(210 + 710), Some(10));
    }

    #[test]
    fn rare_returns_are_no_flapping() {
        let mut flapping = Flapping::default();
        for number in 0..5 {
            flapping.on_return(Instant::from_secs(number * 60));
        }
        assert_eq!(flapping.held_until(), None);
    }
}
