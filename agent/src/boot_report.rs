//! What the first process of a card found out about this boot, for the master and for upgrades.

use std::io;
use std::path::Path;

use bramble_card::boot_report::BootReport;
use bramble_shared::link;

use crate::telemetry::Chain;

/// Reads the report; none on a board that does not run from a card.
pub(crate) fn read(path: Option<&Path>) -> Option<BootReport> {
    let path = path?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the boot report cannot be read");
            return None;
        }
    };
    match BootReport::parse(&text) {
        Ok(report) => Some(report),
        Err(error) => {
            let error = Chain(&error).to_string();
            tracing::warn!(error, path = %path.display(), "the boot report is not valid");
            None
        }
    }
}

/// Reads the part of the report that the master is told.
pub(crate) fn for_master(path: Option<&Path>) -> Option<link::BootReport> {
    let BootReport { slot, version, trial, upgrade, .. } = read(path)?;
    Some(link::BootReport { slot: slot.to_string(), version, trial, upgrade })
}

#[cfg(test)]
mod tests {
    use bramble_card::layout::Slot;

    use super::*;

    #[test]
    fn report_is_read_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot.toml");
        assert_eq!(read(None), None);
        assert_eq!(read(Some(&path)), None);
        let report = BootReport {
            slot: Slot::B,
            other_slot_device: "/dev/vda2".into(),
            version: "0.2.0".to_owned(),
            trial: true,
            upgrade: "kept".to_owned(),
            upgrade_record: "/var/upgrade.toml".into(),
            init_pid: 1,
        };
        std::fs::write(&path, report.text().unwrap()).unwrap();
        assert_eq!(read(Some(&path)), Some(report));
        let told = link::BootReport {
            slot: "b".to_owned(),
            version: "0.2.0".to_owned(),
            trial: true,
            upgrade: "kept".to_owned(),
        };
        assert_eq!(for_master(Some(&path)), Some(told));
        std::fs::write(&path, "slot = \"c\"").unwrap();
        assert_eq!(for_master(Some(&path)), None);
    }
}
