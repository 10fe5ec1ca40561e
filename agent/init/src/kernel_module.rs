//! Loads kernel modules: those that are always wanted, and those for the devices that are there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::messages::say;
use crate::module_index::ModuleIndex;

/// Loads the modules of a list, one name a line, from a folder. One that is missing or refused is
/// told of and does not keep the others from being loaded.
pub(crate) fn load_listed(folder: &Path, list: &str) {
    for name in list.lines().map(str::trim).filter(|name| !name.is_empty()) {
        if let Err(error) = load(folder, name) {
            say(&format!("module {name} not loaded: {error}"));
        }
    }
}

/// Loads modules for devices as they appear.
#[derive(Debug)]
pub(crate) struct Coldplug {
    folder: PathBuf,
    index: ModuleIndex,
    seen: BTreeSet<String>,
    tried: BTreeSet<String>,
    /// The kernel's count of events at the last look.
    events: Option<String>,
}

/// Most rounds at once: a module makes devices that need modules, but a bus in a bus in a bus is
/// as deep as boards are.
const ROUNDS_MAX: usize = 8;

impl Coldplug {
    /// Reads the indexes in the folder; without them no module is for any device.
    pub(crate) fn open(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        Self {
            folder: folder.to_owned(),
            index: ModuleIndex::parse(&text("modules.alias"), &text("modules.dep")),
            seen: BTreeSet::new(),
            tried: BTreeSet::new(),
            events: None,
        }
    }

    /// Loads what `modules.load` lists, with what it needs.
    pub(crate) fn load_always(&mut self) {
        let list = fs::read_to_string(self.folder.join("modules.load")).unwrap_or_default();
        for name in list.lines().map(str::trim).filter(|name| !name.is_empty()) {
            self.load(name);
        }
    }

    /// Loads modules for all devices that are new since the last call, if the kernel has told of
    /// any event since then.
    pub(crate) fn look(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let events = fs::read_to_string("/sys/kernel/uevent_seqnum").ok();
            if events.is_some() && events == self.events {
                return;
            }
            self.events = events;
            for modalias in new_devices(Path::new("/sys/devices"), &mut self.seen) {
                let names: Vec<String> =
                    self.index.for_device(&modalias).into_iter().map(str::to_owned).collect();
                for name in names {
                    self.load(&name);
                }
            }
        }
    }

    fn load(&mut self, name: &str) {
        let order: Vec<String> =
            self.index.load_order(name).into_iter().map(str::to_owned).collect();
        for name in order {
            if self.tried.insert(name.clone())
                && let Err(error) = load(&self.folder, &name)
            {
                // A device that does not work is worth a line; the board may do without it.
                say(&format!("module {name} not loaded: {error}"));
            }
        }
    }
}

/// Loads one module; one that is there already is no error.
fn load(folder: &Path, name: &str) -> io::Result<()> {
    let file = File::open(folder.join(format!("{name}.ko")))?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `modalias` of all devices beneath a folder that are not in `seen`, and adds them to it.
fn new_devices(root: &Path, seen: &mut BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Links lead to other places of the same tree.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                    let text = fs::read_to_string(entry.path()).unwrap_or_default();
                    let modalias = text.trim();
                    if !modalias.is_empty() && seen.insert(modalias.to_owned()) {
                        found.push(modalias.to_owned());
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_found_once() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("platform/soc/mmc");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("modalias"), "of:Nmmc\n").unwrap();
        std::os::unix::fs::symlink(root.path(), device.join("subsystem")).unwrap();
        let mut seen = BTreeSet::new();
        assert_eq!(new_devices(root.path(), &mut seen), ["of:Nmmc"]);
        assert!(new_devices(root.path(), &mut seen).is_empty());
        fs::write(root.path().join("platform/modalias"), "usb:x\n").unwrap();
        assert_eq!(new_devices(root.path(), &mut seen), ["usb:x"]);
    }
}
