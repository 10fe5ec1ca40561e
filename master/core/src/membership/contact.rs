//! One node's contact with the master.
//!
//! ```text
//!  Unknown --heartbeat--> Alive --suspected--> Suspect
//!     |                    ^  ^                 |   |
//!   died                   |  +---heartbeat-----+  died
//!     |                    |                        |
//!     +------> Dead -------+ <- (into Dead) --------+
//!               heartbeat: same boot and newer, or another boot
//! ```
//!
//! Whether two boots speak at once is [`super::Identity`]'s question.

use bramble_shared::ids::BootId;
use embassy_time::Instant;

/// What is believed of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Not heard of since the master started.
    Unknown {
        /// When it was added.
        since: Instant,
    },
    /// In contact.
    Alive {
        /// The boot that is heard.
        boot: BootId,
    },
    /// Silent for longer than usual; treated as in contact.
    Suspect {
        /// The boot that was heard.
        boot: BootId,
    },
    /// Unreachable.
    Dead {
        /// The boot that was heard, if any was.
        boot: Option<BootId>,
    },
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactEvent {
    /// A heartbeat that is no repetition.
    Heartbeat {
        /// The boot that sent it.
        boot: BootId,
    },
    /// The detector suspects.
    Suspected,
    /// The detector is certain, or the node was never heard of.
    Died,
    /// Whatever was heard counts no more: an administrator ended it, or nobody knows who it was.
    Disowned,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Heard of for the first time.
    Joined,
    /// Silent for longer than usual.
    Suspected,
    /// The suspicion was wrong.
    Cleared,
    /// No evidence of life: its endpoints leave, its pods may be replaced.
    Unreachable,
    /// Dead, and refuted by the same boot: whatever ran there may still run.
    Returned,
    /// Another boot after the old one fell silent: nothing of the old boot runs any more.
    NewBoot,
    /// Another boot while the old one is not known to be silent. It is not believed.
    BootConflict,
    /// Two boots at once: a cloned card. Neither is believed any more.
    Quarantined,
}

impl Contact {
    /// The boot that is or was heard.
    #[must_use]
    pub const fn boot(&self) -> Option<BootId> {
        match self {
            Self::Unknown { .. } => None,
            Self::Alive { boot } | Self::Suspect { boot } => Some(*boot),
            Self::Dead { boot } => *boot,
        }
    }

    /// Whether another boot would be believed.
    #[must_use]
    pub const fn accepts_new_boot(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Dead { .. })
    }

    /// The next state, and what follows.
    #[must_use]
    pub fn on_event(self, event: ContactEvent) -> (Self, Option<Verdict>) {
        use ContactEvent::{Died, Disowned, Heartbeat, Suspected};
        match (self, event) {
            (Self::Unknown { .. } | Self::Dead { boot: None }, Heartbeat { boot }) => {
                (Self::Alive { boot }, Some(Verdict::Joined))
            }
            (Self::Alive { boot }, Heartbeat { boot: sender }) => {
                // The old boot is heard, so the other one cannot be its successor.
                (self, (boot != sender).then_some(Verdict::BootConflict))
            }
            (Self::Suspect { boot }, Heartbeat { boot: sender }) if boot == sender => {
                (Self::Alive { boot }, Some(Verdict::Cleared))
            }
            // A suspicion is no proof that the old boot is gone.
            (Self::Suspect { .. }, Heartbeat { .. }) => (self, Some(Verdict::BootConflict)),
            (Self::Dead { boot: Some(boot) }, Heartbeat { boot: sender }) => {
                let verdict = if boot == sender { Verdict::Returned } else { Verdict::NewBoot };
                (Self::Alive { boot: sender }, Some(verdict))
            }
            (Self::Alive { boot }, Suspected) => (Self::Suspect { boot }, Some(Verdict::Suspected)),
            // A detector that was not asked for long may be certain without having suspected.
            (Self::Alive { boot } | Self::Suspect { boot }, Died) => {
                (Self::Dead { boot: Some(boot) }, Some(Verdict::Unreachable))
            }
            (Self::Unknown { .. }, Died)
            | (Self::Unknown { .. } | Self::Alive { .. } | Self::Suspect { .. }, Disowned) => {
                (Self::Dead { boot: None }, Some(Verdict::Unreachable))
            }
            // The boot that comes next proves nothing about one that is not known any more.
            (Self::Dead { .. }, Disowned) => (Self::Dead { boot: None }, None),
            // Late or repeated: what is believed already is not announced again.
            (Self::Unknown { .. } | Self::Suspect { .. } | Self::Dead { .. }, Suspected)
            | (Self::Dead { .. }, Died) => (self, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    const BOOT: BootId = BootId([1; 16]);
    const NEXT: BootId = BootId([2; 16]);

    fn state(contact: Contact) -> String {
        let boot = contact.boot().map_or("", |boot| if boot == BOOT { " old" } else { " new" });
        let name = match contact {
            Contact::Unknown { .. } => "Unknown",
            Contact::Alive { .. } => "Alive",
            Contact::Suspect { .. } => "Suspect",
            Contact::Dead { .. } => "Dead",
        };
        format!("{name}{boot}")
    }

    #[test]
    fn table_of_state_by_event() {
        let states = [
            Contact::Unknown { since: Instant::from_millis(0) },
            Contact::Alive { boot: BOOT },
            Contact::Suspect { boot: BOOT },
            Contact::Dead { boot: Some(BOOT) },
            Contact::Dead { boot: None },
        ];
        let events = [
            ("heartbeat old", ContactEvent::Heartbeat { boot: BOOT }),
            ("heartbeat new", ContactEvent::Heartbeat { boot: NEXT }),
            ("suspected", ContactEvent::Suspected),
            ("died", ContactEvent::Died),
            ("disowned", ContactEvent::Disowned),
        ];
        let mut table = String::new();
        for from in states {
            for (name, event) in events {
                let (to, verdict) = from.on_event(event);
                let verdict = verdict.map_or_else(|| "-".to_owned(), |it| format!("{it:?}"));
                let (from, to) = (state(from), state(to));
                writeln!(table, "{from:<12} {name:<14} {to:<12} {verdict}").unwrap();
            }
        }
        insta::assert_snapshot!(table, @"
        Unknown      heartbeat old  Alive old    Joined
        Unknown      heartbeat new  Alive new    Joined
        Unknown      suspected      Unknown      -
        Unknown      died           Dead         Unreachable
        Unknown      disowned       Dead         Unreachable
        Alive old    heartbeat old  Alive old    -
        Alive old    heartbeat new  Alive old    BootConflict
        Alive old    suspected      Suspect old  Suspected
        Alive old    died           Dead old     Unreachable
        Alive old    disowned       Dead         Unreachable
        Suspect old  heartbeat old  Alive old    Cleared
        Suspect old  heartbeat new  Suspect old  BootConflict
        Suspect old  suspected      Suspect old  -
        Suspect old  died           Dead old     Unreachable
        Suspect old  disowned       Dead         Unreachable
        Dead old     heartbeat old  Alive old    Returned
        Dead old     heartbeat new  Alive new    NewBoot
        Dead old     suspected      Dead old     -
        Dead old     died           Dead old     -
        Dead old     disowned       Dead         -
        Dead         heartbeat old  Alive old    Joined
        Dead         heartbeat new  Alive new    Joined
        Dead         suspected      Dead         -
        Dead         died           Dead         -
        Dead         disowned       Dead         -
        ");
    }
}
