//! Makes a container's working directory if the image lacks it, as other runtimes do.
//!
//! Done from outside before there is a container, since its root may be read-only inside. Links in
//! the image are followed as inside, and nothing outside the root or its volumes is touched.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat,
    statat,
};
use rustix::io::Errno;

/// Why a working directory cannot be there.
#[derive(Debug, thiserror::Error)]
#[error("could not make working directory `{}`", path.display())]
pub(super) struct MakeWorkingDirectoryError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes the working directory of a container, with mode 755 and owned by root.
pub(super) fn make(spec: &Spec) -> Result<(), MakeWorkingDirectoryError> {
    let (Some(process), Some(root)) = (spec.process(), spec.root()) else { return Ok(()) };
    let path: PathBuf = process.cwd().components().collect();
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    make_in(root.path(), mounts, &path)
        .map_err(|errno| MakeWorkingDirectoryError { path, source: errno.into() })
}

fn make_in(root: &Path, mounts: &[Mount], wanted: &Path) -> Result<(), Errno> {
    if wanted == Path::new("/") {
        return Ok(());
    }
    let root = open_folder(root)?;
    let wanted = real_path(&root, wanted)?;
    // The mount that it is in: the last of the deepest ones.
    let mut over: Option<(PathBuf, &Mount)> = None;
    for mount in mounts {
        let at = real_path(&root, mount.destination())?;
        let depth = |path: &Path| path.components().count();
        let deeper = over.as_ref().is_none_or(|(other, _)| depth(&at) >= depth(other));
        if wanted.starts_with(&at) && deeper {
            over = Some((at, mount));
        }
    }
    let Some((at, mount)) = over else { return make_beneath(root, &wanted, false) };
    // Other file systems are not there yet.
    let (true, Some(source)) = (mount.typ().as_deref() == Some("bind"), mount.source()) else {
        return Ok(());
    };
    let readonly = mount.options().iter().flatten().any(|option| option == "ro");
    let rest = wanted.strip_prefix(&at).unwrap_or_else(|_| Path::new(""));
    match open_folder(source) {
        Ok(volume) => make_beneath(volume, rest, readonly),
        // The mount itself will say so.
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Makes what is missing of a path beneath a folder.
fn make_beneath(folder: OwnedFd, path: &Path, readonly: bool) -> Result<(), Errno> {
    let mut folder = folder;
    for name in path.components().filter_map(name_of) {
        folder = match open_in(&folder, name) {
            Ok(next) => next,
            Err(Errno::NOENT) if readonly => return Err(Errno::ROFS),
            Err(Errno::NOENT) => {
                mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
                open_in(&folder, name)?
            }
            Err(errno) => {
                let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                // In a volume it leads somewhere in the container, which is not there yet.
                let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                return if link { Ok(()) } else { Err(errno) };
            }
        };
    }
    Ok(())
}

fn name_of(part: Component<'_>) -> Option<&OsStr> {
    if let Component::Normal(name) = part { Some(name) } else { None }
}

fn open_in(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Follows the links of a path as inside a root, as far as it is there; returns it from the root.
fn real_path(root: &OwnedFd, path: &Path) -> Result<PathBuf, Errno> {
    let names: Vec<&OsStr> = path.components().filter_map(name_of).collect();
    let outside = path_of(root)?;
    for there in (1..=names.len()).rev() {
        let (head, rest) = names.split_at(there);
        let head: PathBuf = head.iter().collect();
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(root, &head, flags, Mode::empty(), resolve) {
            Ok(found) => {
                let found = path_of(&found)?;
                let inside = found.strip_prefix(&outside).map_err(|_| Errno::XDEV)?;
                let mut real = Path::new("/").join(inside);
                real.extend(rest);
                return Ok(real);
            }
            // A part that is missing, or a link that leads to nothing.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Path::new("/").join(names.iter().collect::<PathBuf>()))
}

/// Where an open folder is, seen from outside.
fn path_of(folder: &OwnedFd) -> Result<PathBuf, Errno> {
    use std::os::unix::ffi::OsStringExt as _;
    let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let target = readlinkat(CWD, link, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use oci_spec::runtime::MountBuilder;

    use super::*;

    struct Rooms {
        base: tempfile::TempDir,
    }

    impl Rooms {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            fs::create_dir_all(base.path().join("root/data")).unwrap();
            fs::create_dir_all(base.path().join("volume")).unwrap();
            fs::write(base.path().join("root/afile"), "x").unwrap();
            symlink("/data", base.path().join("root/link")).unwrap();
            symlink("/../../..", base.path().join("root/out")).unwrap();
            Self { base }
        }

        fn make(&self, wanted: &str, options: &[&str]) -> Result<(), Errno> {
            let mount = MountBuilder::default()
                .destination("/data")
                .typ("bind")
                .source(self.base.path().join("volume"))
                .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
                .build()
                .unwrap();
            make_in(&self.base.path().join("root"), &[mount], Path::new(wanted))
        }

        fn has(&self, path: &str) -> bool {
            self.base.path().join(path).is_dir()
        }
    }

    #[test]
    fn what_is_missing_is_made_in_the_image_or_in_the_volume() {
        let rooms = Rooms::new();
        rooms.make("/", &[]).unwrap();
        rooms.make("/srv/here", &[]).unwrap();
        assert!(rooms.has("root/srv/here"));
        rooms.make("/srv/here", &[]).unwrap();
        let mode = fs::metadata(rooms.base.path().join("root/srv/here")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o700, 0o700);
        rooms.make("/data/deep/er", &[]).unwrap();
        rooms.make("/link/too", &[]).unwrap();
        assert!(rooms.has("volume/deep/er") && rooms.has("volume/too"));
        assert_eq!(fs::read_dir(rooms.base.path().join("root/data")).unwrap().count(), 0);
        rooms.make("/out/beside", &[]).unwrap();
        assert!(rooms.has("root/beside") && !rooms.has("beside"));
    }

    #[test]
    fn files_and_read_only_volumes_are_left_alone() {
        let rooms = Rooms::new();
        assert_eq!(rooms.make("/afile", &[]), Err(Errno::NOTDIR));
        assert_eq!(rooms.make("/afile/x", &[]), Err(Errno::NOTDIR));
        assert_eq!(rooms.make("/data/x", &["rbind", "ro"]), Err(Errno::ROFS));
        assert!(!rooms.has("volume/x"));
        rooms.make("/data", &["rbind", "ro"]).unwrap();
        fs::write(rooms.base.path().join("volume/file"), "x").unwrap();
        assert_eq!(rooms.make("/data/file", &[]), Err(Errno::NOTDIR));
    }
}
