//! Accepts each counter of a session at most once, in any order within a window.
//!
//! RFC 6479's bitmap: a ring of words, one of which is always being refilled, so that moving the
//! window clears whole words and shifts nothing. Does not authenticate: [`ReplayWindow::accept`]
//! may only be called for an authenticated packet, [`ReplayWindow::is_fresh`] for any.

/// Counters behind the newest one that are still accepted: 25 s of heartbeats.
pub const REPLAY_WINDOW: u64 = 256;

const WORD_BITS: u64 = 64;
/// One more word than the window has, for the one being refilled.
const WORDS: u64 = REPLAY_WINDOW / WORD_BITS + 1;

/// Which counters of a session were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    /// Invariant: every counter above it is fresh.
    newest: u64,
    /// Bit c % 64 of word (c / 64) % WORDS says that counter c was seen.
    words: [u64; 5],
}

const _: () = assert!(WORDS == 5, "the ring's length is written out above");

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayWindow {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: 0, words: [0; 5] }
    }

    /// True if the counter was not seen and is not too old to know. Counter 0 is never fresh.
    #[must_use]
    pub fn is_fresh(&self, counter: u64) -> bool {
        if counter == 0 {
            return false;
        }
        if counter > self.newest {
            return true;
        }
        if self.newest - counter >= REPLAY_WINDOW {
            return false;
        }
        self.word(counter).is_some_and(|word| word & mask(counter) == 0)
    }

    /// Notes the counter of an authenticated packet; false if it was not fresh.
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.is_fresh(counter) {
            return false;
        }
        if counter > self.newest {
            let (old, new) = (self.newest / WORD_BITS, counter / WORD_BITS);
            for index in 1..=(new - old).min(WORDS) {
                self.set_word((old + index) % WORDS, 0);
            }
            self.newest = counter;
        }
        let index = counter / WORD_BITS % WORDS;
        let word = self.word(counter).unwrap_or_default();
        self.set_word(index, word | mask(counter));
        true
    }

    fn word(&self, counter: u64) -> Option<u64> {
        let index = usize::try_from(counter / WORD_BITS % WORDS).ok()?;
        self.words.get(index).copied()
    }

    fn set_word(&mut self, index: u64, value: u64) {
        let word = usize::try_from(index).ok().and_then(|index| self.words.get_mut(index));
        if let Some(word) = word {
            *word = value;
        }
    }
}

const fn mask(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_accepted_once() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(1));
        assert!(!window.accept(1));
        assert!(window.accept(300));
        assert!(!window.is_fresh(300 - REPLAY_WINDOW));
        assert!(window.accept(301 - REPLAY_WINDOW));
        assert!(!window.accept(301 - REPLAY_WINDOW));
        assert!(!window.accept(0));
    }

    #[test]
    fn largest_counter_is_no_special_case() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(u64::MAX));
        assert!(!window.accept(u64::MAX));
        assert!(window.accept(u64::MAX - 255));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(
            steps in proptest::collection::vec((0_u64..400, prop::bool::weighted(0.05)), 1..400)
        ) {
            let (mut window, mut seen, mut newest, mut base) =
                (ReplayWindow::new(), BTreeSet::new(), 0_u64, 0_u64);
            for (offset, leap) in steps {
                if leap {
                    base += 1000;
                } else {
                    base += offset / 100;
                }
                let counter = base + offset;
                let fresh = counter != 0
                    && !seen.contains(&counter)
                    && (counter > newest || newest - counter < REPLAY_WINDOW);
                prop_assert_eq!(window.accept(counter), fresh, "counter {}", counter);
                if fresh {
                    seen.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
