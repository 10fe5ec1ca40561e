//! The files that one log consists of: the one that grows, and those that were rotated away.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::log_writer::rotated_path;

/// Most rotated files that are looked for.
const ROTATED_MAX: u32 = 16;

/// How often the files are listed anew because the log writer rotated them meanwhile.
const LISTS_MAX: u32 = 3;

/// One file of a log. Open, it stays what it is, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct LogPart {
    pub(super) file: File,
    pub(super) inode: u64,
}

impl LogPart {
    /// Whether the file has no name any more: open, it only takes room on the disk.
    pub(super) fn removed(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }
}

/// Opens all files of a log, youngest first.
///
/// Rotation only moves files to higher numbers, oldest first, so a look at the numbers in
/// ascending order misses none; it may see one twice, or find a number free for a moment.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<LogPart>> {
    let mut parts = Vec::new();
    for _ in 0..LISTS_MAX {
        let before = inode_at(path)?;
        parts = list(path)?;
        if inode_at(path)? == before {
            break;
        }
    }
    Ok(parts)
}

/// The number of the file that has this name now.
pub(super) fn inode_at(path: &Path) -> io::Result<Option<u64>> {
    if_there(fs::metadata(path)).map(|found| found.map(|meta| meta.ino()))
}

fn list(path: &Path) -> io::Result<Vec<LogPart>> {
    let mut parts: Vec<LogPart> = Vec::new();
    let names = std::iter::once(path.to_owned())
        .chain((1..=ROTATED_MAX).map(|number| rotated_path(path, number)));
    for name in names {
        let Some(file) = if_there(File::open(name))? else { continue };
        let inode = file.metadata()?.ino();
        if parts.iter().all(|part| part.inode != inode) {
            parts.push(LogPart { file, inode });
        }
    }
    Ok(parts)
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
