//! The files that one log consists of: those on the disk, and what memory has beyond them.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::LogFiles;
use crate::log_writer::rotated_path;

/// Most rotated files that are looked for.
const ROTATED_MAX: u32 = 16;

/// How often the files are listed anew because the log writer rotated them meanwhile.
const LISTS_MAX: u32 = 3;

/// What a file is, whatever becomes of its name: its device and its number there.
pub(super) type FileId = (u64, u64);

/// One file of a log. Open, it stays what it is.
#[derive(Debug)]
pub(super) struct LogPart {
    pub(super) file: File,
    pub(super) id: FileId,
    /// In memory, so younger than all on the disk.
    pub(super) memory: bool,
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
pub(super) fn open_all(files: &LogFiles) -> io::Result<Vec<LogPart>> {
    let mut parts = Vec::new();
    for _ in 0..LISTS_MAX {
        let before = youngest(files)?;
        parts.clear();
        if let Some(memory) = &files.memory {
            list(memory, true, &mut parts)?;
        }
        list(&files.disk, false, &mut parts)?;
        if youngest(files)? == before {
            break;
        }
    }
    Ok(parts)
}

/// The file that grows now.
pub(super) fn youngest(files: &LogFiles) -> io::Result<Option<FileId>> {
    for path in files.memory.iter().chain([&files.disk]) {
        if let Some(meta) = if_there(fs::metadata(path))? {
            return Ok(Some(id(&meta)));
        }
    }
    Ok(None)
}

fn list(path: &Path, memory: bool, parts: &mut Vec<LogPart>) -> io::Result<()> {
    let names = std::iter::once(path.to_owned())
        .chain((1..=ROTATED_MAX).map(|number| rotated_path(path, number)));
    for name in names {
        let Some(file) = if_there(File::open(name))? else { continue };
        let id = id(&file.metadata()?);
        if parts.iter().all(|part| part.id != id) {
            parts.push(LogPart { file, id, memory });
        }
    }
    Ok(())
}

fn id(meta: &Metadata) -> FileId {
    (meta.dev(), meta.ino())
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
