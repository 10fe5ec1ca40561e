//! A default container against its own limits and the board's devices, from inside.
//!
//! Here the host has cgroups of version 1 or both; boards have version 2, where the stories of
//! emulated boards look at the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::NAMESPACE;
use super::{Attack, Stage};
use crate::state::text;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "containers/own-limits",
        must: "a container can write to no cgroup, sees no other, and opens no device of the board",
        core: true,
        restarts_master: false,
        run: own_limits,
    },
    Attack {
        name: "containers/frozen",
        must: "a frozen pod goes when it is deleted",
        core: true,
        restarts_master: false,
        run: frozen,
    },
    Attack {
        name: "containers/process-bomb",
        must: "a container that forks for ever costs its node nothing else",
        core: true,
        restarts_master: false,
        run: process_bomb,
    },
];

/// Prints a line that starts with `HOLE` for everything that should not have worked.
const TRY_ALL: &str = r#"
for file in $(busybox find /sys/fs/cgroup -type f 2>/dev/null); do
  value=$(head -c 64 $file 2>/dev/null | head -n 1)
  case $file in *.procs|*/tasks) value=$$;; esac
  (echo "${value:-0}" > $file) 2>/dev/null && echo "HOLE wrote $file"
done
for folder in $(busybox find /sys/fs/cgroup -type d 2>/dev/null); do
  mkdir $folder/hole 2>/dev/null && echo "HOLE made $folder/hole" && rmdir $folder/hole
  case $folder in *bramble*) echo "HOLE sees $folder";; esac
done
for entry in $(cat /proc/self/cgroup); do
  case $entry in *bramble*) echo "HOLE knows $entry";; esac
done
for device in "b 7 0" "b 8 0" "b 179 0" "b 253 0" "b 254 0" "b 259 0" "c 1 1" "c 10 130" "c 10 237"; do
  rm -f /tmp/device
  busybox mknod /tmp/device $device 2>/dev/null || continue
  (: < /tmp/device) 2>/dev/null && echo "HOLE opened $device"
  (: > /tmp/device) 2>/dev/null && echo "HOLE opened $device to write"
done
for file in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/kcore /sys/kernel/uevent_helper; do
  (: >> $file) 2>/dev/null && echo "HOLE opened $file"
done
mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo "HOLE mounted"
mount -t tmpfs none /tmp 2>/dev/null && echo "HOLE mounted"
echo tried
"#;

fn own_limits(stage: &mut Stage) -> Result<String> {
    stage.run_script("inside", "n1", TRY_ALL)?;
    stage.wait_for_phase("inside", &["Succeeded", "Failed"])?;
    let said = stage.kubectl().run(&["logs", "inside", "-n", NAMESPACE])?;
    ensure!(said.lines().last() == Some("tried"), "it did not come to its end: {said}");
    let holes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("HOLE ")).collect();
    ensure!(
        holes.is_empty(),
        "{} holes: {} ...",
        holes.len(),
        holes.iter().take(8).copied().collect::<Vec<_>>().join(", ")
    );
    Ok(String::new())
}

fn frozen(stage: &mut Stage) -> Result<String> {
    stage.run_script("cold", "n1", "sleep 1000")?;
    stage.wait_for_phase("cold", &["Running"])?;
    let pod = stage.kubectl().json(&["get", "pod", "cold", "-n", NAMESPACE])?;
    let uid = text(&pod, "/metadata/uid").to_owned();
    let root = stage.cluster().agent("n1")?.cgroup_root();
    let mut frozen = 0;
    for (hierarchy, file, word) in [
        ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
        ("/sys/fs/cgroup/unified", "cgroup.freeze", "1"),
        ("/sys/fs/cgroup", "cgroup.freeze", "1"),
    ] {
        let mut folders = Vec::new();
        collect(&PathBuf::from(format!("{hierarchy}{root}")), &uid, &mut folders);
        for folder in folders {
            frozen += usize::from(fs::write(folder.join(file), word).is_ok());
        }
    }
    ensure!(frozen > 0, "no cgroup of the pod was found below {root}");
    // It is not given the time to answer a TERM that it cannot see.
    let flags = ["-n", NAMESPACE, "--grace-period=1", "--timeout=30s"];
    let deleted = stage.kubectl().run(&[&["delete", "pod", "cold"], &flags[..]].concat());
    deleted.context("a frozen pod stays").map(|_| format!("{frozen} cgroups frozen"))
}

/// Folders below `folder` whose path names the pod.
fn collect(folder: &Path, uid: &str, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            if path.to_string_lossy().contains(uid) {
                found.push(path.clone());
            }
            collect(&path, uid, found);
        }
    }
}

fn process_bomb(stage: &mut Stage) -> Result<String> {
    stage.run_script("bomb", "n1", BOMB)?;
    stage.wait_for_phase("bomb", &["Running"])?;
    crate::wait::pause(stage.count(Duration::from_secs(3), Duration::from_secs(10)));
    let processes = stage.cluster().agent("n1")?.processes()?.len();
    ensure!(processes > BOMB_MIN, "the bomb made only {processes} processes");
    // The node still starts what it is given.
    stage.run_script("beside", "n1", "echo held")?;
    stage.wait_for_phase("beside", &["Succeeded"])?;
    let flags = ["-n", NAMESPACE, "--timeout=30s"];
    stage.kubectl().run(&[&["delete", "pod", "bomb", "beside"], &flags[..]].concat())?;
    let left = stage.cluster().agent("n1")?.processes()?.len();
    ensure!(left < processes - BOMB_MIN, "{left} of {processes} processes are left");
    Ok(format!("{processes} processes"))
}

/// Forks until it is refused, in a shell that then ends, and keeps what it has made.
const BOMB: &str = "(while true; do sleep 1000 & done) 2>/dev/null; exec sleep 1000";
/// A bomb that makes fewer processes is none.
const BOMB_MIN: usize = 500;
