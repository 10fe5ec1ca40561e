//! What to do with what NTP servers say: pure, with answers and the time as arguments.
//!
//! A server may lie, by accident or on purpose. What is never believed: a time before the floor,
//! the latest moment that is known to have passed. What has to be said again: a leap of the clock
//! once it was right, and a leap far ahead in any case. What is not decided: two servers that
//! contradict each other.

use std::ops::Range;
use std::time::Duration;

/// Difference up to which a clock is right, in microseconds.
const LEFT_US: u64 = 20_000;
/// Difference beyond which a clock is set instead of slewed, in microseconds.
const STEP_US: u64 = 500_000;
/// Difference that is asked about again once the clock was right, in microseconds.
const DOUBT_US: u64 = 2_000_000;
/// Two differences are the same if they are no further apart, in microseconds.
const SAME_US: u64 = 500_000;
/// How far ahead the first answer may be without being said again, in microseconds: a year. A card
/// lies in a drawer for months; a server that is a year ahead of its system's build is more likely
/// to be wrong.
const FAR_US: u64 = 365 * 86_400 * 1_000_000;
/// Servers that say the same, from which on a leap far ahead needs no more than one repetition.
const SERVERS_SURE: usize = 3;
/// Repetitions of a leap far ahead that fewer servers say: with `RECHECK` between them, more than
/// five minutes.
const FAR_REPETITIONS: u32 = 7;
/// Wait between two rounds, a little more than 17 minutes: what a slew of 0.5 s takes.
const INTERVAL: Duration = Duration::from_secs(1_024);
/// Wait before a difference is asked about again.
const CONFIRM: Duration = Duration::from_secs(4);
/// Wait while answers are not believed, so that the right time is taken within a minute of being
/// told, however much is added to it so that boards do not ask together.
const RECHECK: Duration = Duration::from_secs(45);
/// Rounds that follow each other quickly after a leap that few servers have told: ten minutes in
/// which it is noticed soon that they have changed their mind.
const PROBATION_ROUNDS: u32 = 13;
/// Waits after a round without an answer, before there was any: from this one,
const RETRY_MIN: Duration = Duration::from_secs(1);
/// twice as long each time, up to this one.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// Last moment that an answer can say, in microseconds since 1970: the year 2100. A server that says
/// a later one is broken.
const LATEST_US: u64 = 4_102_444_800_000_000;

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
    /// All that was told is a time that has passed already, or one that cannot be.
    Impossible,
    /// The servers contradict each other: this is the difference between the two that are furthest
    /// apart.
    Contradiction(u64),
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
    doubt: Option<Doubt>,
    /// Rounds that still follow each other quickly.
    probation: u32,
    /// Rounds without an answer, before there was any.
    failures: u32,
}

/// A difference that is to be said again.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    offset_us: i64,
    /// How often it was said again.
    repetitions: u32,
}

/// The answer that counts, and how many servers give it.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    sample: Sample,
    servers: usize,
}

/// What a round says as a whole.
enum Verdict {
    Nothing,
    Impossible,
    Contradiction(u64),
    Answer(Chosen),
}

impl Discipline {
    /// Deals with a round; `now_us` is what our clock says, and no moment before `floor_us` can be
    /// now. Both in microseconds since 1970.
    pub(super) fn on_round(&mut self, round: &Round, now_us: u64, floor_us: u64) -> Decision {
        let chosen = match verdict(&round.samples, now_us, floor_us..LATEST_US) {
            Verdict::Answer(chosen) => chosen,
            Verdict::Nothing => {
                return Decision {
                    action: Action::Unknown,
                    wait: self.wait_in_vain(round.refused),
                };
            }
            Verdict::Impossible => return self.not_believed(Action::Impossible, round.refused),
            Verdict::Contradiction(apart_us) => {
                return self.not_believed(Action::Contradiction(apart_us), round.refused);
            }
        };
        let offset = chosen.sample.offset_us;
        let far = offset.unsigned_abs();
        let needed = self.repetitions_needed(chosen, now_us, floor_us);
        let doubt = self.doubt.take();
        let said_before = doubt.filter(|doubt| doubt.offset_us.abs_diff(offset) <= SAME_US);
        let repetitions = said_before.map_or(0, |doubt| doubt.repetitions + 1);
        if repetitions < needed {
            // Servers that say something else each time are not asked every few seconds.
            let changed = doubt.is_some() && said_before.is_none();
            let offset_us = said_before.map_or(offset, |doubt| doubt.offset_us);
            self.doubt = Some(Doubt { offset_us, repetitions });
            let wait = if changed || needed > 1 { RECHECK } else { CONFIRM };
            return Decision { action: Action::Doubt(offset), wait };
        }
        self.known = true;
        // A way that is longer in one direction looks like a difference of half the round trip.
        let action = if far <= LEFT_US.max(chosen.sample.round_trip_us / 2) {
            Action::Leave
        } else if far <= STEP_US {
            Action::Slew(offset)
        } else {
            Action::Step(offset)
        };
        if far >= DOUBT_US && chosen.servers < SERVERS_SURE {
            self.probation = PROBATION_ROUNDS;
        }
        let quick = self.probation > 0 && !round.refused;
        self.probation = self.probation.saturating_sub(1);
        Decision { action, wait: if quick { RECHECK } else { INTERVAL } }
    }

    /// How often a difference has to be said again before it is believed.
    fn repetitions_needed(&self, chosen: Chosen, now_us: u64, floor_us: u64) -> u32 {
        let ahead_us = now_us
            .checked_add_signed(chosen.sample.offset_us)
            .map_or(0, |told_us| told_us.saturating_sub(now_us.max(floor_us)));
        match ahead_us {
            FAR_US.. if chosen.servers < SERVERS_SURE => FAR_REPETITIONS,
            FAR_US.. => 1,
            _ if self.known && chosen.sample.offset_us.unsigned_abs() >= DOUBT_US => 1,
            _ => 0,
        }
    }

    fn not_believed(&mut self, action: Action, refused: bool) -> Decision {
        self.doubt = None;
        Decision { action, wait: if refused { INTERVAL } else { RECHECK } }
    }

    fn wait_in_vain(&mut self, refused: bool) -> Duration {
        self.doubt = None;
        if self.known || refused {
            return INTERVAL;
        }
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        wait.min(RETRY_MAX)
    }
}

/// The answer that most of those who were asked stand behind: the median of three and more, of two
/// that say the same the one that took less long. Our own clock has a voice, too: one that has been
/// set before, or has a battery, is not near a server's by chance.
fn verdict(samples: &[Sample], now_us: u64, possible_us: Range<u64>) -> Verdict {
    if samples.is_empty() {
        return Verdict::Nothing;
    }
    let possible = |sample: &&Sample| {
        now_us
            .checked_add_signed(sample.offset_us)
            .is_some_and(|moment| possible_us.contains(&moment))
    };
    let mut samples: Vec<Sample> = samples.iter().filter(possible).copied().collect();
    samples.sort_by_key(|sample| sample.offset_us);
    let (Some(first), Some(last)) = (samples.first().copied(), samples.last().copied()) else {
        return Verdict::Impossible;
    };
    let same = |a: &Sample, b: &Sample| a.offset_us.abs_diff(b.offset_us) <= SAME_US;
    let servers = |of: &Sample| samples.iter().filter(|other| same(of, other)).count();
    let ours = |of: &Sample| usize::from(of.offset_us.unsigned_abs() < DOUBT_US);
    let chosen = match samples.len() {
        1 => Some(first),
        2 if same(&first, &last) => {
            samples.iter().min_by_key(|sample| sample.round_trip_us).copied()
        }
        2 => samples.iter().find(|sample| ours(sample) == 1).copied(),
        count => samples
            .get((count - 1) / 2)
            .filter(|median| 2 * (servers(median) + ours(median)) > count)
            .copied(),
    };
    match chosen {
        Some(sample) => Verdict::Answer(Chosen { servers: servers(&sample), sample }),
        None => Verdict::Contradiction(first.offset_us.abs_diff(last.offset_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;
    /// A month before.
    const FLOOR: u64 = NOW - 30 * 86_400 * 1_000_000;
    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;

    fn sample(offset_us: i64) -> Sample {
        Sample { offset_us, round_trip_us: 10_000 }
    }

    fn round(offsets_us: &[i64]) -> Round {
        Round { samples: offsets_us.iter().copied().map(sample).collect(), refused: false }
    }

    /// A discipline that knows the time.
    fn knowing() -> Discipline {
        let mut discipline = Discipline::default();
        assert_eq!(discipline.on_round(&round(&[0]), NOW, FLOOR).action, Action::Leave);
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
            let decision = knowing().on_round(&round(&[offset]), NOW, FLOOR);
            assert_eq!(decision, Decision { action, wait: INTERVAL });
        }
    }

    #[test]
    fn a_slow_way_makes_no_difference() {
        let slow = |offset_us| Round {
            samples: vec![Sample { offset_us, round_trip_us: 400_000 }],
            refused: false,
        };
        assert_eq!(knowing().on_round(&slow(200_000), NOW, FLOOR).action, Action::Leave);
        assert_eq!(knowing().on_round(&slow(200_001), NOW, FLOOR).action, Action::Slew(200_001));
    }

    #[test]
    fn the_first_answer_is_believed_if_it_is_not_far_ahead() {
        // A card that lay in a drawer for eleven months.
        let ahead = 330 * DAY;
        let decision = Discipline::default().on_round(&round(&[ahead]), NOW, FLOOR);
        assert_eq!(decision.action, Action::Step(ahead));
        // A clock that is behind the floor, as without a battery: the floor counts.
        let decision =
            Discipline::default().on_round(&round(&[i64::try_from(NOW).unwrap()]), 0, FLOOR);
        assert_eq!(decision.action, Action::Step(i64::try_from(NOW).unwrap()));
    }

    #[test]
    fn nothing_before_the_floor_is_an_answer() {
        let mut discipline = Discipline::default();
        let years = 2 * 365 * DAY;
        for _ in 0..100 {
            let decision = discipline.on_round(&round(&[-years]), NOW, FLOOR);
            assert_eq!(decision, Decision { action: Action::Impossible, wait: RECHECK });
        }
        // The right time is taken as soon as it is told, and a liar does not spoil it for others.
        let both = round(&[-years, 5 * HOUR]);
        assert_eq!(discipline.on_round(&both, NOW, FLOOR).action, Action::Step(5 * HOUR));
    }

    #[test]
    fn a_leap_far_ahead_takes_minutes_or_three_servers() {
        let far = 10 * 365 * DAY;
        let (mut discipline, mut waited) = (Discipline::default(), Duration::ZERO);
        loop {
            let decision = discipline.on_round(&round(&[far, far + 1_000]), NOW, FLOOR);
            waited += decision.wait;
            if matches!(decision.action, Action::Step(_)) {
                break;
            }
            assert!(matches!(decision.action, Action::Doubt(_)), "{decision:?}");
        }
        // The last wait follows the step.
        assert!(waited - RECHECK >= Duration::from_secs(300), "{waited:?}");
        let mut discipline = Discipline::default();
        let three = round(&[far, far + 1_000, far + 2_000]);
        assert_eq!(discipline.on_round(&three, NOW, FLOOR).action, Action::Doubt(far + 1_000));
        assert_eq!(discipline.on_round(&three, NOW, FLOOR).action, Action::Step(far + 1_000));
    }

    #[test]
    fn the_right_time_after_a_lie_is_taken_within_a_minute() {
        // Rounds until the clock stands right, and the longest wait among them.
        let check = |discipline: &mut Discipline, right: i64| {
            let mut waited = Duration::ZERO;
            loop {
                let decision = discipline.on_round(&round(&[right]), NOW, FLOOR);
                if matches!(decision.action, Action::Step(_)) {
                    return waited;
                }
                waited += decision.wait;
            }
        };
        // Doubted years, then the time of a board that was off for some days.
        let mut discipline = Discipline::default();
        let lie = discipline.on_round(&round(&[10 * 365 * DAY]), NOW, FLOOR);
        assert!(lie.wait + check(&mut discipline, 3 * DAY) < Duration::from_secs(60));
        // Believed months: the way back is asked about once more.
        let mut discipline = Discipline::default();
        let lie = discipline.on_round(&round(&[100 * DAY]), NOW, FLOOR);
        assert_eq!(lie.action, Action::Step(100 * DAY));
        assert!(
            lie.wait + check(&mut discipline, -100 * DAY + 112 * DAY) < Duration::from_secs(60)
        );
    }

    #[test]
    fn after_a_leap_few_servers_are_asked_often_for_ten_minutes() {
        let mut discipline = Discipline::default();
        let mut wait = |offsets: &[i64]| discipline.on_round(&round(offsets), NOW, FLOOR).wait;
        let mut quick = wait(&[DAY]);
        loop {
            match wait(&[0]) {
                INTERVAL => break,
                next => quick += next,
            }
        }
        assert!(quick >= Duration::from_secs(540), "{quick:?}");
        let mut discipline = Discipline::default();
        let sure = discipline.on_round(&round(&[DAY, DAY, DAY]), NOW, FLOOR);
        assert_eq!(sure, Decision { action: Action::Step(DAY), wait: INTERVAL });
    }

    #[test]
    fn servers_that_contradict_each_other_move_nothing() {
        let months = 60 * DAY;
        let decision = Discipline::default().on_round(&round(&[HOUR, months]), NOW, FLOOR);
        let apart = (months - HOUR).unsigned_abs();
        let expected = Decision { action: Action::Contradiction(apart), wait: RECHECK };
        assert_eq!(decision, expected);
        assert_eq!(
            knowing().on_round(&round(&[HOUR, months, 2 * months]), NOW, FLOOR).wait,
            RECHECK
        );
        // Our own clock knows who is right.
        let decision = knowing().on_round(&round(&[30_000, months]), NOW, FLOOR);
        assert_eq!(decision.action, Action::Slew(30_000));
    }

    #[test]
    fn a_leap_must_be_said_twice() {
        let mut discipline = knowing();
        let hour = 3_600_000_000;
        let decision = discipline.on_round(&round(&[hour]), NOW, FLOOR);
        assert_eq!(decision, Decision { action: Action::Doubt(hour), wait: CONFIRM });
        let decision = discipline.on_round(&round(&[hour + 400_000]), NOW, FLOOR);
        assert_eq!(decision.action, Action::Step(hour + 400_000));
        // It was set; the next one is doubted again.
        assert_eq!(discipline.on_round(&round(&[-hour]), NOW, FLOOR).action, Action::Doubt(-hour));
        assert_eq!(discipline.on_round(&round(&[0]), NOW, FLOOR).action, Action::Leave);
        assert_eq!(discipline.on_round(&round(&[-hour]), NOW, FLOOR).action, Action::Doubt(-hour));
    }

    #[test]
    fn servers_that_change_their_mind_are_not_asked_all_the_time() {
        let mut discipline = knowing();
        let mut waits = Vec::new();
        for hours in 1..5 {
            let decision = discipline.on_round(&round(&[hours * 3_600_000_000]), NOW, FLOOR);
            assert!(matches!(decision.action, Action::Doubt(_)));
            waits.push(decision.wait);
        }
        assert_eq!(waits, [CONFIRM, RECHECK, RECHECK, RECHECK]);
        // No answer confirms nothing.
        discipline.on_round(&round(&[7_200_000_000]), NOW, FLOOR);
        discipline.on_round(&Round::default(), NOW, FLOOR);
        let decision = discipline.on_round(&round(&[7_200_000_000]), NOW, FLOOR);
        assert!(matches!(decision.action, Action::Doubt(_)));
    }

    #[test]
    fn one_liar_among_three_is_outvoted() {
        let hour = 3_600_000_000;
        let action =
            |offsets: &[i64]| Discipline::default().on_round(&round(offsets), NOW, FLOOR).action;
        assert_eq!(action(&[hour, 30_000, 31_000]), Action::Slew(31_000));
        assert_eq!(action(&[-hour, 30_000, 31_000]), Action::Slew(30_000));
        assert_eq!(action(&[hour, 0, 1_000, -hour]), Action::Leave);
        let quick = Sample { offset_us: 40_000, round_trip_us: 1_000 };
        let two = Round { samples: vec![sample(hour), quick], refused: false };
        assert_eq!(Discipline::default().on_round(&two, NOW, FLOOR).action, Action::Slew(40_000));
    }

    #[test]
    fn times_that_cannot_be_are_not_answers() {
        let century = 100 * 365 * 86_400 * 1_000_000;
        for offset in [century, -century, i64::MIN, i64::MAX] {
            let decision = Discipline::default().on_round(&round(&[offset]), NOW, FLOOR);
            assert_eq!(decision.action, Action::Impossible, "{offset}");
        }
        let action = Discipline::default().on_round(&round(&[century, 0]), NOW, FLOOR).action;
        assert_eq!(action, Action::Leave);
    }

    #[test]
    fn without_internet_it_is_asked_less_and_less_often() {
        let mut discipline = Discipline::default();
        let mut wait = || discipline.on_round(&Round::default(), NOW, FLOOR).wait.as_secs();
        let waits: Vec<u64> = (0..9).map(|_| wait()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(knowing().on_round(&Round::default(), NOW, FLOOR).wait, INTERVAL);
        let refused = Round { samples: Vec::new(), refused: true };
        assert_eq!(Discipline::default().on_round(&refused, NOW, FLOOR).wait, INTERVAL);
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
                let decision = discipline.on_round(&round(&[-error_us]), own_us, FLOOR);
                match decision.action {
                    Action::Step(offset) => {
                        (error_us, slew_us) = (error_us + offset, 0);
                        steps += 1;
                    }
                    Action::Slew(offset) => slew_us = offset,
                    Action::Leave
                    | Action::Unknown
                    | Action::Impossible
                    | Action::Contradiction(_)
                    | Action::Doubt(_) => {}
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
