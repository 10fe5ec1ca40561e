//! In the card's system: mounts, modules, settings, data, names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bramble_card::boot_file::{self, AUTOBOOT, SETTINGS};
use bramble_card::layout::{BOOT_NUMBER, Slot};
use bramble_card::settings::CardSettings;
use bramble_card::upgrade::{self, UpgradeRecord};
use bramble_runtime::error_chain::Chain;

use crate::card_disk::CardDisk;
use crate::command_line::CommandLine;
use crate::kernel_module::Coldplug;
use crate::messages::say;
use crate::paths::{BOOT, DATA, MODULES, SLOT};
use crate::step::StepError;
use crate::{clock_floor, data, emergency, first_process, identity, mounts, trial};

/// A board that is put together.
#[derive(Debug)]
pub(crate) struct Board {
    /// What the kernel's command line says.
    pub(crate) command_line: CommandLine,
    /// The slot that it was started from.
    pub(crate) slot: Slot,
    /// Partition of the slot that an upgrade writes.
    pub(crate) other_slot_device: PathBuf,
    /// Version of the system in it.
    pub(crate) version: String,
    /// What the card says.
    pub(crate) settings: CardSettings,
    /// The slot that the firmware starts at power-on.
    pub(crate) normal: Option<Slot>,
    /// Looks for new devices.
    pub(crate) coldplug: Coldplug,
}

/// Runs the second stage and then everything. Does not return.
pub(crate) fn run() -> ! {
    let text = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let command_line = CommandLine::parse(&text);
    match start(command_line) {
        Ok(board) => first_process::run(board),
        Err(error) => {
            let normal = fs::read_to_string(Path::new(BOOT).join(AUTOBOOT)).unwrap_or_default();
            let normal = trial::normal_slot(&normal);
            let trying = normal.is_some() && normal != command_line.slot;
            emergency::stay(&error.why, error.mend, trying)
        }
    }
}

struct Halt {
    why: String,
    mend: &'static str,
}

const FLASH: &str = "mend it from your computer: `bramble flash --replace` writes the card anew";
const EDIT: &str = "put the card into your computer and mend bramble.toml on it, or write it anew \
                    with `bramble flash --replace`";

impl From<StepError> for Halt {
    fn from(error: StepError) -> Self {
        Self { why: Chain(&error).to_string(), mend: FLASH }
    }
}

fn start(command_line: CommandLine) -> Result<Board, Halt> {
    mounts::system()?;
    let home = identity::make_home();
    home.map_err(StepError::of("make the home of root"))?;
    clock_floor::raise();
    let mut coldplug = Coldplug::open(Path::new(MODULES));
    coldplug.load_always();
    coldplug.look();
    let card = CardDisk::find().ok_or_else(|| {
        StepError::of::<io::Error>("find the card")(io::ErrorKind::NotFound.into())
    })?;
    mounts::fat(&card.partition(BOOT_NUMBER), Path::new(BOOT))?;
    let slot = command_line.slot.unwrap_or(Slot::A);
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let version = boot_file::version(&read(&Path::new(SLOT).join(boot_file::VERSION))).to_owned();
    let normal = trial::normal_slot(&read(&Path::new(BOOT).join(AUTOBOOT)));
    let settings = settings(Path::new(BOOT))?;
    data::prepare(&card)?;
    clock_floor::raise();
    identity::apply(&settings);
    let other_slot_device = card.partition(slot.other().number());
    Ok(Board { command_line, slot, other_slot_device, version, settings, normal, coldplug })
}

fn settings(boot: &Path) -> Result<CardSettings, Halt> {
    // Windows hides what is behind the last point of a name, and its editor adds `.txt`.
    let names = [SETTINGS.to_owned(), format!("{SETTINGS}.txt")];
    let name = names.iter().find(|name| boot.join(name).exists()).map_or(SETTINGS, String::as_str);
    let bytes = fs::read(boot.join(name)).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let why = if missing { "it has no settings yet".to_owned() } else { error.to_string() };
        Halt { why: format!("could not read {name} of the card: {why}"), mend: EDIT }
    })?;
    CardSettings::parse_file(&bytes)
        .map_err(|error| Halt { why: format!("{name} of the card: {}", Chain(&error)), mend: EDIT })
}

/// The record of the last upgrade, if there is one that can be read.
pub(crate) fn upgrade_record() -> Option<UpgradeRecord> {
    let text = fs::read_to_string(Path::new(DATA).join(upgrade::FILE)).ok()?;
    UpgradeRecord::parse(&text)
        .inspect_err(|error| say(&format!("the record of the last upgrade is damaged: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_used_are_told_with_the_way_to_mend_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SETTINGS);
        let why = |text: Option<&str>| {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let Err(halt) = settings(folder.path()) else { panic!("accepted") };
            assert!(halt.mend.contains("flash"));
            halt.why
        };
        assert!(why(None).contains("no settings yet"));
        assert!(why(Some("node = 1")).contains("bramble.toml"));
        fs::write(&path, [0xff, 0xfe, 0xff]).unwrap();
        assert!(why(None).contains("bramble.toml"));
        // What an editor has named otherwise is only read in place of a missing one.
        let other = folder.path().join("bramble.toml.txt");
        fs::write(&other, "node = 1").unwrap();
        assert!(!why(None).contains(".txt"));
        fs::remove_file(&path).unwrap();
        assert!(why(None).contains("bramble.toml.txt"));
    }
}
