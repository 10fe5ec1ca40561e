//! Says what this board has of what the agent needs; each line says how to mend it.

use std::fs;
use std::path::Path;

use bramble_agent_core::facts as parse;

use crate::facts::text;

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) what: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// How to mend it, if it must be.
    pub(crate) mend: Option<&'static str>,
}

/// Looks at the board; changes nothing.
pub(crate) fn findings() -> Vec<Finding> {
    vec![root(), cgroups(), overlay(), nft(), namespaces(), clock(), watchdog(), architecture()]
}

fn finding(what: &'static str, found: impl Into<String>, mend: Option<&'static str>) -> Finding {
    Finding { what, found: found.into(), mend }
}

fn root() -> Finding {
    match rustix::process::geteuid().is_root() {
        true => finding("user", "root", None),
        false => finding("user", "not root", Some("run the agent as root")),
    }
}

fn cgroups() -> Finding {
    let mounts = text("/proc/self/mounts");
    let controllers = text("/sys/fs/cgroup/cgroup.controllers");
    if parse::has_mount(&mounts, "/sys/fs/cgroup", "cgroup2") {
        let missing = !controllers.split_whitespace().any(|name| name == "memory");
        let mend = missing.then_some(
            "the memory controller is off: add `cgroup_enable=memory` to /boot/firmware/cmdline.txt",
        );
        return finding("cgroups", format!("v2 ({})", controllers.trim()), mend);
    }
    if parse::has_mount(&mounts, "/sys/fs/cgroup/memory", "cgroup") {
        return finding("cgroups", "v1 or hybrid", None);
    }
    finding("cgroups", "none", Some("mount a cgroup2 file system at /sys/fs/cgroup"))
}

fn overlay() -> Finding {
    match parse::has_filesystem(&text("/proc/filesystems"), "overlay") {
        true => finding("overlayfs", "yes", None),
        false => finding("overlayfs", "not loaded", Some("load it: `modprobe overlay`")),
    }
}

fn nft() -> Finding {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let program = folders.iter().map(|folder| Path::new(folder).join("nft")).find(|p| p.exists());
    match program {
        Some(path) => finding("nft", path.display().to_string(), None),
        None => finding("nft", "not found", Some("install the package nftables")),
    }
}

fn namespaces() -> Finding {
    let missing: Vec<&str> = ["net", "pid", "mnt", "ipc", "uts"]
        .into_iter()
        .filter(|name| fs::metadata(format!("/proc/self/ns/{name}")).is_err())
        .collect();
    match missing.is_empty() {
        true => finding("namespaces", "net pid mnt ipc uts", None),
        false => finding(
            "namespaces",
            format!("missing: {}", missing.join(" ")),
            Some("use a kernel with these namespaces"),
        ),
    }
}

fn clock() -> Finding {
    let now = crate::clock::now();
    let year = 1970 + now.time_of_day_ms / 31_556_952_000;
    let source = text("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    // No mend: bramble works from any time of day.
    let uptime = now.instant.as_secs();
    finding("clock", format!("year {year}, up {uptime} s, source {}", source.trim()), None)
}

fn watchdog() -> Finding {
    match Path::new("/dev/watchdog").exists() {
        true => finding("watchdog", "yes", None),
        false => finding("watchdog", "none (singletons are fenced softly)", None),
    }
}

fn architecture() -> Finding {
    let machine = rustix::system::uname();
    let name = machine.machine().to_string_lossy().into_owned();
    finding("architecture", parse::go_architecture(&name), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_looked_at() {
        let findings = findings();
        assert_eq!(findings.len(), 8);
        assert!(findings.iter().all(|finding| !finding.found.is_empty()));
    }
}
