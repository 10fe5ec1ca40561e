//! What init found out about a boot, for the agent: which slot runs, and how the upgrade went.
//!
//! Init writes it anew in every boot and whenever it changes; both are the same program.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layout::Slot;

/// A boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootReport {
    /// The slot that runs.
    pub slot: Slot,
    /// Partition of the slot that does not run, which an upgrade writes.
    pub other_slot_device: PathBuf,
    /// Version of the system that runs.
    pub version: String,
    /// It runs on trial: the next boot is of the other slot unless it is kept.
    pub trial: bool,
    /// How the last upgrade ended: `kept`, `rolled back: REASON`, or empty.
    pub upgrade: String,
    /// Where an upgrade is recorded; see [`crate::upgrade`].
    pub upgrade_record: PathBuf,
    /// Process that restarts the board.
    pub init_pid: i32,
}

impl BootReport {
    /// Reads the report's text.
    ///
    /// # Errors
    /// It is damaged.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The report's text.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BootReport {
        BootReport {
            slot: Slot::B,
            other_slot_device: "/dev/vda2".into(),
            version: "0.2.0".to_owned(),
            trial: true,
            upgrade: "rolled back: not Ready within 120 s".to_owned(),
            upgrade_record: "/var/upgrade.toml".into(),
            init_pid: 1,
        }
    }

    #[test]
    fn report_is_read_as_it_was_written() {
        let text = report().text().unwrap();
        assert_eq!(BootReport::parse(&text), Ok(report()));
        let expected = "slot = \"b\"\nother-slot-device = \"/dev/vda2\"\nversion = \"0.2.0\"\n\
                        trial = true\nupgrade = \"rolled back: not Ready within 120 s\"\n\
                        upgrade-record = \"/var/upgrade.toml\"\ninit-pid = 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn report_is_read_with_what_later_versions_add() {
        let text = format!("later = 1\n{}", report().text().unwrap());
        assert_eq!(BootReport::parse(&text), Ok(report()));
        assert!(BootReport::parse("slot = \"c\"").is_err());
    }
}
