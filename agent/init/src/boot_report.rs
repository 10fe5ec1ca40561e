//! What the agent is told of this boot.

use std::path::Path;

use bramble_card::boot_report::BootReport;
use bramble_card::upgrade::{self, UpgradeRecord, UpgradeState};

use crate::paths::DATA;
use crate::second_stage::Board;
use crate::trial::Trial;

/// The report of this boot as it stands.
pub(crate) fn report(board: &Board, trial: &Trial) -> BootReport {
    BootReport {
        slot: board.slot,
        other_slot_device: board.other_slot_device.clone(),
        version: board.version.clone(),
        trial: trial.trying(),
        upgrade: ending(trial.record()),
        upgrade_record: Path::new(DATA).join(upgrade::FILE),
        init_pid: nix::unistd::Pid::this().as_raw(),
    }
}

/// How the last upgrade ended, in the report's words.
fn ending(record: Option<&UpgradeRecord>) -> String {
    match record {
        Some(UpgradeRecord { state: UpgradeState::Kept, .. }) => "kept".to_owned(),
        Some(UpgradeRecord { state: UpgradeState::RolledBack, reason, .. }) => {
            format!("rolled back: {reason}")
        }
        Some(UpgradeRecord { state: UpgradeState::Written | UpgradeState::Trying, .. }) | None => {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use bramble_card::layout::Slot;

    use super::*;

    #[test]
    fn a_report_tells_how_the_upgrade_ended() {
        let ended = |state| {
            let reason = match state {
                UpgradeState::RolledBack => "not Ready within 120 s".to_owned(),
                UpgradeState::Written | UpgradeState::Trying | UpgradeState::Kept => String::new(),
            };
            ending(Some(&UpgradeRecord { slot: Slot::B, version: "2".to_owned(), state, reason }))
        };
        assert_eq!(ended(UpgradeState::RolledBack), "rolled back: not Ready within 120 s");
        assert_eq!(ended(UpgradeState::Kept), "kept");
        assert_eq!(ended(UpgradeState::Written), "");
        assert_eq!(ended(UpgradeState::Trying), "");
        assert_eq!(ending(None), "");
    }
}
