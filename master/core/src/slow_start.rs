//! How many things of one kind are done at a time when each may fail for the same reason.
//!
//! One, then two, then four and so on for as long as all succeed, and none after a failure, as
//! upstream: what cannot succeed is not tried five hundred times. The next run starts anew.

/// A series of things to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    left: usize,
    size: usize,
}

impl SlowStart {
    /// A series of so many.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self { left: count, size: 1 }
    }

    /// How many to do now; none when the series is over.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.size.min(self.left)
    }

    /// Notes that what [`Self::batch`] said was done, and whether any of it failed.
    pub fn done(&mut self, failed: bool) {
        self.left = if failed { 0 } else { self.left - self.batch() };
        self.size = self.size.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::SlowStart;

    fn batches(count: usize, fails_at: Option<usize>) -> Vec<usize> {
        let mut series = SlowStart::new(count);
        let mut batches = Vec::new();
        while series.batch() > 0 {
            batches.push(series.batch());
            series.done(fails_at == Some(batches.len()));
        }
        batches
    }

    #[test]
    fn batches_double_until_everything_is_done() {
        assert!(batches(0, None).is_empty());
        assert_eq!(batches(1, None), [1]);
        assert_eq!(batches(10, None), [1, 2, 4, 3]);
        assert_eq!(batches(500, None).iter().sum::<usize>(), 500);
        assert_eq!(batches(500, None).len(), 9);
    }

    #[test]
    fn nothing_is_done_after_a_failure() {
        assert_eq!(batches(500, Some(1)), [1]);
        assert_eq!(batches(500, Some(3)), [1, 2, 4]);
    }
}
