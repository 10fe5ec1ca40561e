//! Removes a folder with everything in it, however deep it is.
//!
//! A container can nest more folders than there are descriptors, so nothing here recurses: each
//! folder found is moved beside the first one and emptied from there. Symlinks are removed and
//! never followed.

use std::{io, os::fd::AsFd, path::Path};

use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

/// Removes `path`, and what an interrupted removal left beside it. A missing folder is fine.
///
/// # Errors
/// Something could not be removed, such as a mount point. The rest is kept for the next attempt.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = match fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut pile_name = name.to_owned();
    pile_name.push(".removing");
    match fs::mkdirat(&parent, pile_name.as_os_str(), Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let pile = fs::openat(&parent, pile_name.as_os_str(), flags, Mode::empty())?;
    let mut count = 0_u64;
    move_to(parent.as_fd(), name.as_encoded_bytes(), pile.as_fd(), &mut count)?;
    while empty_pile(pile.as_fd(), &mut count)? {}
    Ok(fs::unlinkat(&parent, pile_name.as_os_str(), AtFlags::REMOVEDIR)?)
}

/// Empties each folder of the pile by one level. Returns false once the pile is empty.
fn empty_pile(pile: std::os::fd::BorrowedFd<'_>, count: &mut u64) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut found = false;
    for name in names(pile)? {
        found = true;
        if !remove(pile, &name)? {
            let folder = fs::openat(pile, name.as_slice(), flags, Mode::empty())?;
            for child in names(folder.as_fd())? {
                if !remove(folder.as_fd(), &child)? {
                    move_to(folder.as_fd(), &child, pile, count)?;
                }
            }
            remove(pile, &name)?;
        }
    }
    Ok(found)
}

/// Removes a file or an empty folder. Returns false for a folder that is not empty.
fn remove(parent: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn move_to(
    from: std::os::fd::BorrowedFd<'_>,
    name: &[u8],
    pile: std::os::fd::BorrowedFd<'_>,
    count: &mut u64,
) -> io::Result<()> {
    loop {
        let target = count.to_string();
        *count += 1;
        match fs::renameat_with(from, name, pile, target, fs::RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Left by an interrupted removal.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn names(folder: std::os::fd::BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_deeper_than_there_are_descriptors_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("top");
        std::fs::create_dir(&top).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut folder = fs::openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            fs::mkdirat(&folder, "d", Mode::from_raw_mode(0o700)).unwrap();
            folder = fs::openat(&folder, "d", flags, Mode::empty()).unwrap();
        }
        drop(folder);
        remove_tree(&top).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn symlinks_are_removed_and_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (top, outside) = (home.path().join("top"), home.path().join("outside"));
        std::fs::create_dir_all(top.join("a")).unwrap();
        std::fs::write(&outside, "kept").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("a/link")).unwrap();
        std::os::unix::fs::symlink("/", top.join("root")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "kept");
    }

    #[test]
    fn missing_tree_is_fine() {
        let home = tempfile::tempdir().unwrap();
        remove_tree(&home.path().join("none")).unwrap();
        remove_tree(&home.path().join("none/none")).unwrap();
    }
}
