//! Whether one board, or more than one, speaks with a node's certificate.
//!
//! A boot that comes after the one before fell silent is a restart. One that comes while that is
//! still heard is a copy: a cloned card, or a stolen key. Which of the two is the right one nobody
//! but a person can tell, so neither is believed until an administrator has decided. Asking both
//! for more would not help: whoever has the key has all that the board has.
//!
//! ```text
//!            another boot speaks               the first is heard again
//!  Single ----------------------> Contested -----------------------------> Quarantined
//!    ^                                |                                         |
//!    +------ the first fell silent ---+                                         |
//!    +------------------------ an administrator decided ------------------------+
//! ```

use bramble_shared::ids::BootId;
use bramble_shared::limits::HEARTBEAT_INTERVAL_MS;
use embassy_time::{Duration, Instant};

/// Heartbeats of a boot that has just ended may still be on their way when the next one speaks: only
/// what arrives this much later proves that it goes on.
const IN_FLIGHT: Duration = Duration::from_millis(HEARTBEAT_INTERVAL_MS);

/// What is believed of a node's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// One boot speaks, or none.
    #[default]
    Single,
    /// Another boot has spoken while the first may still run: it has to wait.
    Contested {
        /// The other boot.
        boot: BootId,
        /// When it spoke first.
        since: Instant,
    },
    /// Two boots speak at once: neither is believed.
    Quarantined,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityEvent {
    /// A boot spoke that is not the one that is heard.
    OtherBoot {
        /// The boot.
        boot: BootId,
        /// When.
        at: Instant,
    },
    /// The boot that is heard sent a new heartbeat.
    Heard {
        /// When.
        at: Instant,
    },
    /// The boot that was heard fell silent.
    Silent,
    /// An administrator decided.
    Decided,
}

impl Identity {
    /// The next state.
    #[must_use]
    pub fn on_event(self, event: IdentityEvent) -> Self {
        use IdentityEvent::{Decided, Heard, OtherBoot, Silent};
        match (self, event) {
            (Self::Single, OtherBoot { boot, at }) => Self::Contested { boot, since: at },
            (Self::Contested { since, .. }, Heard { at }) if at >= since + IN_FLIGHT => {
                Self::Quarantined
            }
            // It waits from its first word on, however often it says it, and so does a third.
            (Self::Contested { .. }, OtherBoot { .. } | Heard { .. }) => self,
            (Self::Contested { .. }, Silent) => Self::Single,
            (Self::Single, Heard { .. } | Silent) => Self::Single,
            // Silence decides nothing: the board that is the copy may wait for a better moment.
            (Self::Quarantined, OtherBoot { .. } | Heard { .. } | Silent) => Self::Quarantined,
            (Self::Single | Self::Contested { .. } | Self::Quarantined, Decided) => Self::Single,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn state(identity: Identity) -> &'static str {
        match identity {
            Identity::Single => "Single",
            Identity::Contested { .. } => "Contested",
            Identity::Quarantined => "Quarantined",
        }
    }

    #[test]
    fn table_of_state_by_event() {
        let at = Instant::from_millis;
        let boot = BootId([2; 16]);
        let states = [
            Identity::Single,
            Identity::Contested { boot, since: at(1_000) },
            Identity::Quarantined,
        ];
        let events = [
            ("other boot", IdentityEvent::OtherBoot { boot, at: at(2_000) }),
            ("heard in flight", IdentityEvent::Heard { at: at(1_099) }),
            ("heard", IdentityEvent::Heard { at: at(1_100) }),
            ("silent", IdentityEvent::Silent),
            ("decided", IdentityEvent::Decided),
        ];
        let mut table = String::new();
        for from in states {
            for (name, event) in events {
                let to = state(from.on_event(event));
                writeln!(table, "{:<12} {name:<16} {to}", state(from)).unwrap();
            }
        }
        insta::assert_snapshot!(table, @"
        Single       other boot       Contested
        Single       heard in flight  Single
        Single       heard            Single
        Single       silent           Single
        Single       decided          Single
        Contested    other boot       Contested
        Contested    heard in flight  Contested
        Contested    heard            Quarantined
        Contested    silent           Single
        Contested    decided          Single
        Quarantined  other boot       Quarantined
        Quarantined  heard in flight  Quarantined
        Quarantined  heard            Quarantined
        Quarantined  silent           Quarantined
        Quarantined  decided          Single
        ");
    }

    #[test]
    fn a_boot_that_asks_again_and_again_does_not_put_the_proof_off() {
        let at = Instant::from_millis;
        let other = |ms| IdentityEvent::OtherBoot { boot: BootId([2; 16]), at: at(ms) };
        let asked = (0..10).fold(Identity::Single, |it, step| it.on_event(other(step * 50)));
        let heard = asked.on_event(IdentityEvent::Heard { at: at(120) });
        assert_eq!(heard, Identity::Quarantined);
    }
}
