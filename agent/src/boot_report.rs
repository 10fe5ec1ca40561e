//! What the first process of a card found out about this boot, for the master and for upgrades.

use std::io;
use std::path::{Path, PathBuf};

use bramble_card::layout::Slot;
use bramble_shared::link::BootReport;
use serde::Deserialize;

use crate::telemetry::Chain;

/// The report's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BootFile {
    /// The slot that runs.
    pub(crate) slot: Slot,
    /// Version of what is in it.
    pub(crate) version: String,
    /// It runs on trial.
    #[serde(default)]
    pub(crate) trial: bool,
    /// How the last upgrade ended, in words.
    #[serde(default)]
    pub(crate) upgrade: String,
    /// Partition of the slot that does not run.
    pub(crate) other_slot_device: PathBuf,
    /// Where upgrades are recorded.
    #[serde(default = "upgrade_record")]
    pub(crate) upgrade_record: PathBuf,
    /// Process that restarts the board.
    #[serde(default = "init_pid")]
    pub(crate) init_pid: i32,
}

fn upgrade_record() -> PathBuf {
    Path::new("/var").join(bramble_card::upgrade::FILE)
}

fn init_pid() -> i32 {
    1
}

impl BootFile {
    /// What the master is told of it.
    pub(crate) fn report(&self) -> BootReport {
        BootReport {
            slot: self.slot.to_string(),
            version: plain_version(&self.version).to_owned(),
            trial: self.trial,
            upgrade: self.upgrade.clone(),
        }
    }
}

/// A version as it is shown beside the word `bramble`: from the first line of a slot's
/// `version.txt`, which may name the program before it.
pub(crate) fn plain_version(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("bramble ").unwrap_or(line).trim()
}

/// Reads the report; none on a board that does not run from a card.
pub(crate) fn read(path: Option<&Path>) -> Option<BootFile> {
    let path = path?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the boot report cannot be read");
            return None;
        }
    };
    match toml::from_str(&text) {
        Ok(file) => Some(file),
        Err(error) => {
            let error = Chain(&error).to_string();
            tracing::warn!(error, path = %path.display(), "the boot report is not valid");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_read_with_what_later_versions_add() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot.toml");
        assert_eq!(read(Some(&path)), None);
        assert_eq!(read(None), None);
        std::fs::write(
            &path,
            "slot = \"b\"\nversion = \"0.2.0\"\ntrial = true\nlater = 1\n\
             other-slot-device = \"/dev/vda2\"\n",
        )
        .unwrap();
        let file = read(Some(&path)).unwrap();
        assert_eq!(plain_version("bramble 0.2.0+abc\n"), "0.2.0+abc");
        assert_eq!((file.slot, file.trial, file.init_pid), (Slot::B, true, 1));
        assert_eq!(file.upgrade_record, Path::new("/var/upgrade.toml"));
        assert_eq!(file.other_slot_device, Path::new("/dev/vda2"));
        std::fs::write(&path, "slot = \"c\"").unwrap();
        assert_eq!(read(Some(&path)), None);
    }
}
