//! Makes a container's root folder out of an image's layers, with overlayfs.
//!
//! ```text
//!  <container dir>/rootfs   the mounted root
//!                 /upper    what the container writes; gone with it
//!                 /work     overlayfs' own
//!                 /image    digest of the image, for garbage collection
//! ```
//! Both calls block and must run as root. Nothing is kept in memory, so an agent that starts again
//! can unmount what the one before mounted.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

use crate::{Digest, Image, ImageStore, implied, remove_tree::remove_tree};

/// Mounts a fresh root for one container and returns its path.
///
/// What an earlier root in `container_dir` held is removed first.
///
/// # Errors
/// Overlayfs refused, or a folder of the image that the runtime mounts on is not a real folder.
/// Nothing stays mounted then.
pub fn mount_root(
    store: &ImageStore,
    image: &Image,
    container_dir: &Path,
) -> Result<PathBuf, MountRootError> {
    unmount_root(container_dir)?;
    let rootfs = container_dir.join("rootfs");
    let failed = |source| MountRootError::Mount { path: rootfs.clone(), source };
    for name in ["rootfs", "upper", "work"] {
        let folder = container_dir.join(name);
        fs::create_dir_all(&folder).map_err(failed)?;
        // The root of the container shows the mode of `upper`.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    // Before the mount: nothing of an image may go while it is somewhere's root.
    fs::write(container_dir.join("image"), image.digest.to_string()).map_err(failed)?;
    let mut lower = topmost(store.layer_paths(image));
    if lower.is_empty() {
        // An image of no layers still needs something below.
        let empty = container_dir.join("empty");
        fs::create_dir_all(&empty).map_err(failed)?;
        lower.push(empty);
    }
    let mounted = mount(&lower, container_dir, &rootfs)
        .and_then(|()| implied::restore(&rootfs, &lower))
        .map_err(failed)
        .and_then(|()| check_root(&rootfs));
    match mounted {
        Ok(()) => Ok(rootfs),
        Err(error) => {
            // The first error is the one to tell; a failing clean-up is met again by the next one.
            if let Err(error) = unmount_root(container_dir) {
                tracing::warn!(path = %container_dir.display(), %error, "could not clean up after a failed mount");
            }
            Err(error)
        }
    }
}

/// Returns the image of the root that is in a container's folder, `None` if there is no root.
///
/// # Errors
/// There is a root and it cannot be told of what.
pub fn mounted_image(container_dir: &Path) -> io::Result<Option<Digest>> {
    if !container_dir.join("rootfs").try_exists()? {
        return Ok(None);
    }
    let text = fs::read_to_string(container_dir.join("image"))?;
    text.trim().parse().map(Some).map_err(io::Error::other)
}

/// Unmounts a container's root and removes what it wrote. Doing it again is fine.
///
/// # Errors
/// Something is still mounted or could not be removed; the rest is removed all the same.
pub fn unmount_root(container_dir: &Path) -> Result<(), UnmountRootError> {
    let rootfs = container_dir.join("rootfs");
    let failed = |path: &Path, source| UnmountRootError { path: path.to_owned(), source };
    // More than once if a mount was stacked on it; bounded in case another one keeps mounting.
    for _ in 0..MOUNTS_MAX {
        match rustix::mount::unmount(&rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Not mounted, or not there.
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => break,
            Err(errno) => return Err(failed(&rootfs, errno.into())),
        }
    }
    // Never with its content: if it were still mounted, that would be the image's layers.
    let mut outcome = match fs::remove_dir(&rootfs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&rootfs, error)),
        Ok(()) | Err(_) => Ok(()),
    };
    for name in ["upper", "work", "empty"] {
        let folder = container_dir.join(name);
        if let Err(error) = remove_tree(&folder) {
            outcome = outcome.and_then(|()| Err(failed(&folder, error)));
        }
    }
    let note = container_dir.join("image");
    match fs::remove_file(&note) {
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            outcome = outcome.and_then(|()| Err(failed(&note, error)));
        }
        Ok(()) | Err(_) => {}
    }
    outcome
}

/// Layers from the highest to the lowest, each once: overlayfs takes none twice. The highest place
/// of a layer counts, since all that it has at a lower one is hidden by itself.
fn topmost(layers: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::with_capacity(layers.len());
    for layer in layers.into_iter().rev() {
        if !found.contains(&layer) {
            found.push(layer);
        }
    }
    found
}

/// Mounts with real paths where they fit into a page of options, else through descriptors.
fn mount(lower: &[PathBuf], container_dir: &Path, rootfs: &Path) -> io::Result<()> {
    let (upper, work) = (container_dir.join("upper"), container_dir.join("work"));
    let plain = options(lower, &upper, &work);
    let special = |path: &Path| {
        path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b':' | b',' | b'\\' | b'"'))
    };
    let all = || lower.iter().map(PathBuf::as_path).chain([upper.as_path(), work.as_path()]);
    // The descriptors must live until the mount is made.
    let (data, _open) = if plain.len() <= OPTIONS_LEN_MAX && !all().any(special) {
        (plain, Vec::new())
    } else {
        let open = all().map(open_folder).collect::<io::Result<Vec<OwnedFd>>>()?;
        let mut paths: Vec<PathBuf> = open
            .iter()
            .map(|folder| format!("/proc/self/fd/{}", folder.as_raw_fd()).into())
            .collect();
        let (work, upper) = (paths.pop().unwrap_or_default(), paths.pop().unwrap_or_default());
        (options(&paths, &upper, &work), open)
    };
    let data = CString::new(data)?;
    Ok(rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::empty(), data.as_c_str())?)
}

fn options(lower: &[PathBuf], upper: &Path, work: &Path) -> Vec<u8> {
    let lower: Vec<&[u8]> = lower.iter().map(|path| path.as_os_str().as_bytes()).collect();
    // `volatile`: what a container wrote to its root is not kept over a power cut anyway, so a
    // sync in it need not wear the card. The rest is off whatever the kernel was built with, since
    // the lower folders are written by us and hold none of it.
    [
        b"index=off,metacopy=off,redirect_dir=nofollow,volatile,lowerdir=".as_slice(),
        &lower.join(&b':'),
        b",upperdir=",
        upper.as_os_str().as_bytes(),
        b",workdir=",
        work.as_os_str().as_bytes(),
    ]
    .concat()
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Refuses an image in which a place that the runtime mounts on would lead elsewhere, and makes
/// those that are missing.
fn check_root(rootfs: &Path) -> Result<(), MountRootError> {
    let failed =
        |errno: Errno| MountRootError::Mount { path: rootfs.to_owned(), source: errno.into() };
    let root = open_folder(rootfs)
        .map_err(|source| MountRootError::Mount { path: rootfs.to_owned(), source })?;
    for name in MOUNT_POINTS {
        match rustix::fs::statat(&root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let resolve =
                    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::openat2(root.as_fd(), name, flags, Mode::empty(), resolve)
                    .map_err(failed)?;
            }
            Ok(_) => return Err(MountRootError::NotAFolder { name }),
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&root, name, Mode::from_raw_mode(0o755)).map_err(failed)?
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Why a container's root could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountRootError {
    /// A folder could not be made, or the kernel refused the mount.
    #[error("could not mount container root `{}`", path.display())]
    Mount {
        /// The root.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The image has a symlink or file where the runtime mounts.
    #[error("image is refused: `/{name}` in it is not a real directory")]
    NotAFolder {
        /// The place, without its slash.
        name: &'static str,
    },
    /// What an earlier root left could not be removed.
    #[error(transparent)]
    Clear(#[from] UnmountRootError),
}

/// Why a container's root could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("could not unmount or remove `{}`", path.display())]
pub struct UnmountRootError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Where the runtime mounts, or writes `resolv.conf` and `hosts`.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "sys", "etc", "run"];

/// The kernel takes one page of options, and the smallest page is 4,096 bytes.
const OPTIONS_LEN_MAX: usize = 4_000;

/// Nobody stacks more on a container's root.
const MOUNTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TarBuilder, TestStore};

    fn mounts_under(path: &Path) -> usize {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts
            .lines()
            .filter(|line| line.split(' ').nth(1).unwrap().starts_with(path.to_str().unwrap()))
            .count()
    }

    #[test]
    fn layers_are_merged_and_nothing_is_left_behind() {
        let home = TestStore::new();
        let lower = TarBuilder::new()
            .folder("etc", 0o755)
            .file("etc/a", b"low")
            .file("gone", b"x")
            .folder("old", 0o755)
            .file("old/x", b"x");
        let upper = TarBuilder::new()
            .file("etc/a", b"high")
            .file(".wh.gone", b"")
            .folder("old", 0o755)
            .file("old/.wh..wh..opq", b"")
            .file("old/y", b"y");
        let image = home.image("merged", &[lower.finish(), upper.finish()]);
        let container = home.path().join("container");
        let rootfs = mount_root(&home.store, &image, &container).unwrap();
        assert_eq!(fs::read(rootfs.join("etc/a")).unwrap(), b"high");
        assert!(!rootfs.join("gone").exists());
        assert_eq!(fs::read_dir(rootfs.join("old")).unwrap().count(), 1);
        for name in MOUNT_POINTS {
            assert!(rootfs.join(name).is_dir());
        }
        assert_eq!(mounted_image(&container).unwrap(), Some(image.digest));
        fs::write(rootfs.join("new"), "1").unwrap();
        assert_eq!(mount_root(&home.store, &image, &container).unwrap(), rootfs);
        assert!(!rootfs.join("new").exists(), "a mounted root is fresh");
        unmount_root(&container).unwrap();
        unmount_root(&container).unwrap();
        assert_eq!(mounted_image(&container).unwrap(), None);
        assert_eq!(fs::read_dir(&container).unwrap().count(), 0);
        assert_eq!(mounts_under(home.path()), 0);
    }

    #[test]
    fn a_layer_that_an_image_lists_twice_is_where_it_is_highest() {
        let home = TestStore::new();
        let file = |content: &[u8]| TarBuilder::new().file("f", content).finish();
        let empty = TarBuilder::new().finish();
        let (a, b) = (file(b"a"), file(b"b"));
        let hides = TarBuilder::new().file(".wh.f", b"").file("g", b"").finish();
        for (name, layers, expected) in [
            ("twice", vec![empty.clone(), a.clone(), empty], Some(b"a")),
            ("aba", vec![a.clone(), b.clone(), a.clone()], Some(b"a")),
            ("hidden", vec![a.clone(), hides.clone(), b, hides.clone()], None),
            ("shown", vec![hides.clone(), a.clone(), hides, a], Some(b"a")),
        ] {
            let image = home.image(name, &layers);
            let container = home.path().join(name);
            let rootfs = mount_root(&home.store, &image, &container).unwrap();
            let found = fs::read(rootfs.join("f")).ok();
            assert_eq!(found.as_deref(), expected.map(|content| content.as_slice()), "{name}");
            unmount_root(&container).unwrap();
        }
    }

    #[test]
    fn folders_that_only_a_lower_layer_describes_keep_what_it_says() {
        let home = TestStore::new();
        let below = TarBuilder::new()
            .folder("tmp", 0o1777)
            .folder("home", 0o755)
            .pax(&[("SCHILY.xattr.user.k", b"v")])
            .folder("home/app", 0o750)
            .folder("gone", 0o700)
            .folder("new", 0o700);
        let between = TarBuilder::new().file("tmp/x", b"").file(".wh.gone", b"");
        let above = TarBuilder::new()
            .file("tmp/seed", b"s")
            .file("home/app/deep/x", b"x")
            .file("gone/x", b"x")
            .file("new/x", b"x")
            .folder("new", 0o711);
        let layers = [below.finish(), between.finish(), above.finish()];
        let image = home.image("implied", &layers);
        let container = home.path().join("container");
        let rootfs = mount_root(&home.store, &image, &container).unwrap();
        let found = |path: &str| {
            let stat = fs::metadata(rootfs.join(path)).unwrap();
            (stat.permissions().mode() & 0o7777, std::os::unix::fs::MetadataExt::uid(&stat))
        };
        assert_eq!(found("tmp"), (0o1777, 1000));
        assert_eq!(found("home/app"), (0o750, 1000));
        assert_eq!(found("home/app/deep"), (0o755, 0), "nobody describes it");
        assert_eq!(found("gone"), (0o755, 0), "what describes it is hidden");
        assert_eq!(found("new"), (0o711, 1000), "its own layer describes it");
        let mut value = [0; 8];
        let len = rustix::fs::getxattr(rootfs.join("home/app"), "user.k", &mut value).unwrap();
        assert_eq!(&value[..len], b"v");
        for path in ["tmp/x", "tmp/seed", "home/app/deep/x", "gone/x", "new/x"] {
            assert!(rootfs.join(path).is_file(), "{path}");
        }
        unmount_root(&container).unwrap();
    }

    #[test]
    fn image_without_layers_has_an_empty_root() {
        let home = TestStore::new();
        let image = home.image("scratch", &[]);
        let container = home.path().join("container");
        let rootfs = mount_root(&home.store, &image, &container).unwrap();
        assert_eq!(fs::read_dir(rootfs).unwrap().count(), MOUNT_POINTS.len());
        unmount_root(&container).unwrap();
    }

    #[test]
    fn many_layers_and_odd_paths_are_mounted_through_descriptors() {
        let home = TestStore::new();
        let layers: Vec<Vec<u8>> = (0..100)
            .map(|number| TarBuilder::new().file(&format!("f{number}"), b"x").finish())
            .collect();
        let image = home.image("deep", &layers);
        let container = home.path().join("with, and: odd");
        let rootfs = mount_root(&home.store, &image, &container).unwrap();
        assert!((0..100).all(|number| rootfs.join(format!("f{number}")).is_file()));
        unmount_root(&container).unwrap();
        assert_eq!(mounts_under(home.path()), 0);
    }

    #[test]
    fn root_with_a_symlink_where_the_runtime_mounts_is_refused() {
        let home = TestStore::new();
        for name in MOUNT_POINTS {
            let layer = TarBuilder::new().symlink(name, "/").finish();
            let image = home.image("evil", &[layer]);
            let container = home.path().join("container");
            let refused = mount_root(&home.store, &image, &container).unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
            assert_eq!(fs::read_dir(&container).unwrap().count(), 0);
        }
        assert_eq!(mounts_under(home.path()), 0);
    }
}
