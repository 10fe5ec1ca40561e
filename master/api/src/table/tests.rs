//! Rows as kubectl shows them.

use serde_json::{Value, json};

use super::{IncludeObject, table};
use crate::{registry, timestamp};

const NOW: &str = "2026-01-01T01:00:00Z";

fn check(group: &str, kind: &str, object: Value, expected: &[&str]) {
    let resource = registry::by_kind(group, kind).unwrap();
    let cells: Vec<String> = resource
        .cells(&object, timestamp::parse(NOW).unwrap())
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned))
        .collect();
    assert_eq!(cells.get(..expected.len()).unwrap(), expected);
}

fn metadata() -> Value {
    json!({"name": "a", "creationTimestamp": "2026-01-01T00:55:00Z"})
}

#[test]
fn pods_show_upstreams_status() {
    let pod = |spec: Value, status: Value| json!({"metadata": metadata(), "spec": spec, "status": status});
    let one = json!({"containers": [{"name": "c"}], "nodeName": "pi-1"});
    let statuses = |state: Value, ready: bool, restarts: u32| {
        json!({"phase": "Running", "podIP": "10.1.0.2", "containerStatuses":
            [{"name": "c", "ready": ready, "restartCount": restarts, "state": state}]})
    };
    let row = |spec: &Value, status: Value, expected: &[&str]| {
        check("", "Pod", pod(spec.clone(), status), expected);
    };
    row(&one, json!({"phase": "Pending"}), &["a", "0/1", "Pending", "0", "5m", "<none>", "pi-1"]);
    let running = statuses(json!({"running": {}}), true, 0);
    row(
        &one,
        running.clone(),
        &["a", "1/1", "Running", "0", "5m", "10.1.0.2", "pi-1", "<none>", "<none>"],
    );
    let crash = statuses(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false, 3);
    row(&one, crash, &["a", "0/1", "CrashLoopBackOff", "3"]);
    let done = statuses(json!({"terminated": {"reason": "Completed", "exitCode": 0}}), false, 0);
    row(&one, done, &["a", "0/1", "Completed", "0"]);
    let mut restarted = running.clone();
    restarted["containerStatuses"][0]["restartCount"] = json!(2);
    restarted["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"finishedAt": "2026-01-01T00:59:30Z"}});
    row(&one, restarted, &["a", "1/1", "Running", "2 (30s ago)"]);
    let init =
        json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let initializing = json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "i", "state": {"terminated": {"exitCode": 0}}, "restartCount": 0},
        {"name": "j", "state": {"running": {}}, "restartCount": 0}]});
    row(&init, initializing, &["a", "0/1", "Init:1/2", "0"]);
    let failing = json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4}]});
    row(&init, failing, &["a", "0/1", "Init:CrashLoopBackOff", "4"]);
    let mut going = pod(one, running);
    going["metadata"]["deletionTimestamp"] = json!(NOW);
    check("", "Pod", going, &["a", "1/1", "Terminating", "0"]);
}

#[test]
fn nodes_show_status_roles_and_version() {
    let node = json!({
        "metadata": {"name": "pi-1", "creationTimestamp": "2026-01-01T00:55:00Z",
            "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/camera": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]},
    });
    let expected = [
        "pi-1",
        "Ready,SchedulingDisabled",
        "camera,worker",
        "5m",
        "v1.36.0",
        "10.0.0.2",
        "<none>",
        "<unknown>",
    ];
    check("", "Node", node, &expected);
}

#[test]
fn other_kinds_show_their_columns() {
    check(
        "apps",
        "Deployment",
        json!({"metadata": metadata(), "spec": {"replicas": 3,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
        &["a", "2/3", "3", "2", "5m", "c", "i", "app=a"],
    );
    check(
        "",
        "Service",
        json!({"metadata": metadata(), "spec": {"type": "NodePort", "clusterIP": "10.0.0.1",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}], "selector": {"a": "b"}}}),
        &["a", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP", "5m", "a=b"],
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"metadata": metadata(), "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["1"]}, {"addresses": ["2"]}, {"addresses": ["3"]},
                {"addresses": ["4"]}]}),
        &["a", "IPv4", "80", "1,2,3 + 1 more...", "5m"],
    );
    check(
        "",
        "Event",
        json!({"metadata": metadata(), "lastTimestamp": "2026-01-01T00:59:00Z", "type": "Normal",
            "reason": "Started", "message": "x", "involvedObject": {"kind": "Pod", "name": "p"}}),
        &["60s", "Normal", "Started", "pod/p"],
    );
    check(
        "",
        "Secret",
        json!({"metadata": metadata(), "type": "Opaque", "data": {"a": ""}}),
        &["a", "Opaque", "1", "5m"],
    );
}

#[test]
fn a_table_has_columns_rows_and_metadata() {
    let leases = registry::by_kind("coordination.k8s.io", "Lease").unwrap();
    let lease = json!({"metadata": metadata(), "spec": {"holderIdentity": "h"}});
    let now = timestamp::parse(NOW).unwrap();
    let list = json!({"resourceVersion": "7"});
    let printed = table(leases, &[lease], &list, IncludeObject::Metadata, true, now);
    assert_eq!(printed["metadata"], list);
    assert_eq!(printed["columnDefinitions"][0]["format"], json!("name"));
    assert_eq!(printed["rows"][0]["cells"], json!(["a", "h", "5m"]));
    assert_eq!(printed["rows"][0]["object"]["kind"], json!("PartialObjectMetadata"));
    let later = table(leases, &[], &list, IncludeObject::None, false, now);
    assert_eq!(later["columnDefinitions"], Value::Null);
}
