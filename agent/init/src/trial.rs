//! Whether a new system is kept.
//!
//! Pure: what is on the card and the time since power-on are arguments.
//!
//! ```text
//!  booted from | record says          | it is
//!  ------------+----------------------+--------------------------------------------------
//!  not normal  | Trying, this slot    | a trial: kept once Ready, else the old one at 120 s
//!  not normal  | anything else        | somebody else's trial: never kept, ends at 120 s
//!  normal      | Trying, this slot    | kept; the power went between the two writes
//!  normal      | Trying, other slot   | rolled back
//!  normal      | anything else        | an ordinary boot
//! ```

use bramble_card::autoboot::Autoboot;
use bramble_card::layout::Slot;
use bramble_card::upgrade::{UpgradeRecord, UpgradeState};

/// How long a trial may take to become Ready, in milliseconds since power-on.
pub(crate) const DEADLINE_MS: u64 = 120_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Has the firmware start this slot from now on; before the record says so.
    StartAlways(Slot),
    /// Keeps this record durably.
    Record(UpgradeRecord),
    /// Starts the board again, from the slot that it normally starts.
    Reboot,
    /// Starts the board again, from the other slot, once.
    RebootToTry,
    /// Tells a person.
    Say(String),
}

/// The boot that is running, as far as upgrades go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    booted: Slot,
    record: Option<UpgradeRecord>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ordinary,
    /// Ends by [`Trial::on_time`].
    Trying,
    /// Nothing more is decided in this boot.
    Ended,
}

impl Trial {
    /// Looks at what is on the card when the board starts. `normal`: the slot that the firmware
    /// starts at power-on, `None` if that cannot be read.
    pub(crate) fn at_boot(
        booted: Slot,
        normal: Option<Slot>,
        record: Option<UpgradeRecord>,
    ) -> (Self, Vec<Action>) {
        // Without the firmware's word nothing may be decided on it.
        let normal = normal.unwrap_or(booted);
        if normal != booted {
            let trial = Self { booted, record, state: State::Trying };
            return (trial, vec![Action::Say(format!("trial of slot {booted}"))]);
        }
        let mut actions = Vec::new();
        let record = record.map(|record| match record.state {
            UpgradeState::Trying if record.slot == booted => {
                let record = UpgradeRecord { state: UpgradeState::Kept, ..record };
                actions.push(Action::Record(record.clone()));
                record
            }
            UpgradeState::Trying => {
                let reason = Some(record.reason.clone()).filter(|reason| !reason.is_empty());
                let reason = reason.unwrap_or_else(|| UNSAID.to_owned());
                actions.push(Action::Say(format!("upgrade rolled back: {reason}")));
                let record = UpgradeRecord { state: UpgradeState::RolledBack, reason, ..record };
                actions.push(Action::Record(record.clone()));
                record
            }
            UpgradeState::Written | UpgradeState::Kept | UpgradeState::RolledBack => record,
        });
        (Self { booted, record, state: State::Ordinary }, actions)
    }

    /// Whether this boot tries a system and it is not decided yet.
    pub(crate) fn trying(&self) -> bool {
        self.state == State::Trying
    }

    /// The record as it is now.
    pub(crate) fn record(&self) -> Option<&UpgradeRecord> {
        self.record.as_ref()
    }

    /// Judges a trial. `ready`: the master has taken this boot's node.
    pub(crate) fn on_time(&mut self, since_power_on_ms: u64, ready: bool) -> Vec<Action> {
        if self.state != State::Trying {
            return Vec::new();
        }
        let own = |record: &&mut UpgradeRecord| {
            record.state == UpgradeState::Trying && record.slot == self.booted
        };
        if ready {
            self.state = State::Ended;
            let Some(record) = self.record.as_mut().filter(own) else {
                return vec![Action::Say("Ready, but nobody asked for this trial".to_owned())];
            };
            record.state = UpgradeState::Kept;
            return vec![
                Action::StartAlways(self.booted),
                Action::Record(record.clone()),
                Action::Say(format!("slot {} is kept", self.booted)),
            ];
        }
        if since_power_on_ms < DEADLINE_MS {
            return Vec::new();
        }
        self.state = State::Ended;
        let reason = format!("not Ready within {} s", DEADLINE_MS / 1000);
        let mut actions = vec![Action::Say(format!("trial of slot {}: {reason}", self.booted))];
        if let Some(record) = self.record.as_mut().filter(own) {
            record.reason = reason;
            actions.push(Action::Record(record.clone()));
        }
        actions.push(Action::Reboot);
        actions
    }

    /// Prepares the reboot that tries what was written, or an ordinary one if there is nothing to
    /// try. `record`: as it is on the card now, since the agent has written it.
    pub(crate) fn asked_to_try(&self, record: Option<UpgradeRecord>) -> Vec<Action> {
        let fit = |record: &UpgradeRecord| {
            record.slot != self.booted && record.state == UpgradeState::Written
        };
        match record.filter(fit) {
            Some(record) if !self.trying() => {
                let record =
                    UpgradeRecord { state: UpgradeState::Trying, reason: String::new(), ..record };
                vec![Action::Record(record), Action::RebootToTry]
            }
            Some(_) | None => vec![
                Action::Say("there is no new system to try: ordinary reboot".to_owned()),
                Action::Reboot,
            ],
        }
    }
}

/// Reason of a roll-back that nobody could write down.
const UNSAID: &str = "the board started again before it was Ready";

/// The slot that the firmware starts at power-on, from the text of its file.
pub(crate) fn normal_slot(autoboot: &str) -> Option<Slot> {
    Autoboot::parse(autoboot).ok().map(|autoboot| autoboot.normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(slot: Slot, state: UpgradeState) -> UpgradeRecord {
        UpgradeRecord { slot, version: "2".to_owned(), state, reason: String::new() }
    }

    fn trying_b() -> (Trial, Vec<Action>) {
        let trying = record(Slot::B, UpgradeState::Trying);
        Trial::at_boot(Slot::B, Some(Slot::A), Some(trying))
    }

    #[test]
    fn a_trial_that_becomes_ready_is_kept_firmware_first() {
        let (mut trial, _) = trying_b();
        assert!(trial.trying());
        assert!(trial.on_time(DEADLINE_MS - 1, false).is_empty());
        let actions = trial.on_time(DEADLINE_MS - 1, true);
        let kept = record(Slot::B, UpgradeState::Kept);
        assert_eq!(actions[..2], [Action::StartAlways(Slot::B), Action::Record(kept)]);
        assert!(!trial.trying());
        assert!(trial.on_time(DEADLINE_MS + 1, false).is_empty());
    }

    #[test]
    fn a_trial_that_is_late_ends_with_a_reason_for_the_next_boot() {
        let (mut trial, _) = trying_b();
        let actions = trial.on_time(DEADLINE_MS, false);
        assert_eq!(actions.last(), Some(&Action::Reboot));
        let Some(Action::Record(left)) = actions.get(1) else { panic!("{actions:?}") };
        assert_eq!(left.state, UpgradeState::Trying);
        let (next, actions) = Trial::at_boot(Slot::A, Some(Slot::A), Some(left.clone()));
        assert!(!next.trying());
        let rolled_back = next.record().unwrap();
        assert_eq!(rolled_back.state, UpgradeState::RolledBack);
        assert_eq!(rolled_back.reason, "not Ready within 120 s");
        assert!(actions.contains(&Action::Record(rolled_back.clone())));
    }

    #[test]
    fn a_trial_that_fell_over_is_rolled_back() {
        let trying = record(Slot::B, UpgradeState::Trying);
        let (trial, _) = Trial::at_boot(Slot::A, Some(Slot::A), Some(trying));
        assert_eq!(trial.record().unwrap().state, UpgradeState::RolledBack);
        assert_eq!(trial.record().unwrap().reason, UNSAID);
    }

    #[test]
    fn power_that_goes_between_the_two_writes_does_not_undo_a_kept_system() {
        let trying = record(Slot::B, UpgradeState::Trying);
        let (trial, actions) = Trial::at_boot(Slot::B, Some(Slot::B), Some(trying));
        let kept = record(Slot::B, UpgradeState::Kept);
        assert_eq!(actions, [Action::Record(kept)]);
        assert!(!trial.trying());
    }

    #[test]
    fn ordinary_boots_change_nothing() {
        for state in [UpgradeState::Written, UpgradeState::Kept, UpgradeState::RolledBack] {
            for slot in [Slot::A, Slot::B] {
                let (mut trial, actions) =
                    Trial::at_boot(Slot::A, Some(Slot::A), Some(record(slot, state)));
                assert!(actions.is_empty(), "{state:?}");
                assert!(trial.on_time(DEADLINE_MS, false).is_empty());
            }
        }
        let (_, actions) = Trial::at_boot(Slot::A, None, None);
        assert!(actions.is_empty());
    }

    #[test]
    fn a_trial_that_nobody_recorded_is_never_kept() {
        for left in [None, Some(record(Slot::A, UpgradeState::Kept))] {
            let (mut trial, _) = Trial::at_boot(Slot::B, Some(Slot::A), left.clone());
            let (mut late, _) = Trial::at_boot(Slot::B, Some(Slot::A), left);
            let actions = trial.on_time(1, true);
            assert!(!actions.contains(&Action::StartAlways(Slot::B)), "{actions:?}");
            assert_eq!(late.on_time(DEADLINE_MS, false).last(), Some(&Action::Reboot));
        }
    }

    #[test]
    fn only_what_was_written_into_the_other_slot_is_tried() {
        let (trial, _) = Trial::at_boot(Slot::A, Some(Slot::A), None);
        let actions = trial.asked_to_try(Some(record(Slot::B, UpgradeState::Written)));
        let trying = record(Slot::B, UpgradeState::Trying);
        assert_eq!(actions, [Action::Record(trying), Action::RebootToTry]);
        for unfit in [
            None,
            Some(record(Slot::A, UpgradeState::Written)),
            Some(record(Slot::B, UpgradeState::RolledBack)),
        ] {
            assert_eq!(trial.asked_to_try(unfit).last(), Some(&Action::Reboot));
        }
    }
}
