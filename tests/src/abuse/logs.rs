//! Containers that write without end, and readers of logs that do not read.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::NAMESPACE;
use super::{Attack, Stage};
use crate::bench::processes::written;
use crate::wait::{now, pause};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "logs/stopped-followers",
        must: "20 followers that stop reading cost the agent no log each",
        core: true,
        restarts_master: false,
        run: stopped_followers,
    },
    Attack {
        name: "logs/flood",
        must: "a container that writes as fast as it can does not wear the card",
        core: true,
        restarts_master: false,
        run: flood,
    },
];

/// Most megabytes that one container's output may send to the card: the budget of a pod and day
/// on cards, 64 MiB, and what else the node writes meanwhile.
const WRITTEN_MAX_MB: u64 = 80;
/// Time until the budget is used up and told.
const TOLD: Duration = Duration::from_secs(40);
/// Most megabytes that the agent may grow by for twenty followers: none of them may cost a log.
const FOLLOWERS_MAX_MB: f64 = 60.0;

fn stopped_followers(stage: &mut Stage) -> Result<String> {
    // 27 MB, and then a line now and then.
    let line = "0123456789".repeat(30);
    let script =
        format!("yes {line} | head -c 27000000; while true; do echo {line}; sleep 0.1; done");
    stage.run_script("talker", "n1", &script.replace("yes ", "busybox yes "))?;
    stage.wait_for_phase("talker", &["Running"])?;
    pause(Duration::from_secs(6));
    let memory = stage.memory();
    let before = node(&memory.now());
    let api = stage.mallory()?;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut connection = stage.connect(&api)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/talker/log?follow=true");
        connection.send_only("GET", &path)?;
        held.push(connection);
    }
    let mut peak = before;
    let start = now();
    while start.elapsed() < Duration::from_secs(8) {
        peak = peak.max(node(&memory.now()));
        pause(Duration::from_millis(250));
    }
    // One who reads is served beside them: there is a place, or there are words.
    let read = stage.kubectl().output(&["logs", "talker", "-n", NAMESPACE, "--tail=2"])?;
    let said = String::from_utf8_lossy(&read.stderr).into_owned();
    drop(held);
    let flags = ["-n", NAMESPACE, "--grace-period=1", "--timeout=30s"];
    stage.kubectl().run(&[&["delete", "pod", "talker"], &flags[..]].concat())?;
    ensure!(peak - before <= FOLLOWERS_MAX_MB, "the agent grew from {before:.0} to {peak:.0} MB");
    ensure!(read.status.success() || !said.is_empty(), "a reader is neither served nor told why");
    Ok(format!("agent {before:.0} -> {peak:.0} MB"))
}

fn flood(stage: &mut Stage) -> Result<String> {
    let daemons = stage.cluster().agent("n1")?.daemons()?;
    let before = written(&daemons);
    stage.run_script("flood", "n1", "exec busybox yes 0123456789012345678901234567890123456789")?;
    stage.wait_for_phase("flood", &["Running", "Failed"])?;
    let told = stage.cluster().wait_until("an event tells of the budget", TOLD, || {
        let events = stage.kubectl().run(&["get", "events", "-n", NAMESPACE])?;
        Ok((!events.contains("LogBudgetExceeded")).then_some(events))
    });
    pause(stage.count(Duration::from_secs(3), Duration::from_secs(20)));
    let cost = written(&daemons).saturating_sub(before) >> 20;
    let flags = ["-n", NAMESPACE, "--grace-period=1", "--timeout=30s"];
    stage.kubectl().run(&[&["delete", "pod", "flood"], &flags[..]].concat())?;
    ensure!(cost <= WRITTEN_MAX_MB, "{cost} MB written");
    told?;
    Ok(format!("{cost} MB written"))
}

fn node(memory: &[(String, f64)]) -> f64 {
    memory.iter().find(|(name, _)| name == "n1").map_or(0.0, |(_, mb)| *mb)
}
