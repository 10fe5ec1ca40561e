//! What to do with what NTP servers say: pure, with answers and the time as arguments.

use std::time::Duration;

/// Difference up to which a clock is right, in microseconds.
const LEFT_US: u64 = 20_000;
/// Difference beyond which a clock is set instead of slewed, in microseconds.
const STEP_US: u64 = 500_000;
/// Difference that is asked about again once the clock was right, in microseconds.
const DOUBT_US: u64 = 2_000_000;
/// Two differences are the same if they are no further apart, in microseconds.
const SAME_US: u64 = 500_000;
/// Wait between two rounds, a little more than 17 minutes: what a slew of 0.5 s takes.
const INTERVAL: Duration = Duration::from_secs(1_024);
/// Wait before a difference is asked about again.
const CONFIRM: Duration = Duration::from_secs(4);
/// Waits after a round without an answer, before there was any: from this one,
const RETRY_MIN: Duration = Duration::from_secs(1);
/// twice as long each time, up to this one.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// Moments between which the time can be, in microseconds since 1970: 2025 and 2100. A server
/// that says another one is broken.
const PLAUSIBLE_US: std::ops::Range<u64> = 1_735_689_600_000_000..4_102_444_800_000_000;

/// What one server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// How far the server's clock is ahead of ours, in microseconds.
    pub(super) offset_us: i64,
    /// How long question and answer were on their way, in microseconds.
    pub(super) round_trip_us: u64,
}

/// What came of asking all servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) samples: Vec<Sample>,
    /// A server wants to be asked less often, or not at all.
    pub(super) refused: bool,
}

/// What to do with the clock; differences in microseconds, positive if it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nobody has told the time.
    Unknown,
    /// It is right.
    Leave,
    /// Let it run faster or slower for a while.
    Slew(i64),
    /// Set it.
    Step(i64),
    /// Ask again, since this is hard to believe.
    Doubt(i64),
}

/// The action, and how long to wait before the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) action: Action,
    pub(super) wait: Duration,
}

/// What is remembered from round to round.
#[derive(Debug, Default)]
pub(super) struct Discipline {
    /// The time was known once.
    known: bool,
    /// A difference that is to be confirmed.
    doubted_us: Option<i64>,
    /// Rounds without an answer, before there was any.
    failures: u32,
}

impl Discipline {
    /// Deals with a round; `now_us` is what our clock says.
    pub(super) fn on_round(&mut self, round: &Round, now_us: u64) -> Decision {
        let Some(chosen) = choose(&round.samples, now_us) else {
            return Decision { action: Action::Unknown, wait: self.wait_in_vain(round.refused) };
        };
        let offset = chosen.offset_us;
        let doubted = self.doubted_us.take();
        let far = offset.unsigned_abs();
        if self.known && far >= DOUBT_US {
            let confirmed = doubted.map(|doubted| doubted.abs_diff(offset) <= SAME_US);
            if confirmed != Some(true) {
                // Servers that say something else each time are not asked every few seconds.
                let first = confirmed.is_none();
                self.doubted_us = first.then_some(offset);
                let wait = if first { CONFIRM } else { INTERVAL };
                return Decision { action: Action::Doubt(offset), wait };
            }
        }
        self.known = true;
        // A way that is longer in one direction looks like a difference of half the round trip.
        let action = if far <= LEFT_US.max(chosen.round_trip_us / 2) {
            Action::Leave
        } else if far <= STEP_US {
            Action::Slew(offset)
        } else {
            Action::Step(offset)
        };
        Decision { action, wait: INTERVAL }
    }

    fn wait_in_vain(&mut self, refused: bool) -> Duration {
        self.doubted_us = None;
        if self.known || refused {
            return INTERVAL;
        }
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        wait.min(RETRY_MAX)
    }
}

/// The answer that counts: the median of three and more, since one that lies is outvoted then;
/// of two, the one that took less long.
fn choose(samples: &[Sample], now_us: u64) -> Option<Sample> {
    let plausible = |sample: &&Sample| {
        now_us
            .checked_add_signed(sample.offset_us)
            .is_some_and(|moment| PLAUSIBLE_US.contains(&moment))
    };
    let mut samples: Vec<Sample> = samples.iter().filter(plausible).copied().collect();
    if samples.len() < 3 {
        return samples.into_iter().min_by_key(|sample| sample.round_trip_us);
    }
    samples.sort_by_key(|sample| sample.offset_us);
    samples.get((samples.len() - 1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn sample(offset_us: i64) -> Sample {
        Sample { offset_us, round_trip_us: 10_000 }
    }

    fn round(offsets_us: &[i64]) -> Round {
        Round { samples: offsets_us.iter().copied().map(sample).collect(), refused: false }
    }

    /// A discipline that knows the time.
    fn knowing() -> Discipline {
        let mut discipline = Discipline::default();
        assert_eq!(discipline.on_round(&round(&[0]), NOW).action, Action::Leave);
        discipline
    }

    #[test]
    fn small_differences_are_left_then_slewed_then_set() {
        for (offset, action) in [
            (0, Action::Leave),
            (-20_000, Action::Leave),
            (20_001, Action::Slew(20_001)),
            (-500_000, Action::Slew(-500_000)),
            (500_001, Action::Step(500_001)),
            (-1_999_999, Action::Step(-1_999_999)),
        ] {
            let decision = knowing().on_round(&round(&[offset]), NOW);
            assert_eq!(decision, Decision { action, wait: INTERVAL });
        }
    }

    #[test]
    fn a_slow_way_makes_no_difference() {
        let slow = |offset_us| Round {
            samples: vec![Sample { offset_us, round_trip_us: 400_000 }],
            refused: false,
        };
        assert_eq!(knowing().on_round(&slow(200_000), NOW).action, Action::Leave);
        assert_eq!(knowing().on_round(&slow(200_001), NOW).action, Action::Slew(200_001));
    }

    #[test]
    fn the_first_answer_is_believed() {
        let century = 1_700_000_000_000_000;
        let decision = Discipline::default().on_round(&round(&[century]), 100_000_000_000_000);
        assert_eq!(decision, Decision { action: Action::Step(century), wait: INTERVAL });
    }

    #[test]
    fn a_leap_must_be_said_twice() {
        let mut discipline = knowing();
        let hour = 3_600_000_000;
        let decision = discipline.on_round(&round(&[hour]), NOW);
        assert_eq!(decision, Decision { action: Action::Doubt(hour), wait: CONFIRM });
        let decision = discipline.on_round(&round(&[hour + 400_000]), NOW);
        assert_eq!(decision.action, Action::Step(hour + 400_000));
        // It was set; the next one is doubted again.
        assert_eq!(discipline.on_round(&round(&[-hour]), NOW).action, Action::Doubt(-hour));
        assert_eq!(discipline.on_round(&round(&[0]), NOW).action, Action::Leave);
        assert_eq!(discipline.on_round(&round(&[-hour]), NOW).action, Action::Doubt(-hour));
    }

    #[test]
    fn servers_that_change_their_mind_are_not_asked_all_the_time() {
        let mut discipline = knowing();
        let mut waits = Vec::new();
        for hours in 1..5 {
            let decision = discipline.on_round(&round(&[hours * 3_600_000_000]), NOW);
            assert!(matches!(decision.action, Action::Doubt(_)));
            waits.push(decision.wait);
        }
        assert_eq!(waits, [CONFIRM, INTERVAL, CONFIRM, INTERVAL]);
        // No answer confirms nothing.
        discipline.on_round(&round(&[7_200_000_000]), NOW);
        discipline.on_round(&Round::default(), NOW);
        let decision = discipline.on_round(&round(&[7_200_000_000]), NOW);
        assert!(matches!(decision.action, Action::Doubt(_)));
    }

    #[test]
    fn one_liar_among_three_is_outvoted() {
        let hour = 3_600_000_000;
        let action = |offsets: &[i64]| Discipline::default().on_round(&round(offsets), NOW).action;
        assert_eq!(action(&[hour, 30_000, 31_000]), Action::Slew(31_000));
        assert_eq!(action(&[-hour, 30_000, 31_000]), Action::Slew(30_000));
        assert_eq!(action(&[hour, 0, 1_000, -hour]), Action::Leave);
        let quick = Sample { offset_us: 40_000, round_trip_us: 1_000 };
        let two = Round { samples: vec![sample(hour), quick], refused: false };
        assert_eq!(Discipline::default().on_round(&two, NOW).action, Action::Slew(40_000));
    }

    #[test]
    fn times_that_cannot_be_are_not_answers() {
        let century = 100 * 365 * 86_400 * 1_000_000;
        for offset in [century, -century, i64::MIN, i64::MAX] {
            let decision = Discipline::default().on_round(&round(&[offset]), NOW);
            assert_eq!(decision.action, Action::Unknown, "{offset}");
        }
        let action = Discipline::default().on_round(&round(&[century, 0]), NOW).action;
        assert_eq!(action, Action::Leave);
    }

    #[test]
    fn without_internet_it_is_asked_less_and_less_often() {
        let mut discipline = Discipline::default();
        let mut wait = || discipline.on_round(&Round::default(), NOW).wait.as_secs();
        let waits: Vec<u64> = (0..9).map(|_| wait()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(knowing().on_round(&Round::default(), NOW).wait, INTERVAL);
        let refused = Round { samples: Vec::new(), refused: true };
        assert_eq!(Discipline::default().on_round(&refused, NOW).wait, INTERVAL);
    }

    /// A clock that runs too fast by so many millionths, and what NTP makes of it in a day.
    #[test]
    fn a_bad_crystal_stays_within_a_tenth_of_a_second() {
        for drift_ppm in [-80_i64, 0, 80] {
            let (mut true_us, mut error_us, mut slew_us) = (NOW, -3_600_000_000_i64, 0_i64);
            let mut discipline = Discipline::default();
            let (mut steps, mut worst_us) = (0, 0);
            while true_us < NOW + 86_400_000_000 {
                let own_us = true_us.saturating_add_signed(error_us);
                let decision = discipline.on_round(&round(&[-error_us]), own_us);
                match decision.action {
                    Action::Step(offset) => {
                        (error_us, slew_us) = (error_us + offset, 0);
                        steps += 1;
                    }
                    Action::Slew(offset) => slew_us = offset,
                    Action::Leave | Action::Unknown | Action::Doubt(_) => {}
                }
                let seconds = i64::try_from(decision.wait.as_secs()).unwrap();
                true_us += decision.wait.as_secs() * 1_000_000;
                // As the kernel does it: at most 500 millionths.
                let slewed = slew_us.clamp(-500 * seconds, 500 * seconds);
                slew_us -= slewed;
                error_us += slewed + drift_ppm * seconds;
                worst_us = worst_us.max(error_us.abs());
            }
            assert_eq!(steps, 1, "{drift_ppm} ppm");
            assert!(worst_us < 110_000, "{drift_ppm} ppm: {worst_us} us");
        }
    }
}
