//! When it is worth while to give memory back.
//!
//! Trimming goes through the whole heap, so it is done once after a burst, not all the time: when
//! more is resident than after the last trim, and it has stopped growing.

/// Growth that is worth a trim, in bytes; smaller changes are everyday life.
const GROWTH_MIN: u64 = 2 << 20;

/// What was resident at the last looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrimPlan {
    after_trim: u64,
    last: u64,
}

impl TrimPlan {
    /// Takes in what is resident now and says whether to trim.
    pub(crate) const fn trims(&mut self, bytes: u64) -> bool {
        let grows = bytes > self.last.saturating_add(GROWTH_MIN);
        self.last = bytes;
        !grows && bytes > self.after_trim.saturating_add(GROWTH_MIN)
    }

    /// Notes what a trim has left: that is in use, or cannot be had back.
    pub(crate) const fn note_trimmed(&mut self, bytes: u64) {
        (self.after_trim, self.last) = (bytes, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_burst_is_trimmed_once_when_it_is_over() {
        let mut plan = TrimPlan::default();
        plan.note_trimmed(10 * MIB);
        let looks: Vec<bool> =
            [10, 11, 100, 300, 301, 300].map(|mib| plan.trims(mib * MIB)).to_vec();
        assert_eq!(looks, [false, false, false, false, true, true]);
        plan.note_trimmed(60 * MIB);
        assert!(!plan.trims(61 * MIB), "what is in use stays");
        assert!(!plan.trims(30 * MIB));
        plan.note_trimmed(30 * MIB);
        assert!(!plan.trims(33 * MIB));
        assert!(plan.trims(33 * MIB));
    }
}
