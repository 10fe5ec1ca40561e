//! The fence with real processes. Needs root.

use std::time::Duration;

use bramble_runtime::client::CallError;
use bramble_runtime::clock::raw_us;
use bramble_runtime::fence::client::FenceClient;
use bramble_runtime::process;
use bramble_runtime::protocol::FailureReason;

use crate::harness::{self, Node, kill, wait_until};

fn fence(node: &Node) -> FenceClient {
    let mut client = None;
    wait_until("the fence listens", || {
        client = FenceClient::connect(&node.run_dir().fence_socket(), Duration::from_secs(5)).ok();
        client.as_mut().is_some_and(|client| client.status().is_ok())
    });
    client.expect("the fence has answered")
}

#[test]
fn a_singleton_needs_a_lease_and_dies_with_it_while_others_go_on() {
    let mut node = Node::supervised();
    let mut spec = node.spec("db", &["sleep", "1000"]);
    spec.cgroup_path = format!("{}/singletons/db", node.cgroup);
    let mut request = node.create_request("db", &spec);
    request.singleton = true;
    match node.client.create(request) {
        Err(CallError::Failed(failure)) => assert_eq!(failure.reason, FailureReason::FenceDenied),
        other => panic!("{other:?}"),
    }
    let other = node.spec("web", &["sleep", "1000"]);
    let other_pid = node.run("web", &other);
    let other_ticks = process::start_ticks(other_pid).unwrap();

    let mut client = fence(&node);
    assert!(client.renew(raw_us() + 1_500_000).unwrap());
    let mut request = node.create_request("db", &spec);
    request.singleton = true;
    let pid = node.client.create(request).unwrap();
    let ticks = process::start_ticks(pid).unwrap();
    let last = raw_us() + 1_500_000;
    assert!(client.renew(last).unwrap());
    node.client.start("db").unwrap();
    // The fence itself may die: its successor knows the lease.
    let fence_pid = harness::child_named(node.process_pid(), "bramble-fence").unwrap();
    kill(fence_pid, 9);
    wait_until("the lease is over", || raw_us() >= last || !process::runs(pid, ticks));
    assert!(raw_us() >= last, "stopped before the end of the lease");
    wait_until("the singleton is dead", || !process::runs(pid, ticks));
    let late_ms = (raw_us() - last) / 1000;
    assert!(late_ms < 1_000, "stopped {late_ms} ms after the end of the lease");
    assert!(process::runs(other_pid, other_ticks));
    let exit = node.wait_exit("db");
    assert_eq!(exit.code, 137);
    node.client.delete("db", false).unwrap();
    node.client.delete("web", true).unwrap();
}

#[test]
fn a_singleton_that_is_deleted_gives_its_grant_back() {
    let mut node = Node::supervised();
    let mut spec = node.spec("db", &["sleep", "1000"]);
    spec.cgroup_path = format!("{}/singletons/db", node.cgroup);
    let mut request = node.create_request("db", &spec);
    request.singleton = true;
    let mut client = fence(&node);
    assert!(client.renew(raw_us() + 20_000_000).unwrap());
    node.client.create(request).unwrap();
    node.client.start("db").unwrap();
    assert_eq!(client.status().unwrap().grants, [spec.cgroup_path]);
    node.client.delete("db", true).unwrap();
    assert!(client.status().unwrap().grants.is_empty());
}

#[test]
fn a_cgroup_outside_the_fence_is_not_granted() {
    let node = Node::supervised();
    let mut client = fence(&node);
    assert!(client.renew(raw_us() + 1_500_000).unwrap());
    assert!(client.grant(&format!("{}/singletons/db", node.cgroup)).unwrap());
    assert!(!client.grant(&format!("{}/web", node.cgroup)).unwrap());
    assert!(!client.grant(&format!("{}/singletons/../web", node.cgroup)).unwrap());
    assert!(!client.renew(raw_us() + 3_600_000_000).unwrap());
    client.release(&format!("{}/singletons/db", node.cgroup)).unwrap();
    assert!(client.status().unwrap().grants.is_empty());
}
