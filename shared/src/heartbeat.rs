//! A heartbeat: the agent's sign of life, and what the rest of its node is doing.
//!
//! Most fields are of fixed width, so that a heartbeat is never shorter than the longest
//! acknowledgement: a reply must not be larger than its request.

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, Incarnation};
use crate::wire::{self, BODY_LEN_MAX, DecodeBodyError};

/// Longest body of a heartbeat, in bytes.
pub const HEARTBEAT_LEN_MAX: usize = 96;
const _: () = assert!(HEARTBEAT_LEN_MAX <= BODY_LEN_MAX, "a heartbeat must fit in a packet");

/// One heartbeat. Frozen: postcard is positional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of this heartbeat in its incarnation, from 1, whatever session carries it.
    #[serde(with = "postcard::fixint::le")]
    pub sequence: u64,
    /// The board's boot.
    pub boot_id: BootId,
    /// The agent's start on this board.
    #[serde(with = "incarnation")]
    pub incarnation: Incarnation,
    /// Microseconds since its board booted, on the agent's own clock, when it sent this; compared
    /// with no other clock.
    #[serde(with = "postcard::fixint::le")]
    pub sent_at: u64,
    /// Number of the newest acknowledgement in this session, 0 before the first.
    #[serde(with = "postcard::fixint::le")]
    pub last_ack: u64,
    /// What the node is doing.
    pub report: Report,
}

/// What a node is doing: a live heartbeat thread on a wedged node must not lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rounds of the pod manager's loop; standing still means that it hangs.
    #[serde(with = "postcard::fixint::le")]
    pub pod_manager_rounds: u32,
    /// Answers of the runtime process.
    #[serde(with = "postcard::fixint::le")]
    pub runtime_rounds: u32,
    /// Little memory left.
    pub memory_pressure: bool,
    /// Little room on the disk left.
    pub disk_pressure: bool,
    /// Few process ids left.
    pub pid_pressure: bool,
    /// What the board says of its power, where it can.
    pub power: Option<Power>,
    /// Temperature of the processor in degrees Celsius, where it can be read.
    pub temperature_celsius: Option<i8>,
    /// How late the last heartbeat was sent, in milliseconds.
    #[serde(with = "postcard::fixint::le")]
    pub timer_lag_ms: u16,
    /// Smoothed time from a heartbeat to its acknowledgement, in microseconds; none while the
    /// master does not answer.
    pub round_trip_us: Option<u32>,
    /// What is written to the board's card in a day, in KiB, as it went since the boot.
    pub card_kib_per_day: Option<u32>,
}

/// What a board says of its power: the flags that a Pi's firmware has for this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power(pub u8);

impl Power {
    /// The supply gives too little voltage.
    pub const UNDER_VOLTAGE: Self = Self(1);
    /// The processor may not run at its full frequency.
    pub const CAPPED: Self = Self(2);
    /// The processor is slowed down.
    pub const THROTTLED: Self = Self(4);
    /// It is so hot that the processor is slowed down a little.
    pub const HOT: Self = Self(8);

    /// Whether a flag of `flags` is set.
    #[must_use]
    pub const fn any(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// All flags of both.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl Heartbeat {
    /// Writes the body into `buffer` and returns the written part; none if it does not fit.
    /// [`HEARTBEAT_LEN_MAX`] bytes are always enough.
    pub fn encode<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        postcard::to_slice(self, buffer).ok().map(|written| &*written)
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// Bytes that are no heartbeat, or more than one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeBodyError> {
        wire::decode_body(body)
    }
}

/// [`Incarnation`] in fixed width.
mod incarnation {
    use serde::{Deserializer, Serializer};

    use crate::ids::Incarnation;

    pub(super) fn serialize<S: Serializer>(
        value: &Incarnation,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        postcard::fixint::le::serialize(&value.0, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Incarnation, D::Error> {
        postcard::fixint::le::deserialize(deserializer).map(Incarnation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ack::ACK_LEN_MAX;

    const HEARTBEAT: Heartbeat = Heartbeat {
        sequence: 0x0102,
        boot_id: BootId([0xb0; 16]),
        incarnation: Incarnation(3),
        sent_at: 0x0405,
        last_ack: 6,
        report: Report {
            pod_manager_rounds: 7,
            runtime_rounds: 8,
            memory_pressure: true,
            disk_pressure: false,
            pid_pressure: false,
            power: Some(Power::THROTTLED),
            temperature_celsius: Some(-1),
            timer_lag_ms: 9,
            round_trip_us: Some(400),
            card_kib_per_day: Some(10),
        },
    };

    #[test]
    fn heartbeat_bytes_are_frozen() {
        let mut buffer = [0; HEARTBEAT_LEN_MAX];
        let bytes = HEARTBEAT.encode(&mut buffer).unwrap();
        let mut expected = std::vec![2, 1, 0, 0, 0, 0, 0, 0];
        expected.extend([0xb0; 16]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 4, 0, 0, 0, 0, 0, 0]);
        expected.extend([6, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([7, 0, 0, 0, 8, 0, 0, 0]);
        expected.extend([1, 0, 0, 1, 4, 1, 0xff, 9, 0]);
        expected.extend([1, 0x90, 3, 1, 10]);
        assert_eq!(bytes, expected);
        assert_eq!(Heartbeat::decode(bytes), Ok(HEARTBEAT));
    }

    #[test]
    fn shortest_heartbeat_is_not_shorter_than_the_longest_acknowledgement() {
        let shortest = Heartbeat {
            sequence: 0,
            boot_id: BootId([0; 16]),
            incarnation: Incarnation(0),
            sent_at: 0,
            last_ack: 0,
            report: Report::default(),
        };
        let mut buffer = [0; HEARTBEAT_LEN_MAX];
        assert!(shortest.encode(&mut buffer).unwrap().len() >= ACK_LEN_MAX);
    }

    #[test]
    fn longest_heartbeat_fits() {
        let longest = Report {
            pod_manager_rounds: u32::MAX,
            runtime_rounds: u32::MAX,
            power: Some(Power(u8::MAX)),
            temperature_celsius: Some(i8::MIN),
            timer_lag_ms: u16::MAX,
            round_trip_us: Some(u32::MAX),
            card_kib_per_day: Some(u32::MAX),
            ..HEARTBEAT.report
        };
        let mut buffer = [0; HEARTBEAT_LEN_MAX];
        assert!(Heartbeat { report: longest, ..HEARTBEAT }.encode(&mut buffer).is_some());
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        let mut buffer = [0; HEARTBEAT_LEN_MAX];
        let len = HEARTBEAT.encode(&mut buffer).unwrap().len();
        assert_eq!(
            Heartbeat::decode(&buffer[..=len]),
            Err(DecodeBodyError::TrailingBytes { extra: 1 })
        );
        assert_eq!(Heartbeat::decode(&buffer[..len - 1]), Err(DecodeBodyError::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Heartbeat::decode(&bytes);
        }
    }
}
