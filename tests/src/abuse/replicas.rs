//! More pods than any cluster has room for.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::NAMESPACE;
use super::{Attack, Stage};
use crate::state::{items, text};
use crate::wait::{now, pause};

pub(super) const ATTACKS: &[Attack] = &[Attack {
    name: "replicas/two-billion",
    must: "2,147,483,647 replicas stop at the cluster's capacity and a margin, with an event",
    core: false,
    restarts_master: false,
    run: two_billion,
}];

/// Three nodes of 110 pods are 330, and 500 may wait for room.
const PODS_MAX: usize = 830;

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: legion, namespace: abuse}
spec:
  replicas: 2147483647
  selector: {matchLabels: {app: legion}}
  template:
    metadata: {labels: {app: legion}}
    spec:
      nodeSelector: {no: node}
      containers: [{name: main, image: 'registry.local/hello:1'}]
";

fn two_billion(stage: &mut Stage) -> Result<String> {
    stage.kubectl().apply(DEPLOYMENT)?;
    let start = now();
    let mut most = 0;
    let time = stage.count(Duration::from_secs(10), Duration::from_secs(30));
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?limit={}", PODS_MAX + 1);
    while start.elapsed() < time && most <= PODS_MAX {
        let list = stage.mallory_connected()?.get(&path)?;
        most = most.max(items(&list).len());
        pause(Duration::from_millis(500));
    }
    let list = stage.mallory_connected()?.get(&format!("/api/v1/namespaces/{NAMESPACE}/events"))?;
    let told = items(&list).iter().any(|event| {
        text(event, "/type") == "Warning" && text(event, "/involvedObject/kind") == "ReplicaSet"
    });
    let flags = ["-n", NAMESPACE, "--timeout=60s"];
    stage.kubectl().run(&[&["delete", "deployment", "legion"], &flags[..]].concat())?;
    ensure!(most <= PODS_MAX, "more than {PODS_MAX} pods in {} s", start.elapsed().as_secs());
    ensure!(told, "no event says that it stopped at {most} pods");
    Ok(format!("{most} pods"))
}
