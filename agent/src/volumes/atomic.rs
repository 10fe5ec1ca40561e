//! Replaces the files of a volume at once, as the kubelet does: they live in a numbered folder,
//! `..data` points at it, and names point into `..data`.
//!
//! Knows nothing of where the files come from.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use bramble_agent_core::volume::VolumeFile;
use bramble_shared::link::Pod;

use super::give_to_group;
use crate::remove_folder::remove_folder;

/// Replaces a volume's content so that a reader sees all of the old or all of the new.
pub(super) fn write(root: &Path, files: &[VolumeFile], pod: &Pod) -> io::Result<()> {
    let data = root.join("..data");
    let current = fs::read_link(&data).ok();
    if let Some(current) = &current
        && same_content(&root.join(current), files)
    {
        return Ok(());
    }
    let number = current
        .as_ref()
        .and_then(|name| name.to_str()?.strip_prefix("..")?.parse::<u64>().ok())
        .unwrap_or(0);
    let name = format!("..{}", number.saturating_add(1));
    let fresh = root.join(&name);
    remove_folder(&fresh)?;
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for file in files {
        let path = fresh.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, &file.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if file.owner.is_some() {
            chown(&path, file.owner, None)?;
        }
        give_to_group(&path, pod)?;
    }
    let pointer = root.join("..data.new");
    match fs::remove_file(&pointer) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(&name, &pointer)?;
    fs::rename(&pointer, &data)?;
    let mut names: Vec<&str> =
        files.iter().filter_map(|file| file.path.split('/').next()).collect();
    names.sort_unstable();
    names.dedup();
    for entry in fs::read_dir(root)?.flatten() {
        let present = entry.file_name();
        let present = present.to_string_lossy();
        if !present.starts_with("..") && !names.contains(&present.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), &link)?;
        }
    }
    if let Some(old) = current {
        remove_folder(&root.join(old))?;
    }
    Ok(())
}

fn same_content(root: &Path, files: &[VolumeFile]) -> bool {
    let same = |file: &VolumeFile| {
        fs::read(root.join(&file.path)).is_ok_and(|content| content == file.content)
    };
    count_files(root) == files.len() && files.iter().all(same)
}

fn count_files(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    entries
        .flatten()
        .map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 })
        .sum()
}

#[cfg(test)]
mod tests {
    use bramble_agent_core::pod_worker::example::pod;

    use super::*;

    fn files(entries: &[(&str, &str)]) -> Vec<VolumeFile> {
        let file = |(path, content): &(&str, &str)| VolumeFile {
            path: (*path).to_owned(),
            mode: 0o640,
            owner: None,
            content: content.as_bytes().to_vec(),
        };
        entries.iter().map(file).collect()
    }

    #[test]
    fn content_is_replaced_at_once_and_old_names_go() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path();
        let put = |entries: &[(&str, &str)]| write(root, &files(entries), &pod()).unwrap();
        put(&[("a", "1"), ("b", "2"), ("deep/er", "x")]);
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(root.join("deep/er")).unwrap(), "x");
        let first = fs::read_link(root.join("..data")).unwrap();
        put(&[("a", "1"), ("b", "2"), ("deep/er", "x")]);
        assert_eq!(fs::read_link(root.join("..data")).unwrap(), first, "nothing has changed");
        put(&[("a", "3"), ("c", "4")]);
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(root.join("c")).unwrap(), "4");
        assert!(fs::symlink_metadata(root.join("b")).is_err());
        assert!(fs::symlink_metadata(root.join("deep")).is_err());
        assert!(!root.join(first).exists(), "the old folder is gone");
        let mode = fs::metadata(root.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
