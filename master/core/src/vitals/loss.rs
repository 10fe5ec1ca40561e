//! Lost heartbeats of about the last minute, counted from the gaps in their numbers.

use bramble_shared::limits::HEARTBEAT_INTERVAL_MS;
use embassy_time::{Duration, Instant};

/// Length of the window; the oldest part of it is forgotten at once.
pub const LOSS_WINDOW: Duration = Duration::from_secs(60);
/// Parts of the window that are forgotten together.
const PARTS: u64 = 12;
const PART_MS: u64 = LOSS_WINDOW.as_millis() / PARTS;
/// Heartbeats of one window: more than these cannot have been lost in it.
const SENT_MAX: u64 = LOSS_WINDOW.as_millis() / HEARTBEAT_INTERVAL_MS;

/// What was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Heartbeats that did not arrive.
    pub lost: u32,
    /// Heartbeats that were sent; 0 if none is known.
    pub sent: u32,
}

/// Counts by time.
#[derive(Clone, Debug, Default)]
pub(super) struct LossWindow {
    parts: [Part; 12],
    /// The newest heartbeat and when it came; none after another start of the agent.
    newest: Option<(u64, Instant)>,
}

const _: () = assert!(PARTS == 12, "the ring's length is written out above");

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Which part of time it is, since the clock's start.
    number: u64,
    sent: u32,
    received: u32,
}

impl LossWindow {
    /// The numbers begin anew.
    pub(super) const fn restart(&mut self) {
        self.newest = None;
    }

    /// Counts a heartbeat. None may be counted twice.
    pub(super) fn add(&mut self, sequence: u64, now: Instant) {
        let gap = match self.newest {
            None => 1,
            Some((newest, _)) => sequence.saturating_sub(newest),
        };
        if let Some((_, then)) = self.newest
            && gap > 1
        {
            // They were sent evenly since then; the latest count first, and only as many as the
            // window has.
            let micros = now.saturating_duration_since(then).as_micros();
            for back in 1..gap.min(SENT_MAX) {
                let ago = micros.saturating_mul(back) / gap;
                let at = now.as_micros().saturating_sub(ago);
                self.count(Instant::from_micros(at), 1, 0);
            }
        }
        if gap > 0 {
            self.newest = Some((sequence, now));
        }
        self.count(now, u32::from(gap > 0), 1);
    }

    /// What was lost until now.
    pub(super) fn loss(&self, now: Instant) -> Loss {
        let newest = now.as_millis() / PART_MS;
        let counts = |part: &&Part| part.number <= newest && part.number + PARTS > newest;
        let (sent, received) =
            self.parts.iter().filter(counts).fold((0, 0), |(sent, received), part| {
                (sent + part.sent, received + part.received)
            });
        // One that was overtaken may arrive in a later part than it was missed in.
        Loss { lost: sent.saturating_sub(received), sent }
    }

    fn count(&mut self, at: Instant, sent: u32, received: u32) {
        let number = at.as_millis() / PART_MS;
        let place = usize::try_from(number % PARTS).unwrap_or_default();
        let Some(part) = self.parts.get_mut(place) else { return };
        if part.number > number {
            // Longer ago than the window.
            return;
        }
        if part.number < number {
            *part = Part { number, ..Part::default() };
        }
        part.sent += sent;
        part.received += received;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Heartbeats `from..=to`, ten a second, of which those arrive that `arrives` names.
    fn run(window: &mut LossWindow, from: u64, to: u64, arrives: impl Fn(u64) -> bool) {
        for sequence in (from..=to).filter(|sequence| arrives(*sequence)) {
            window.add(sequence, at(sequence * 100));
        }
    }

    #[test]
    fn nothing_is_lost_where_everything_arrives() {
        let mut window = LossWindow::default();
        assert_eq!(window.loss(at(0)), Loss { lost: 0, sent: 0 });
        run(&mut window, 1, 30, |_| true);
        assert_eq!(window.loss(at(3_000)), Loss { lost: 0, sent: 30 });
        // A master that starts later than the agents misses nothing by that.
        let mut late = LossWindow::default();
        run(&mut late, 5_000, 5_009, |_| true);
        assert_eq!(late.loss(at(501_000)), Loss { lost: 0, sent: 10 });
    }

    #[test]
    fn every_tenth_is_missed() {
        let mut window = LossWindow::default();
        run(&mut window, 1, 2_000, |sequence| !sequence.is_multiple_of(10));
        let Loss { lost, sent } = window.loss(at(200_000));
        assert!((550..=600).contains(&sent), "{sent}");
        assert!((55..=60).contains(&lost), "{lost}");
    }

    #[test]
    fn a_heartbeat_that_was_overtaken_is_not_lost() {
        let mut window = LossWindow::default();
        for sequence in [1, 2, 4, 3, 5] {
            window.add(sequence, at(4_999));
        }
        assert_eq!(window.loss(at(5_000)), Loss { lost: 0, sent: 5 });
    }

    #[test]
    fn a_stall_is_forgotten_a_minute_after_it() {
        let mut window = LossWindow::default();
        run(&mut window, 1, 1_200, |sequence| !(400..500).contains(&sequence));
        assert_eq!(window.loss(at(120_000)).lost, 0);
        let mut window = LossWindow::default();
        run(&mut window, 1, 800, |sequence| !(400..500).contains(&sequence));
        assert_eq!(window.loss(at(80_000)).lost, 100);
        assert_eq!(window.loss(at(140_001)), Loss::default());
    }

    #[test]
    fn a_long_absence_counts_only_as_far_as_the_window_goes() {
        let mut window = LossWindow::default();
        // 100 minutes, and half a minute of presence.
        run(&mut window, 1, 60_300, |sequence| !(100..60_000).contains(&sequence));
        let Loss { lost, sent } = window.loss(at(6_030_000));
        assert!((250..=300).contains(&lost), "{lost}");
        assert!((550..=600).contains(&sent), "{sent}");
    }

    #[test]
    fn another_start_misses_nothing() {
        let mut window = LossWindow::default();
        window.add(500, at(0));
        window.restart();
        window.add(1, at(100));
        window.add(3, at(300));
        assert_eq!(window.loss(at(300)), Loss { lost: 1, sent: 4 });
    }

    #[test]
    fn absurd_numbers_cost_no_time() {
        let mut window = LossWindow::default();
        window.add(1, at(1));
        window.add(u64::MAX, at(2));
        assert!(u64::from(window.loss(at(2)).sent) <= SENT_MAX + 1);
    }
}
