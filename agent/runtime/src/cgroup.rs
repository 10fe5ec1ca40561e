//! Looks at, signals, freezes and removes cgroups, on v1, hybrid and v2 hosts alike.
//!
//! Joining cgroups and setting limits is libcontainer's part. A cgroup is named by its absolute
//! path without the mount point; on v1 the same path exists once per controller.

mod limits;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::signals;

pub use limits::SetLimitsError;

/// The cgroup file systems of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// The kernel has cgroup namespaces.
    namespaces: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    controllers: Vec<String>,
}

impl Cgroups {
    /// Finds the mounted cgroup file systems.
    ///
    /// # Errors
    /// When the mount table cannot be read, or it has no cgroup file system.
    pub fn detect() -> io::Result<Self> {
        let mut found = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        found.namespaces = Path::new("/proc/self/ns/cgroup").exists();
        if found.hierarchies.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup file system is mounted",
            ));
        }
        Ok(found)
    }

    pub(crate) fn parse(mountinfo: &str) -> Self {
        let hierarchies = mountinfo
            .lines()
            .filter_map(|line| {
                let (place, kind) = line.split_once(" - ")?;
                let mount = PathBuf::from(place.split(' ').nth(4)?);
                if !mount.starts_with(ROOT) {
                    // A container may have mounted one anywhere.
                    return None;
                }
                let mut kind = kind.split(' ');
                let unified = match kind.next()? {
                    "cgroup" => false,
                    "cgroup2" => true,
                    _ => return None,
                };
                let options = kind.nth(1).unwrap_or_default();
                let controllers = options.split(',').map(str::to_owned).collect();
                Some(Hierarchy { mount, unified, controllers })
            })
            .collect();
        Self { hierarchies, namespaces: false }
    }

    /// Whether everything is in the one v2 hierarchy: the same test as libcontainer's.
    #[must_use]
    pub fn unified(&self) -> bool {
        self.hierarchies
            .iter()
            .any(|hierarchy| hierarchy.unified && hierarchy.mount == Path::new(ROOT))
    }

    /// Whether the kernel has cgroup namespaces.
    pub(crate) fn namespaces(&self) -> bool {
        self.namespaces
    }

    /// Where a container's cgroup is on v2, whether it is there already or not.
    pub(crate) fn unified_directory(path: &str) -> PathBuf {
        Path::new(ROOT).join(path.trim_start_matches('/'))
    }

    /// The cgroups on v1 that libcontainer makes and joins for a container, by their names.
    ///
    /// Named hierarchies and v2's without controllers on a hybrid host are left out: a container
    /// is in the runtime's cgroup there.
    pub(crate) fn joined_directories(&self, path: &str) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for hierarchy in self.hierarchies.iter().filter(|hierarchy| !hierarchy.unified) {
            let Some(name) = hierarchy.mount.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let parts: Vec<&str> =
                name.split(',').filter(|part| CONTROLLERS_JOINED.contains(part)).collect();
            if parts.is_empty() {
                continue;
            }
            found.push((name.to_owned(), hierarchy.directory(path)));
            // Controllers that are mounted together are found under each name, too.
            let others = parts.into_iter().filter(|part| *part != name);
            found.extend(others.map(|part| (part.to_owned(), hierarchy.directory(path))));
        }
        found
    }

    /// Where a container's cgroup of one controller is on v1.
    pub(crate) fn directory_of(&self, controller: &str, path: &str) -> Option<PathBuf> {
        self.hierarchies
            .iter()
            .find(|hierarchy| !hierarchy.unified && hierarchy.has(controller))
            .map(|hierarchy| hierarchy.directory(path))
    }

    /// Makes a cgroup in every hierarchy.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create(&self, path: &str) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            fs::create_dir_all(hierarchy.directory(path))?;
        }
        Ok(())
    }

    /// Moves this process into a cgroup, in every hierarchy that has it.
    ///
    /// # Errors
    /// When one does not take it.
    pub(crate) fn join(&self, path: &str) -> io::Result<()> {
        for (_, directory) in self.directories(path) {
            fs::write(directory.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// The cgroup of v2 that a process is in, as its own `/proc` shows it.
    pub(crate) fn unified_path_of(pid: i32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    }

    /// Returns whether the cgroup exists in any hierarchy.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.directories(path).next().is_some()
    }

    /// Returns all processes in a cgroup and beneath it.
    #[must_use]
    pub fn processes(&self, path: &str) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        for (_, directory) in self.directories(path) {
            for below in tree(&directory) {
                let listed = fs::read_to_string(below.join("cgroup.procs")).unwrap_or_default();
                // 0 is a process of another PID namespace.
                pids.extend(
                    listed.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|&pid| pid > 0),
                );
            }
        }
        pids
    }

    /// Sends a signal to all processes in a cgroup and beneath it; returns how many there were.
    pub fn signal_all(&self, path: &str, signal: i32) -> usize {
        let pids = self.processes(path);
        for &pid in &pids {
            // It may have ended in between, which is as good.
            let _ended = signals::send(pid, signal);
        }
        pids.len()
    }

    /// Kills everything in a cgroup and beneath it, once; returns how many processes are left to
    /// die. To be repeated until it returns 0: v1 cannot kill a cgroup atomically.
    pub fn kill_all(&self, path: &str) -> usize {
        for (_, directory) in self.directories(path) {
            // Only v2 since 5.14 has this file.
            let _missing = fs::write(directory.join("cgroup.kill"), "1");
        }
        let left = self.signal_all(path, SIGKILL);
        if left > 0 {
            // What is frozen dies at once on v2, and only when thawed on v1; with the signal
            // pending it runs not one more instruction of its own.
            self.thaw(path);
        }
        left
    }

    /// Thaws a cgroup, everything beneath it and the one that holds it (a pod's holds its
    /// containers'), whoever froze which part.
    pub fn thaw(&self, path: &str) {
        let holder = path.trim_end_matches('/').rsplit_once('/').map_or("", |(holder, _)| holder);
        let above = self.directories(holder).map(|(hierarchy, folder)| (hierarchy, vec![folder]));
        let below = self.directories(path).map(|(hierarchy, folder)| (hierarchy, tree(&folder)));
        for (hierarchy, folders) in above.chain(below) {
            let Some((file, _, thawed)) = hierarchy.freezer() else { continue };
            for folder in folders {
                // Gone meanwhile, or a kernel that cannot freeze: nothing is frozen then.
                let _not_frozen = fs::write(folder.join(file), thawed);
            }
        }
    }

    /// Freezes or thaws a cgroup and what is beneath it. A part that was frozen by itself stays
    /// so: see [`Cgroups::thaw`].
    ///
    /// # Errors
    /// When no hierarchy can freeze it.
    pub fn freeze(&self, path: &str, frozen: bool) -> io::Result<()> {
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "no freezer"));
        for (hierarchy, directory) in self.directories(path) {
            let Some((file, stop, go)) = hierarchy.freezer() else { continue };
            let written = fs::write(directory.join(file), if frozen { stop } else { go });
            if written.is_ok() || outcome.is_err() {
                outcome = written;
            }
        }
        outcome
    }

    /// Returns how many processes of a cgroup the kernel killed for lack of memory.
    #[must_use]
    pub fn oom_kills(&self, path: &str) -> u64 {
        self.directories(path)
            .filter_map(|(hierarchy, directory)| {
                let file = if hierarchy.unified {
                    "memory.events"
                } else if hierarchy.has("memory") {
                    "memory.oom_control"
                } else {
                    return None;
                };
                let text = fs::read_to_string(directory.join(file)).ok()?;
                text.lines()
                    .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
            })
            .sum()
    }

    /// Removes a cgroup and what is beneath it; returns false while processes are left in it.
    ///
    /// # Errors
    /// When a directory cannot be removed for another reason.
    pub fn remove(&self, path: &str) -> io::Result<bool> {
        let mut gone = true;
        for (_, directory) in self.directories(path) {
            for below in tree(&directory).into_iter().rev() {
                match fs::remove_dir(&below) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => gone = false,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(gone)
    }

    /// The cgroup's directory in each hierarchy that has it.
    fn directories(&self, path: &str) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        // The root and relative paths are never ours to touch.
        let own = path.starts_with('/') && !path.trim_matches('/').is_empty();
        let path = path.to_owned();
        self.hierarchies
            .iter()
            .filter(move |_| own)
            .map(move |hierarchy| (hierarchy, hierarchy.directory(&path)))
            .filter(|(_, directory)| directory.is_dir())
    }
}

impl Hierarchy {
    fn directory(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }

    /// The file that freezes, and what is written to it to freeze and to thaw.
    fn freezer(&self) -> Option<(&'static str, &'static str, &'static str)> {
        if self.unified {
            Some(("cgroup.freeze", "1", "0"))
        } else {
            self.has("freezer").then_some(("freezer.state", "FROZEN", "THAWED"))
        }
    }
}

/// Where cgroup file systems are mounted; libcontainer looks nowhere else.
const ROOT: &str = "/sys/fs/cgroup";

/// Controllers of v1 whose cgroups libcontainer makes and joins for every container.
const CONTROLLERS_JOINED: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

const SIGKILL: i32 = 9;

/// Returns a directory and all below it, parents first.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        found.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|e| e.path()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_hosts_are_told_apart() {
        let v1 = "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        let v2 = "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let beside = "33 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let other = "32 24 0:28 / /proc rw - proc proc rw\n";
        assert!(Cgroups::parse(&format!("{v2}{other}")).unified());
        let hybrid = Cgroups::parse(&format!("{v1}{beside}{other}"));
        assert!(!hybrid.unified());
        assert_eq!(hybrid.hierarchies.len(), 2);
        assert!(hybrid.hierarchies[0].has("memory"));
        // One controller of v1 beside v2 changes nothing: devices are v2's then.
        assert!(Cgroups::parse(&format!("{v2}{v1}")).unified());
        let elsewhere = "34 24 0:27 / /var/lib/x rw - cgroup2 cgroup2 rw\n";
        assert!(Cgroups::parse(elsewhere).hierarchies.is_empty());
    }

    #[test]
    fn containers_are_shown_the_cgroups_that_they_are_in() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let cgroups = Cgroups::parse(mounts);
        let shown = cgroups.joined_directories("/pods/x");
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cpu,cpuacct", "cpu", "cpuacct", "memory"]);
        assert_eq!(shown[3].1, Path::new("/sys/fs/cgroup/memory/pods/x"));
        assert_eq!(shown[1].1, shown[0].1);
        let memory = cgroups.directory_of("memory", "/x");
        assert_eq!(memory.as_deref(), Some(Path::new("/sys/fs/cgroup/memory/x")));
        assert_eq!(cgroups.directory_of("devices", "/x"), None);
    }

    #[test]
    fn the_root_cgroup_is_never_touched() {
        let cgroups = Cgroups::detect().unwrap();
        assert!(!cgroups.exists("/"));
        assert!(!cgroups.exists(""));
        assert!(cgroups.processes("/").is_empty());
    }
}
