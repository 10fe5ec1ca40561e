//! Points in time as the API writes them (RFC 3339), kept as milliseconds since 1970.

use std::fmt;

use bramble_api::timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z. Written with whole seconds, as the API does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads `2006-01-02T15:04:05[.fraction](Z|+hh:mm)`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        timestamp::parse_micro(text).map(|micros| Self(micros.div_euclid(1000)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&timestamp::format(self.0.div_euclid(1000)))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not a time")))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2100-12-31T12:00:01Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::parse("1970-01-02T00:00:00Z"), Some(Timestamp(86_400_000)));
    }

    #[test]
    fn fractions_and_zones_are_read() {
        assert_eq!(Timestamp::parse("1970-01-01T00:00:01.250000Z"), Some(Timestamp(1_250)));
        assert_eq!(Timestamp::parse("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "now", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
