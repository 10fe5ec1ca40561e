//! Folders that a layer needs and does not describe.
//!
//! Builders leave out folders that an earlier layer has, with its mode, owner and attributes. A layer
//! is unpacked once for all images that have it, whatever lies below it in them, so such a folder
//! is made as it comes and noted; when an image's layers are stacked, it gets what the highest
//! layer says that describes it.
//!
//! ```text
//!  layers/<hex>/fs        the layer
//!              /implied   paths of these folders, each ended by a zero
//! ```

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, XattrFlags},
    io::Errno,
};

/// Paths beneath a layer's root.
pub(crate) type Paths = BTreeSet<Vec<u8>>;

/// Notes the folders of a layer, whose own folder is `layer`.
pub(crate) fn note(layer: &Path, implied: &Paths) -> io::Result<()> {
    if implied.is_empty() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for path in implied {
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    fs::write(layer.join(FILE), bytes)
}

fn read(content: &Path) -> Paths {
    let noted = content.parent().map(|layer| fs::read(layer.join(FILE)));
    // Most layers have none.
    let Some(Ok(bytes)) = noted else { return Paths::new() };
    bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Gives the folders of a mounted root what the highest of `layers` says that describes them.
/// `layers` are the contents of the layers, highest first.
///
/// # Errors
/// A folder of the root could not be changed.
pub(crate) fn restore(rootfs: &Path, layers: &[PathBuf]) -> io::Result<()> {
    let layers: Vec<Layer> = layers
        .iter()
        .map(|content| Ok(Layer { implied: read(content), root: open_root(content)? }))
        .collect::<io::Result<_>>()?;
    let wanted: Paths = layers.iter().flat_map(|layer| layer.implied.iter().cloned()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let root = open_root(rootfs)?;
    for path in wanted {
        let Some(model) = describing(&layers, &path)? else { continue };
        match open_folder(&root, &path, ResolveFlags::IN_ROOT) {
            Ok(folder) => copy_attributes(&model, &folder)?,
            // A higher layer has removed it or put something else there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

struct Layer {
    root: OwnedFd,
    implied: Paths,
}

/// What one layer has at a path.
enum Seen {
    /// Nothing; the layers below count.
    Nothing,
    /// It hides what is below.
    End,
    /// A folder, and whether it hides what is below.
    Folder { folder: OwnedFd, last: bool },
}

/// The folder at a path in the highest layer that describes it.
fn describing(layers: &[Layer], path: &[u8]) -> io::Result<Option<OwnedFd>> {
    for layer in layers {
        match look(layer, path)? {
            Seen::Nothing => {}
            Seen::End => return Ok(None),
            Seen::Folder { folder, .. } if !layer.implied.contains(path) => {
                return Ok(Some(folder));
            }
            Seen::Folder { last: true, .. } => return Ok(None),
            Seen::Folder { last: false, .. } => {}
        }
    }
    Ok(None)
}

fn look(layer: &Layer, path: &[u8]) -> io::Result<Seen> {
    let mut last = false;
    let mut folder = open_folder(&layer.root, b".", ResolveFlags::BENEATH)?;
    for name in path.split(|byte| *byte == b'/') {
        last |= is_opaque(&folder);
        let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if last => return Ok(Seen::End),
            Err(Errno::NOENT) => return Ok(Seen::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Seen::End);
        }
        folder = open_folder(&folder, name, ResolveFlags::BENEATH)?;
    }
    last |= is_opaque(&folder);
    Ok(Seen::Folder { folder, last })
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(folder, "trusted.overlay.opaque", &mut value).is_ok() && value == *b"y"
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let (wanted, found): (Stat, Stat) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    // What fits already is not copied up into the container's own folder.
    if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid) {
        let (uid, gid) = (Uid::from_raw(wanted.st_uid), Gid::from_raw(wanted.st_gid));
        rustix::fs::fchown(to, Some(uid), Some(gid))?;
    }
    if wanted.st_mode != found.st_mode {
        rustix::fs::fchmod(to, Mode::from_raw_mode(wanted.st_mode & 0o7777))?;
    }
    let mut names = vec![0; NAMES_LEN_MAX];
    let len = match rustix::fs::flistxattr(from, &mut names) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    for name in names.get(..len).unwrap_or_default().split(|byte| *byte == 0) {
        // The unpacker takes no others from an image but this kind and capabilities of files.
        if !name.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0; VALUE_LEN_MAX];
        let len = rustix::fs::fgetxattr(from, name, &mut value)?;
        let value = value.get(..len).unwrap_or_default();
        rustix::fs::fsetxattr(to, name, value, XattrFlags::empty())?;
    }
    Ok(())
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path.as_os_str().as_bytes(), flags, Mode::empty())?)
}

fn open_folder(root: &OwnedFd, path: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve)
}

/// Name of the note.
const FILE: &str = "implied";

/// Longest list of attributes' names, and longest value, in bytes; the kernel's bounds.
const NAMES_LEN_MAX: usize = 64 << 10;
const VALUE_LEN_MAX: usize = 64 << 10;
