//! What the agent tells the master of this boot.

use std::path::{Path, PathBuf};

use bramble_card::layout::Slot;
use bramble_card::upgrade::{UpgradeRecord, UpgradeState};
use serde::Serialize;

/// Content of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BootReport {
    /// The slot that the board was started from.
    slot: Slot,
    /// Partition of the slot that an upgrade writes.
    other_slot_device: PathBuf,
    /// Version of the system in it.
    version: String,
    /// This boot tries a new system.
    trial: bool,
    /// How the last upgrade ended: `kept`, `rolled back: REASON` or empty.
    upgrade: String,
}

impl BootReport {
    /// Puts the report together. `version_file` is the text of the slot's version file.
    pub(crate) fn new(
        slot: Slot,
        other_slot_device: &Path,
        version_file: &str,
        trial: bool,
        record: Option<&UpgradeRecord>,
    ) -> Self {
        let upgrade = match record {
            Some(UpgradeRecord { state: UpgradeState::Kept, .. }) => "kept".to_owned(),
            Some(UpgradeRecord { state: UpgradeState::RolledBack, reason, .. }) => {
                format!("rolled back: {reason}")
            }
            Some(UpgradeRecord { state: UpgradeState::Written | UpgradeState::Trying, .. })
            | None => String::new(),
        };
        Self {
            slot,
            other_slot_device: other_slot_device.to_owned(),
            version: version(version_file).to_owned(),
            trial,
            upgrade,
        }
    }

    /// The report's text.
    pub(crate) fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// The version that a slot's version file tells: its first line, which may begin with the name.
pub(crate) fn version(version_file: &str) -> &str {
    let line = version_file.lines().next().unwrap_or_default().trim();
    line.strip_prefix("bramble ").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_how_the_upgrade_ended() {
        let other = Path::new("/dev/vda3");
        let record = UpgradeRecord {
            slot: Slot::B,
            version: "2".to_owned(),
            state: UpgradeState::RolledBack,
            reason: "not Ready within 120 s".to_owned(),
        };
        let text =
            BootReport::new(Slot::A, other, "bramble 1\nlinux 6\n", false, Some(&record)).text();
        assert_eq!(
            text,
            "slot = \"a\"\nother-slot-device = \"/dev/vda3\"\nversion = \"1\"\ntrial = false\n\
             upgrade = \"rolled back: not Ready within 120 s\"\n"
        );
        let kept = UpgradeRecord { state: UpgradeState::Kept, ..record };
        let text = BootReport::new(Slot::B, other, "2\n", true, Some(&kept)).text();
        assert!(text.contains("upgrade = \"kept\"") && text.contains("trial = true"), "{text}");
        assert!(BootReport::new(Slot::B, other, "", true, None).text().contains("upgrade = \"\""));
    }
}
