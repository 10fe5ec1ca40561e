//! One log file that grows, and the files that were rotated away from it.
//!
//! What was written is only known by the [`Place`] that the caller notes afterwards: a writer that
//! was killed before finds the file longer than its place and cuts it back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How long its files become, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Length in bytes at which a file is rotated.
    pub(super) file_len_max: u64,
    /// Most files, the one that grows included.
    pub(super) files_max: u32,
}

/// The file that grows, and its length after the last write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    inode: u64,
    len: u64,
}

/// A log file and those that were rotated away from it.
#[derive(Debug)]
pub(super) struct Chain {
    target: PathBuf,
    file: Option<File>,
}

impl Chain {
    pub(super) fn new(target: PathBuf) -> Self {
        Self { target, file: None }
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Appends whole lines. `note` must keep the place of a file that is new to this writer before
    /// it is written: without that, a successor would take it for somebody else's.
    pub(super) fn append(
        &mut self,
        place: &mut Place,
        log: &[u8],
        bounds: Bounds,
        mut note: impl FnMut(Place) -> io::Result<()>,
    ) -> io::Result<()> {
        let len = u64::try_from(log.len()).unwrap_or(u64::MAX);
        self.open(place, &mut note)?;
        if place.len > 0 && place.len.saturating_add(len) > bounds.file_len_max {
            self.file = None;
            rotate(&self.target, bounds.files_max)?;
            self.open(place, &mut note)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(log, place.len)?;
        place.len += len;
        Ok(())
    }

    /// Takes back what a write that failed has left.
    pub(super) fn undo(&mut self, place: Place) {
        if let Some(file) = &self.file {
            let _kept = file.set_len(place.len);
        }
        self.file = None;
    }

    /// All that is kept, oldest first.
    pub(super) fn content(&self, files_max: u32) -> Vec<u8> {
        let mut content = Vec::new();
        for number in (1..files_max).rev() {
            content.extend(fs::read(rotated_path(&self.target, number)).unwrap_or_default());
        }
        content.extend(fs::read(&self.target).unwrap_or_default());
        content
    }

    /// Removes all files, the oldest first, so that a reader finds the youngest to the end.
    pub(super) fn remove(&mut self, files_max: u32) {
        self.file = None;
        for number in (1..files_max).rev() {
            let _gone = fs::remove_file(rotated_path(&self.target, number));
        }
        let _gone = fs::remove_file(&self.target);
    }

    /// Opens the file and cuts off what an unfinished write left there.
    fn open(
        &mut self,
        place: &mut Place,
        note: &mut impl FnMut(Place) -> io::Result<()>,
    ) -> io::Result<()> {
        let on_disk = fs::metadata(&self.target).ok().map(|meta| meta.ino());
        if self.file.is_some() && on_disk == Some(place.inode) {
            return Ok(());
        }
        if let Some(parent) = self.target.parent() {
            fs::create_dir_all(parent)?;
        }
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&self.target)?;
        let meta = file.metadata()?;
        if meta.ino() == place.inode {
            if meta.len() > place.len {
                file.set_len(place.len)?;
            }
            place.len = place.len.min(meta.len());
        } else {
            // New, or written by somebody else: nothing of it is ours to cut.
            *place = Place { inode: meta.ino(), len: meta.len() };
            note(*place)?;
        }
        self.file = Some(file);
        Ok(())
    }
}

/// Shifts `0.log` to `0.log.1` and so on; the oldest goes.
fn rotate(target: &Path, files_max: u32) -> io::Result<()> {
    let older = files_max.saturating_sub(1);
    if older == 0 {
        return fs::remove_file(target);
    }
    for number in (1..older).rev() {
        match fs::rename(rotated_path(target, number), rotated_path(target, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(target, rotated_path(target, 1))
}

/// Returns the path of a rotated log file; 1 is the youngest.
pub(crate) fn rotated_path(target: &Path, number: u32) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    target.with_file_name(name)
}
