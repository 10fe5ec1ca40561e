//! The record of an upgrade, kept on the data partition until the next one.
//!
//! ```text
//!  agent: slot written      init: about to reboot     init: booted from it and Ready
//!        Written  ----------------->  Trying  ------------------------>  Kept
//!                                       |
//!                                       +--- booted from the other slot --->  RolledBack
//! ```

use serde::{Deserialize, Serialize};

use crate::layout::Slot;

/// Name of the record's file on the data partition.
pub const FILE: &str = "upgrade.toml";

/// An upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UpgradeRecord {
    /// The slot that was written.
    pub slot: Slot,
    /// Version of what was written.
    pub version: String,
    /// How far it is.
    pub state: UpgradeState,
    /// Why it was rolled back, for people; empty otherwise.
    #[serde(default)]
    pub reason: String,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeState {
    /// The slot is written and verified.
    Written,
    /// The next boot tries it.
    Trying,
    /// It became Ready and is started from now on.
    Kept,
    /// The old system is back.
    RolledBack,
}

impl UpgradeRecord {
    /// Reads the record's text.
    ///
    /// # Errors
    /// It is damaged.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The record's text.
    ///
    /// # Panics
    /// Never: every field can be written.
    #[must_use]
    pub fn text(&self) -> String {
        toml::to_string(self).expect("an upgrade record can be written as TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let record = UpgradeRecord {
            slot: Slot::B,
            version: "0.1.0".to_owned(),
            state: UpgradeState::RolledBack,
            reason: "did not become Ready".to_owned(),
        };
        assert_eq!(UpgradeRecord::parse(&record.text()), Ok(record));
    }
}
