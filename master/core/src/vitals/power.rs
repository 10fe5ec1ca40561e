//! What is wrong with a board's power, without its flicker.
//!
//! A weak supply dips for moments, again and again; a condition that followed every dip would
//! write and warn all day.

use bramble_shared::heartbeat::Power;
use embassy_time::{Duration, Instant};

/// How long a fault is told after it was last seen.
pub const POWER_HOLD: Duration = Duration::from_secs(300);

/// What is wrong with a board's power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerState {
    /// The supply gives too little voltage.
    pub under_voltage: bool,
    /// The processor runs slower than it could: too little voltage, or too hot.
    pub throttled: bool,
}

/// Holds what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PowerHold {
    state: Option<PowerState>,
    under_voltage_seen: Option<Instant>,
    throttled_seen: Option<Instant>,
}

impl PowerHold {
    /// Takes in what a heartbeat says; true if the state has changed.
    pub(super) fn add(&mut self, power: Option<Power>, now: Instant) -> bool {
        let next = power.map(|power| {
            let slow = Power::CAPPED.with(Power::THROTTLED).with(Power::HOT);
            PowerState {
                under_voltage: hold(
                    power.any(Power::UNDER_VOLTAGE),
                    &mut self.under_voltage_seen,
                    now,
                ),
                throttled: hold(power.any(slow), &mut self.throttled_seen, now),
            }
        });
        let changed = next != self.state;
        self.state = next;
        changed
    }

    /// What was wrong just now; none if the board cannot tell.
    pub(super) const fn state(&self) -> Option<PowerState> {
        self.state
    }
}

/// Whether something holds now or did a moment ago.
fn hold(holds: bool, seen: &mut Option<Instant>, now: Instant) -> bool {
    if holds {
        *seen = Some(now);
    }
    seen.is_some_and(|seen| now < seen + POWER_HOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn a_dip_is_told_at_once_and_taken_back_after_a_while() {
        let mut hold = PowerHold::default();
        let fine = Some(Power::default());
        assert!(!hold.add(None, at(0)));
        assert!(hold.add(fine, at(1)));
        assert_eq!(hold.state(), Some(PowerState::default()));
        assert!(hold.add(Some(Power::UNDER_VOLTAGE.with(Power::CAPPED)), at(2)));
        assert_eq!(hold.state(), Some(PowerState { under_voltage: true, throttled: true }));
        assert!(!hold.add(fine, at(3)));
        // A second dip within that time changes nothing but its end.
        assert!(!hold.add(Some(Power::UNDER_VOLTAGE), at(200)));
        assert!(hold.add(fine, at(302)));
        assert_eq!(hold.state(), Some(PowerState { under_voltage: true, throttled: false }));
        assert!(!hold.add(fine, at(499)));
        assert!(hold.add(fine, at(500)));
        assert_eq!(hold.state(), Some(PowerState::default()));
    }

    #[test]
    fn heat_slows_down_too() {
        let mut hold = PowerHold::default();
        hold.add(Some(Power::HOT), at(1));
        assert_eq!(hold.state(), Some(PowerState { under_voltage: false, throttled: true }));
        assert!(hold.add(None, at(2)));
        assert_eq!(hold.state(), None);
    }
}
