//! What a card loses when its power goes: a log of the sectors that were written since the last
//! flush, with what was there before.
//!
//! Pure: it does not know files or sockets. A card writes 512 bytes as one, so that a sector is
//! either old or new after a cut, and neighbours of one write may differ: that is a torn write.
//!
//! ```text
//!  write ---> unflushed --flush--> safe
//!                 |
//!                cut --> some sectors new, the others as they were at the last flush
//! ```

use std::collections::BTreeMap;

use crate::seed::Seed;

/// Bytes that a card writes as one.
pub const SECTOR_LEN: usize = 512;
/// Most sectors that are unflushed at once, 32 MiB. A card's own cache is smaller; what goes
/// beyond counts as flushed.
pub const UNFLUSHED_MAX: usize = 65_536;

/// Content of a sector.
pub type Sector = [u8; SECTOR_LEN];

/// Unflushed sectors, each with what it held at the last flush.
#[derive(Debug, Default)]
pub struct WriteLog {
    old: BTreeMap<u64, Sector>,
}

impl WriteLog {
    /// Notes that a sector is about to be written over. Only its oldest content counts.
    pub fn write(&mut self, sector: u64, old: Sector) {
        if self.old.len() >= UNFLUSHED_MAX && !self.old.contains_key(&sector) {
            self.old.clear();
        }
        self.old.entry(sector).or_insert(old);
    }

    /// Everything written so far survives a cut.
    pub fn flush(&mut self) {
        self.old.clear();
    }

    /// These sectors survive a cut: they were written with "force unit access".
    pub fn force(&mut self, start: u64, count: u64) {
        let forced: Vec<u64> =
            self.old.range(start..start.saturating_add(count)).map(|(sector, _)| *sector).collect();
        for sector in forced {
            self.old.remove(&sector);
        }
    }

    /// Number of sectors that a cut may lose.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.old.len()
    }

    /// Cuts the power and returns what has to be put back: a random part of the unflushed
    /// sectors, between none and all of them.
    pub fn cut(&mut self, seed: &mut Seed) -> Vec<(u64, Sector)> {
        let lost_percent = seed.below(101);
        let mut lost = Vec::new();
        for (sector, old) in std::mem::take(&mut self.old) {
            if seed.below(100) < lost_percent {
                lost.push((sector, old));
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write { sector: u64, byte: u8 },
        Force { sector: u64, byte: u8 },
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..16_u64, 1..=255_u8).prop_map(|(sector, byte)| Step::Write { sector, byte }),
            1 => (0..16_u64, 1..=255_u8).prop_map(|(sector, byte)| Step::Force { sector, byte }),
            1 => Just(Step::Flush),
        ]
    }

    proptest! {
        #[test]
        fn flushed_data_survives_and_sectors_are_old_or_new(
            steps in prop::collection::vec(step(), 0..60),
            seed in any::<u64>(),
        ) {
            let mut log = WriteLog::default();
            let mut card = [0_u8; 16];
            let mut safe = card;
            for step in steps {
                match step {
                    Step::Write { sector, byte } => {
                        let index = usize::try_from(sector).unwrap();
                        log.write(sector, [card[index]; SECTOR_LEN]);
                        card[index] = byte;
                    }
                    Step::Force { sector, byte } => {
                        let index = usize::try_from(sector).unwrap();
                        log.write(sector, [card[index]; SECTOR_LEN]);
                        card[index] = byte;
                        log.force(sector, 1);
                        safe[index] = byte;
                    }
                    Step::Flush => {
                        log.flush();
                        safe = card;
                    }
                }
            }
            let mut after = card;
            for (sector, old) in log.cut(&mut Seed::new(seed)) {
                after[usize::try_from(sector).unwrap()] = old[0];
            }
            for index in 0..16 {
                prop_assert!(after[index] == safe[index] || after[index] == card[index]);
            }
            prop_assert_eq!(log.unflushed(), 0);
        }
    }

    #[test]
    fn cuts_lose_nothing_something_or_everything() {
        let lost = |seed| {
            let mut log = WriteLog::default();
            for sector in 0..100 {
                log.write(sector, [0; SECTOR_LEN]);
            }
            log.cut(&mut Seed::new(seed)).len()
        };
        let counts: Vec<usize> = (0..300).map(lost).collect();
        assert!(counts.contains(&0) && counts.contains(&100));
        assert!(counts.iter().filter(|count| (20..80).contains(*count)).count() > 100);
        assert_eq!(lost(7), lost(7));
    }

    #[test]
    fn log_is_bounded() {
        let mut log = WriteLog::default();
        for sector in 0..=u64::try_from(UNFLUSHED_MAX).unwrap() {
            log.write(sector, [0; SECTOR_LEN]);
        }
        assert_eq!(log.unflushed(), 1);
    }
}
