//! Writes entries beneath the descriptor of a layer's root.
//!
//! No path is ever resolved from anywhere else. A parent is opened with `openat2` as if the layer's
//! root were the root of everything, so symlinks of the layer are followed within it and lead
//! nowhere else; the last part is only touched by calls that do not follow it.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    rc::Rc,
};

use rustix::{
    fs::{
        self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps,
        UTIME_OMIT, Uid, XattrFlags,
    },
    io::Errno,
};

use super::{
    UnpackError,
    entry::{Entry, Kind},
};
use crate::implied::Paths;

/// A layer's root while it is filled.
pub(super) struct LayerRoot<'a> {
    root: BorrowedFd<'a>,
    /// The parent of the last entry, since neighbours follow each other.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Folders whose time is set at the end, because writing into them changes it.
    folder_times: Vec<(Vec<u8>, i64)>,
    folder_times_len: usize,
    /// Folders that were made without an entry of their own, and the length of their paths.
    implied: Paths,
    implied_len: usize,
}

impl<'a> LayerRoot<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            last_parent: None,
            folder_times: Vec::new(),
            folder_times_len: 0,
            implied: Paths::new(),
            implied_len: 0,
        }
    }

    /// Makes what `entry` says.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let parts = parts(&entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            // The root itself: only as a folder, never replaced.
            return match entry.kind {
                Kind::Directory => self.set_folder(self.open_root(entry)?, entry),
                Kind::File
                | Kind::HardLink { .. }
                | Kind::Symlink { .. }
                | Kind::Fifo
                | Kind::Device => Err(UnpackError::Path { path: shown(&entry.path) }),
            };
        };
        let parent = self.open_parent(parents, &entry.path)?;
        let written = match name.strip_prefix(b".wh.") {
            Some(hidden) => return whiteout(parent.as_fd(), hidden, &entry.path),
            None => self.make(parent.as_fd(), name, entry, content),
        };
        written.map_err(|problem| problem.at(&entry.path))
    }

    /// Sets the folders' times, and returns the folders that no entry described. A time that cannot be
    /// set is not worth failing a pull.
    pub(super) fn finish(mut self) -> Paths {
        for (path, seconds) in std::mem::take(&mut self.folder_times) {
            if let Ok(folder) = open_beneath(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY) {
                let _ = fs::futimens(&folder, &times(seconds));
            }
        }
        self.implied
    }

    fn make(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(), Problem> {
        if entry.kind == Kind::Directory {
            return self.make_folder(parent, name, entry);
        }
        if entry.kind == Kind::Device {
            tracing::debug!(path = %shown(&entry.path), "skipped a device node of an image");
            return Ok(());
        }
        if let Some(present) = look(parent, name)? {
            let flags = if is(&present, FileType::Directory) {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            fs::unlinkat(parent, name, flags)?;
            self.last_parent = None;
        }
        match &entry.kind {
            Kind::File => write_file(parent, name, entry, content),
            Kind::HardLink { target } => self.hard_link(parent, name, target),
            Kind::Symlink { target } => {
                fs::symlinkat(target.as_slice(), parent, name)?;
                set_owner(parent, name, entry)?;
                Ok(fs::utimensat(parent, name, &times(entry.modified), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Kind::Fifo => {
                fs::mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
                set_owner(parent, name, entry)?;
                // Made just now in a folder that only we write to, so this is the pipe.
                fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
                Ok(fs::utimensat(parent, name, &times(entry.modified), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Kind::Directory | Kind::Device => Ok(()),
        }
    }

    fn make_folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), Problem> {
        let present = look(parent, name)?;
        let was_hidden = present.as_ref().is_some_and(is_whiteout);
        match &present {
            Some(present) if is(present, FileType::Directory) => {}
            Some(_) => {
                fs::unlinkat(parent, name, AtFlags::empty())?;
                fs::mkdirat(parent, name, FOLDER_MODE)?;
                // It may have been a symlink that led there.
                self.last_parent = None;
            }
            None => fs::mkdirat(parent, name, FOLDER_MODE)?,
        }
        let folder = fs::openat(
            parent,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if was_hidden {
            set_opaque(folder.as_fd())?;
        }
        self.set_folder(folder, entry).map_err(Problem::Told)
    }

    fn set_folder(&mut self, folder: OwnedFd, entry: &Entry) -> Result<(), UnpackError> {
        set_attributes(folder.as_fd(), entry).map_err(|problem| problem.at(&entry.path))?;
        let path = parts(&entry.path)?.join(&b'/');
        self.implied.remove(&path);
        self.folder_times_len += path.len();
        if self.folder_times_len <= FOLDER_TIMES_LEN_MAX {
            self.folder_times.push((path, entry.modified));
        }
        Ok(())
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<(), Problem> {
        let outside = || Problem::HardLink { target: shown(target) };
        let parts = parts(target).map_err(|_| outside())?;
        let (target_name, folders) = parts.split_last().ok_or_else(outside)?;
        let folder = open_inside(self.root, &folders.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|_| outside())?;
        let present = look(folder.as_fd(), target_name)?.ok_or_else(outside)?;
        // A second name for a whiteout or a folder makes no sense and could hide what it likes.
        if is_whiteout(&present) || is(&present, FileType::Directory) {
            return Err(outside());
        }
        Ok(fs::linkat(&folder, *target_name, parent, name, AtFlags::empty())?)
    }

    fn open_root(&self, entry: &Entry) -> Result<OwnedFd, UnpackError> {
        open_beneath(self.root, b"", OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| Problem::Errno(errno).at(&entry.path))
    }

    /// Opens the folder that an entry goes into, and makes what is missing of it.
    fn open_parent(&mut self, parents: &[&[u8]], path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        let joined = parents.join(&b'/');
        if let Some((last, folder)) = &self.last_parent
            && *last == joined
        {
            return Ok(Rc::clone(folder));
        }
        let folder = match open_inside(self.root, &joined, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(parents),
            opened => opened.map_err(Problem::from),
        };
        let folder = Rc::new(folder.map_err(|problem| {
            let blocked = [Errno::LOOP, Errno::NOTDIR, Errno::XDEV];
            if matches!(&problem, Problem::Errno(errno) if blocked.contains(errno)) {
                return UnpackError::NotAFolder { path: shown(path) };
            }
            problem.at(path)
        })?);
        self.last_parent = Some((joined, Rc::clone(&folder)));
        Ok(folder)
    }

    /// Some builders leave out folders that an earlier layer has.
    fn make_parents(&mut self, parents: &[&[u8]]) -> Result<OwnedFd, Problem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut folder = open_beneath(self.root, b"", flags)?;
        for (index, name) in parents.iter().enumerate() {
            let path = parents.get(..=index).unwrap_or_default().join(&b'/');
            let present = look(folder.as_fd(), name)?;
            let hidden = present.as_ref().is_some_and(is_whiteout);
            if hidden {
                fs::unlinkat(&folder, *name, AtFlags::empty())?;
            }
            let link = present.is_some_and(|present| is(&present, FileType::Symlink));
            if !link {
                match fs::mkdirat(&folder, *name, FOLDER_MODE) {
                    Ok(()) => {
                        self.implied_len += path.len();
                        if self.implied_len <= FOLDER_TIMES_LEN_MAX {
                            self.implied.insert(path.clone());
                        }
                    }
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            folder = match open_inside(self.root, &path, flags) {
                // Where it leads to may be in a layer below, which is not known here.
                Err(Errno::NOENT) if link => {
                    return Err(Problem::DanglingLink { link: shown(&path) });
                }
                opened => opened?,
            };
            if hidden {
                set_opaque(folder.as_fd())?;
            }
        }
        Ok(folder)
    }
}

/// Hides `hidden` of the layers below, or everything of theirs in this folder.
fn whiteout(parent: BorrowedFd<'_>, hidden: &[u8], path: &[u8]) -> Result<(), UnpackError> {
    let done = match hidden {
        b".wh..opq" => set_opaque(parent),
        b"" | b"." | b".." => return Err(UnpackError::Path { path: shown(path) }),
        // Book-keeping of an older file system.
        other if other.starts_with(b".wh.") => Ok(()),
        name => hide(parent, name),
    };
    done.map_err(|errno| Problem::Errno(errno).at(path))
}

fn hide(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match look(parent, name)? {
        None => fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0),
        // The same layer has a folder of that name: only what lies below it is hidden.
        Some(present) if is(&present, FileType::Directory) => {
            let folder = open_beneath(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            set_opaque(folder.as_fd())
        }
        Some(_) => Ok(()),
    }
}

fn write_file(
    parent: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    content: &mut impl Read,
) -> Result<(), Problem> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file =
        std::fs::File::from(fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
    let written = copy(content, &mut file)?;
    if written != entry.size {
        return Err(Problem::Truncated);
    }
    set_attributes(file.as_fd(), entry)?;
    Ok(fs::futimens(&file, &times(entry.modified))?)
}

/// Copies, and keeps apart on which side a copy failed. Blocks of zeros become holes, which wear no
/// card.
fn copy(content: &mut impl Read, file: &mut std::fs::File) -> Result<u64, Problem> {
    let mut buffer = vec![0; COPY_LEN];
    let mut written = 0_u64;
    let mut ends_in_hole = false;
    loop {
        let len = fill(content, &mut buffer).map_err(|e| Problem::Told(UnpackError::Read(e)))?;
        let piece = buffer.get(..len).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        ends_in_hole = piece.len() == COPY_LEN && piece.iter().all(|byte| *byte == 0);
        if !ends_in_hole {
            file.write_all_at(piece, written).map_err(Problem::Io)?;
        }
        written = written.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    if ends_in_hole {
        file.set_len(written).map_err(Problem::Io)?;
    }
    Ok(written)
}

/// Reads until the buffer is full or there is no more.
fn fill(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(room) = buffer.get_mut(len..).filter(|room| !room.is_empty()) {
        match content.read(room)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

/// Owner first, since changing it clears set-uid and capabilities.
fn set_attributes(file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Problem> {
    fs::fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        if !is_allowed_xattr(name) {
            tracing::debug!(path = %shown(&entry.path), name, "skipped an extended attribute of an image");
            continue;
        }
        match fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            // Malformed for this kernel, or a file system without them.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// `trusted.overlay.*` would redirect overlayfs, `security.selinux` is the host's.
fn is_allowed_xattr(name: &str) -> bool {
    name == "security.capability"
        || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

fn set_owner(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn set_opaque(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    fs::fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn is_whiteout(stat: &Stat) -> bool {
    is(stat, FileType::CharacterDevice) && stat.st_rdev == 0
}

fn open_beneath(folder: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_XDEV;
    fs::openat2(folder, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

/// As [`open_beneath`], but follows symlinks as if `root` were the root of everything.
fn open_inside(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let open = || fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    let mut opened = open();
    // The kernel gives up on `..` while anything on the machine is renamed.
    for _ in 1..OPENS_MAX {
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
        opened = open();
    }
    opened
}

/// Splits a path, forgiving `./` and a leading `/`, refusing what could lead elsewhere.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let too_long = path.len() > PATH_LEN_MAX || parts.len() > DEPTH_MAX;
    match too_long
        || parts.iter().any(|part| *part == b".." || part.len() > NAME_LEN_MAX || part.contains(&0))
    {
        true => Err(UnpackError::Path { path: shown(path) }),
        false => Ok(parts),
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path.get(..SHOWN_MAX).unwrap_or(path)).into_owned()
}

/// A failure inside one entry, before it is known which.
enum Problem {
    Errno(Errno),
    Io(io::Error),
    Truncated,
    HardLink { target: String },
    DanglingLink { link: String },
    Told(UnpackError),
}

impl Problem {
    fn at(self, path: &[u8]) -> UnpackError {
        let path = shown(path);
        match self {
            Self::Errno(errno) => UnpackError::Write { path, source: errno.into() },
            Self::Io(source) => UnpackError::Write { path, source },
            Self::Truncated => UnpackError::Truncated { path },
            Self::HardLink { target } => UnpackError::HardLink { path, target },
            Self::DanglingLink { link } => UnpackError::DanglingLink { path, link },
            Self::Told(error) => error,
        }
    }
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// How often a path is opened before a busy machine counts as an error.
const OPENS_MAX: usize = 64;

const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// Linux' `PATH_MAX`, in bytes.
const PATH_LEN_MAX: usize = 4096;

/// Linux' `NAME_MAX`, in bytes.
const NAME_LEN_MAX: usize = 255;

/// Deeper than any real tree; whoever walks it needs a descriptor per level.
const DEPTH_MAX: usize = 256;

/// Bytes of paths kept to set folder times, and of folders without an entry.
const FOLDER_TIMES_LEN_MAX: usize = 4 << 20;

const COPY_LEN: usize = 64 << 10;

/// How much of a path is repeated in an error, in bytes.
const SHOWN_MAX: usize = 300;
