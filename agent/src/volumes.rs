//! Makes, fills and removes the volumes of a pod.
//!
//! Which files the node writes into a volume is decided in the core. What is confidential and memory
//! volumes are tmpfs mounts, so nothing of them reaches the card.

mod atomic;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bramble_agent_core::environment::World;
use bramble_agent_core::volume::{self, FillVolumeError, Tokens, VolumeFile};
use bramble_shared::link::{Mount, Pod, Volume, VolumeSource};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::remove_folder::remove_folder;

/// Room of a tmpfs for each source of its files, in bytes: the largest Secret (1 MiB) twice, since an
/// update needs both.
const SECRET_BYTES: u64 = 4 << 20;

/// The folders of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodFolders {
    /// On disk: `emptyDir`s and writable layers.
    pub(crate) disk: PathBuf,
    /// On the run directory's tmpfs: everything else.
    pub(crate) memory: PathBuf,
}

/// Why a volume cannot be used; the text belongs on the pod.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// Its content is missing.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Fill { volume: String, source: FillVolumeError },
    /// The system refuses.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    System { volume: String, source: io::Error },
    /// A hostPath is not what `type` says.
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : hostPath type check failed: {path} {why}"
    )]
    HostPath { volume: String, path: String, why: &'static str },
    /// A mount names a volume that the pod lacks.
    #[error("volume \"{volume}\" is not a volume of the pod")]
    NoVolume { volume: String },
    /// A subPath leads out of its volume.
    #[error("failed to prepare subPath \"{path}\" for volume \"{volume}\": {why}")]
    SubPath { volume: String, path: String, why: String },
}

impl PodFolders {
    /// Names the folders without touching them.
    pub(crate) fn new(data_dir: &Path, run_dir: &Path, uid: &str) -> Self {
        Self { disk: data_dir.join("pods").join(uid), memory: run_dir.join("pods").join(uid) }
    }

    fn disk_volume(&self, name: &str) -> PathBuf {
        self.disk.join("volumes").join(name)
    }

    fn memory_volume(&self, name: &str) -> PathBuf {
        self.memory.join("volumes").join(name)
    }

    /// Where a volume is on the node.
    pub(crate) fn volume(&self, volume: &Volume) -> PathBuf {
        match &volume.source {
            VolumeSource::EmptyDir { memory: false, .. } => self.disk_volume(&volume.name),
            VolumeSource::EmptyDir { memory: true, .. } | VolumeSource::Files { .. } => {
                self.memory_volume(&volume.name)
            }
            VolumeSource::HostPath { path, .. } => PathBuf::from(path),
        }
    }
}

/// The files of the volumes that the node writes, or why they cannot be made, by the volume's name.
pub(crate) type Contents = BTreeMap<String, Result<Vec<VolumeFile>, FillVolumeError>>;

/// Works out what belongs into the volumes that the node writes. Touches no disk.
pub(crate) fn contents(pod: &Pod, world: &World<'_>, tokens: &Tokens) -> Contents {
    let written = pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Files { mode, sources } => {
            let files = volume::files(pod, *mode, sources, world, tokens);
            Some((volume.name.clone(), files))
        }
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => None,
    });
    written.collect()
}

/// Makes all volumes of a pod; those that are there already are brought up to date.
///
/// # Errors
///
/// The first that cannot be made, with the kubelet's text.
pub(crate) fn set_up(
    folders: &PodFolders,
    pod: &Pod,
    contents: &Contents,
) -> Result<(), VolumeError> {
    for volume in &pod.volumes {
        set_up_one(folders, pod, volume, contents)?;
    }
    Ok(())
}

/// Brings the files up to date that the node writes; everything else is the containers' own by now.
/// Returns what could not be: such a volume keeps what it has, as with the kubelet.
pub(crate) fn update(folders: &PodFolders, pod: &Pod, contents: &Contents) -> Vec<VolumeError> {
    let written = pod.volumes.iter().filter(|volume| contents.contains_key(&volume.name));
    written.filter_map(|volume| set_up_one(folders, pod, volume, contents).err()).collect()
}

fn set_up_one(
    folders: &PodFolders,
    pod: &Pod,
    volume: &Volume,
    contents: &Contents,
) -> Result<(), VolumeError> {
    let system = |source| VolumeError::System { volume: volume.name.clone(), source };
    let path = folders.volume(volume);
    match &volume.source {
        VolumeSource::EmptyDir { memory, size_limit } => {
            fs::create_dir_all(&path).map_err(system)?;
            if *memory {
                mount_memory(&path, *size_limit).map_err(system)?;
            }
            // Anyone in the pod may write, as upstream.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(system)?;
            give_to_group(&path, pod).map_err(system)
        }
        VolumeSource::Files { sources, .. } => {
            let Some(files) = contents.get(&volume.name) else { return Ok(()) };
            let files = files.as_ref().map_err(|source| VolumeError::Fill {
                volume: volume.name.clone(),
                source: source.clone(),
            })?;
            fs::create_dir_all(&path).map_err(system)?;
            if volume::confidential(sources) {
                let sources = u64::try_from(sources.len()).unwrap_or(u64::MAX);
                mount_memory(&path, Some(SECRET_BYTES.saturating_mul(sources))).map_err(system)?;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(system)?;
            atomic::write(&path, files, pod).map_err(system)
        }
        VolumeSource::HostPath { path, kind } => host_path(&volume.name, path, kind),
    }
}

fn mount_memory(path: &Path, size_limit: Option<u64>) -> io::Result<()> {
    let options = match size_limit {
        Some(bytes) => format!("size={bytes},mode=0777"),
        None => "mode=0777".to_owned(),
    };
    mount_tmpfs(path, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, &options)
}

/// Mounts memory at a folder, unless something is mounted there already.
pub(crate) fn mount_tmpfs(path: &Path, flags: MsFlags, options: &str) -> io::Result<()> {
    if is_mount(path)? {
        return Ok(());
    }
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))?;
    Ok(())
}

/// Whether something is mounted at a path itself.
fn is_mount(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let parent = path.parent().unwrap_or(path);
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

fn give_to_group(path: &Path, pod: &Pod) -> io::Result<()> {
    let Some(group) = pod.security.fs_group else { return Ok(()) };
    std::os::unix::fs::lchown(path, None, Some(group))?;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        // New files belong to the group, too.
        let mode = metadata.permissions().mode() | 0o2070;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    } else if metadata.is_file() {
        let mode = metadata.permissions().mode() | 0o040;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn host_path(volume: &str, path: &str, kind: &str) -> Result<(), VolumeError> {
    let refuse =
        |why| Err(VolumeError::HostPath { volume: volume.to_owned(), path: path.to_owned(), why });
    let system = |source| VolumeError::System { volume: volume.to_owned(), source };
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return refuse("is not an absolute path without '..'");
    }
    let found = fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(test);
    match kind {
        "" => Ok(()),
        "DirectoryOrCreate" if found.is_none() => {
            fs::create_dir_all(path).map_err(system)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(system)
        }
        "FileOrCreate" if found.is_none() => {
            fs::write(path, "").map_err(system)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(system)
        }
        "Directory" | "DirectoryOrCreate" if is(fs::FileType::is_dir) => Ok(()),
        "Directory" | "DirectoryOrCreate" => refuse("is not a directory"),
        "File" | "FileOrCreate" if is(fs::FileType::is_file) => Ok(()),
        "File" | "FileOrCreate" => refuse("is not a file"),
        "Socket" if is(fs::FileType::is_socket) => Ok(()),
        "Socket" => refuse("is not a socket file"),
        "CharDevice" if is(fs::FileType::is_char_device) => Ok(()),
        "CharDevice" => refuse("is not a character device"),
        "BlockDevice" if is(fs::FileType::is_block_device) => Ok(()),
        "BlockDevice" => refuse("is not a block device"),
        _ => refuse("has an unknown type"),
    }
}

/// Where on the node a container's mount comes from.
///
/// A `subPath` that is not there is made as a folder. It is resolved with all symbolic links and
/// must end up beneath its volume.
///
/// # Errors
///
/// When there is no such volume, or the path leads out of it.
pub(crate) fn mount_source(
    folders: &PodFolders,
    pod: &Pod,
    mount: &Mount,
) -> Result<PathBuf, VolumeError> {
    let volume = pod
        .volumes
        .iter()
        .find(|volume| volume.name == mount.volume)
        .ok_or_else(|| VolumeError::NoVolume { volume: mount.volume.clone() })?;
    let root = folders.volume(volume);
    if mount.sub_path.is_empty() {
        if let VolumeSource::HostPath { kind, path } = &volume.source
            && kind.is_empty()
            && !root.exists()
        {
            // Without a type a missing hostPath becomes a folder, as container engines do.
            let source = |source| VolumeError::System { volume: path.clone(), source };
            fs::create_dir_all(&root).map_err(source)?;
        }
        return Ok(root);
    }
    let refuse = |why: String| VolumeError::SubPath {
        volume: volume.name.clone(),
        path: mount.sub_path.clone(),
        why,
    };
    if mount.sub_path.starts_with('/') || mount.sub_path.split('/').any(|part| part == "..") {
        return Err(refuse("must be a relative path without '..'".to_owned()));
    }
    let root = fs::canonicalize(&root).map_err(|error| refuse(error.to_string()))?;
    let wanted = root.join(&mount.sub_path);
    if fs::symlink_metadata(&wanted).is_err() {
        make_beneath(&root, &mount.sub_path).map_err(|error| refuse(error.to_string()))?;
    }
    let real = fs::canonicalize(&wanted).map_err(|error| refuse(error.to_string()))?;
    match real.starts_with(&root) {
        true => Ok(real),
        false => Err(refuse("it leads out of the volume".to_owned())),
    }
}

/// Makes a folder beneath `root`, refusing to walk through symbolic links that leave it.
fn make_beneath(root: &Path, path: &str) -> io::Result<()> {
    let mut current = root.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        current.push(part);
        match fs::create_dir(&current) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if !fs::canonicalize(&current)?.starts_with(root) {
            return Err(io::Error::other("a symbolic link leads out of the volume"));
        }
    }
    Ok(())
}

/// Takes down all mounts at and beneath a folder, deepest first, and removes the folder.
///
/// # Errors
///
/// The first refusal, after everything has been tried.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let mut first = None;
    for path in mounts_at(folder) {
        if let Err(error) = umount2(&path, MntFlags::MNT_DETACH) {
            first.get_or_insert_with(|| io::Error::from(error));
        }
    }
    // Nothing is removed through a mount that stayed: it may be a user's disk.
    if mounts_at(folder).is_empty()
        && let Err(error) = remove_folder(folder)
    {
        first.get_or_insert(error);
    }
    first.map_or(Ok(()), Err)
}

fn mounts_at(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(folder))
        .collect();
    found.sort();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use bramble_agent_core::pod_worker::example::pod;
    use bramble_shared::link::DataKind;

    fn folders(base: &Path) -> PodFolders {
        PodFolders::new(&base.join("data"), &base.join("run"), "u1")
    }

    fn files_pod() -> Pod {
        let mut pod = pod();
        let source = VolumeSource::Files { mode: 0o640, sources: vec![] };
        pod.volumes = vec![
            Volume { name: "cfg".to_owned(), source: source.clone() },
            Volume { name: "other".to_owned(), source },
        ];
        pod
    }

    fn file(content: &str) -> Vec<VolumeFile> {
        vec![VolumeFile {
            path: "a".to_owned(),
            mode: 0o640,
            owner: None,
            content: content.as_bytes().to_vec(),
        }]
    }

    #[test]
    fn volume_that_cannot_be_filled_is_told_and_holds_up_no_other_once_the_pod_runs() {
        let base = tempfile::tempdir().unwrap();
        let (folders, pod) = (folders(base.path()), files_pod());
        let missing =
            FillVolumeError::NotFound { kind: DataKind::ConfigMap, name: "settings".to_owned() };
        let mut contents: Contents =
            [("cfg".to_owned(), Err(missing)), ("other".to_owned(), Ok(file("1")))].into();
        let error = set_up(&folders, &pod, &contents).unwrap_err();
        let text = "MountVolume.SetUp failed for volume \"cfg\" : configmap \"settings\" not found";
        assert_eq!(error.to_string(), text);
        let errors = update(&folders, &pod, &contents);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        let of = |index: usize| fs::read_to_string(folders.volume(&pod.volumes[index]).join("a"));
        assert_eq!(of(1).unwrap(), "1");
        assert!(of(0).is_err());
        contents.insert("cfg".to_owned(), Ok(file("2")));
        assert!(update(&folders, &pod, &contents).is_empty());
        assert_eq!(of(0).unwrap(), "2");
    }

    #[test]
    fn sub_paths_stay_beneath_their_volume() {
        let base = tempfile::tempdir().unwrap();
        let folders = folders(base.path());
        let mut pod = pod();
        pod.volumes = vec![Volume {
            name: "scratch".to_owned(),
            source: VolumeSource::EmptyDir { memory: false, size_limit: None },
        }];
        set_up(&folders, &pod, &Contents::new()).unwrap();
        let root = folders.volume(&pod.volumes[0]);
        symlink("/etc", root.join("out")).unwrap();
        let source = |sub_path: &str| {
            let mount = Mount {
                volume: "scratch".to_owned(),
                path: "/x".to_owned(),
                sub_path: sub_path.to_owned(),
                sub_path_expr: String::new(),
                read_only: false,
            };
            mount_source(&folders, &pod, &mount)
        };
        assert!(source("deep/er").unwrap().is_dir());
        assert!(source("out").is_err());
        assert!(source("out/new").is_err());
        assert!(source("../x").is_err());
        assert!(!Path::new("/etc/new").exists());
        remove(&folders.disk).unwrap();
        assert!(!folders.disk.exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn host_paths_are_what_their_type_says() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name).to_string_lossy().into_owned();
        assert!(host_path("v", &path("new"), "DirectoryOrCreate").is_ok());
        assert!(host_path("v", &path("new"), "Directory").is_ok());
        let error = host_path("v", &path("new"), "File").unwrap_err();
        assert!(error.to_string().contains("hostPath type check failed"), "{error}");
        assert!(host_path("v", &path("none"), "Directory").is_err());
        assert!(host_path("v", "relative", "").is_err());
    }
}
