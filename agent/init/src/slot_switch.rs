//! Tells the firmware which slot to start. The only code that writes the boot partition.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use bramble_card::autoboot::Autoboot;
use bramble_card::boot_file::{AUTOBOOT, TRY_BOOT};
use bramble_card::layout::Slot;
use bramble_runtime::restart::BoardRestart;
use rustix::mount::{MountFlags, mount_remount};

use crate::paths::BOOT;
use crate::step::StepError;

/// Has the firmware start `slot` from now on: one write of one sector.
///
/// # Errors
/// The boot partition cannot be written.
pub(crate) fn start_always(slot: Slot) -> Result<(), StepError> {
    while_writable(|boot| overwrite(&boot.join(AUTOBOOT), Autoboot::starting(slot).text()))
        .map_err(StepError::of(format!("have slot {slot} started from now on")))
}

/// Prepares a reboot that tries the other slot once.
///
/// A real firmware takes the wish from an argument of the reboot and forgets it by itself; an
/// emulated one takes it from a file, which it removes.
///
/// # Errors
/// The boot partition cannot be written.
pub(crate) fn try_once(emulated_firmware: bool) -> Result<BoardRestart, StepError> {
    if !emulated_firmware {
        return Ok(BoardRestart::RebootWith(c"0 tryboot"));
    }
    while_writable(|boot| fs::File::create(boot.join(TRY_BOOT))?.sync_all())
        .map_err(StepError::of("ask for a trial"))?;
    Ok(BoardRestart::Reboot)
}

/// Writes over a file without changing its length, so that neither its place nor its entry in the
/// folder moves.
fn overwrite(path: &Path, text: String) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() != text.len() as u64 {
        return Err(io::Error::other("the file has another length than bramble's"));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn while_writable(change: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_remount(BOOT, flags, c"")?;
    let changed = change(Path::new(BOOT));
    rustix::fs::sync();
    mount_remount(BOOT, flags | MountFlags::RDONLY, c"")?;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_overwritten_in_place_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(AUTOBOOT);
        fs::write(&path, Autoboot::starting(Slot::A).text()).unwrap();
        overwrite(&path, Autoboot::starting(Slot::B).text()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(Autoboot::parse(&text).unwrap().normal, Slot::B);
        assert!(overwrite(&path, "short".to_owned()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
