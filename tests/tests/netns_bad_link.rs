//! Bad Wi-Fi: at the master's own link, and at a node's.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::skip_unless;
use bramble_tests::state::{items, text};
use bramble_tests::wait::pause;

/// As Wi-Fi that saves power has them: too short for a person to notice, and death to a heartbeat.
const STALL: Duration = Duration::from_secs(2);
/// Longest that the first hold of a node may be seen: it lasts 10 s.
const HOLD: Duration = Duration::from_secs(20);

#[test]
fn stalls_of_the_masters_link_hold_no_node_back_and_a_hold_ends_by_itself() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(39).unwrap();
    for node in ["n1", "n2"] {
        cluster.add_agent(node).unwrap();
    }
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();

    let master = cluster.master().name.clone();
    for _ in 0..4 {
        stall(&cluster, &master);
    }
    assert_eq!(held(&kubectl), [""; 0], "it was the master's own link");

    // Now it is the node's, and the first return is no flapping yet.
    for _ in 0..2 {
        stall(&cluster, "n2");
    }
    assert_eq!(held(&kubectl), ["n2"]);
    // Nothing happens from here on but that time passes.
    pause(HOLD);
    assert_eq!(held(&kubectl), [""; 0], "the hold ends when it is due");
    cluster.stop_and_check().unwrap();
}

/// Pulls a cable for a moment, and waits until everybody is back.
fn stall(cluster: &Cluster, board: &str) {
    cluster.lan().pull_cable(board).unwrap();
    pause(STALL);
    cluster.lan().plug_cable(board).unwrap();
    cluster.wait_until_ready().unwrap();
}

/// Nodes that get no new pods because they come and go.
fn held(kubectl: &Kubectl) -> Vec<String> {
    let nodes = kubectl.json(&["get", "nodes"]).unwrap();
    let flapping = |node: &&serde_json::Value| {
        let taints = node.pointer("/spec/taints").map(serde_json::Value::to_string);
        taints.is_some_and(|taints| taints.contains("bramble.io/flapping"))
    };
    let held = items(&nodes).iter().filter(flapping);
    held.map(|node| text(node, "/metadata/name").to_owned()).collect()
}
