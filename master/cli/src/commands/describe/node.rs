//! A node: how it does, what it has, and which pods run on it.

use serde_json::Value;

use super::generic::{labels, metadata};
use super::text::Text;
use crate::age::age_of;
use crate::client::{Client, JSON, Path};
use crate::error::CliError;
use crate::object::{flag, items, name, namespace, pairs, text};

/// Pods that run on a node and have not finished.
pub(super) async fn pods(node: &Value, client: &Client) -> Result<Vec<Value>, CliError> {
    let path = Path::new("/api/v1/pods");
    let path = path.with("fieldSelector", &format!("spec.nodeName={}", name(node)));
    let list = client.get(&path, JSON).await?;
    let unfinished = |pod: &&Value| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    Ok(items(&list, "/items").iter().filter(unfinished).cloned().collect())
}

/// Describes a node, without its events.
pub(super) fn describe(node: &Value, pods: &[Value], now: i64, out: &mut Text) {
    metadata(false, node, out);
    out.field(0, "Roles", roles(node));
    labels(node, out);
    out.field(0, "CreationTimestamp", text(node, "/metadata/creationTimestamp"));
    out.list(0, "Taints", items(node, "/spec/taints").iter().map(taint));
    out.field(0, "Unschedulable", flag(node, "/spec/unschedulable").to_string());
    conditions(node, now, out);
    let addresses = items(node, "/status/addresses").iter();
    out.list(
        0,
        "Addresses",
        addresses.map(|one| format!("{}: {}", text(one, "/type"), text(one, "/address"))),
    );
    for (heading, pointer) in
        [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")]
    {
        let amounts = pairs(node, pointer);
        out.list(0, heading, amounts.into_iter().map(|(name, value)| format!("{name}: {value}")));
    }
    let info = pairs(node, "/status/nodeInfo");
    out.heading(0, "System Info");
    for (shown, field) in [
        ("Machine ID", "machineID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        out.field_if(1, shown, info.get(field).map_or("", String::as_str));
    }
    out.field_if(0, "PodCIDR", text(node, "/spec/podCIDR"));
    running(pods, now, out);
}

fn roles(node: &Value) -> String {
    let labels = pairs(node, "/metadata/labels");
    let roles: Vec<_> =
        labels.keys().filter_map(|label| label.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn taint(taint: &Value) -> String {
    let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

fn conditions(node: &Value, now: i64, out: &mut Text) {
    let rows = items(node, "/status/conditions").iter().map(|condition| {
        let cell = |pointer| text(condition, pointer).to_owned();
        let since = age_of(text(condition, "/lastTransitionTime"), now);
        vec![cell("/type"), cell("/status"), since, cell("/reason"), cell("/message")]
    });
    out.heading(0, "Conditions");
    out.table(1, &["Type", "Status", "Since", "Reason", "Message"], rows.collect());
}

fn running(pods: &[Value], now: i64, out: &mut Text) {
    out.heading(0, &format!("Non-terminated Pods ({} in total)", pods.len()));
    let rows = pods.iter().map(|pod| {
        let sum = |resource: &str| {
            let amounts: Vec<_> = items(pod, "/spec/containers")
                .iter()
                .filter_map(|container| {
                    pairs(container, "/resources/requests").get(resource).cloned()
                })
                .collect();
            if amounts.is_empty() { "0".to_owned() } else { amounts.join("+") }
        };
        vec![
            namespace(pod).to_owned(),
            name(pod).to_owned(),
            sum("cpu"),
            sum("memory"),
            age_of(text(pod, "/metadata/creationTimestamp"), now),
        ]
    });
    out.table(1, &["Namespace", "Name", "CPU Requests", "Memory Requests", "Age"], rows.collect());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_tells_how_it_does() {
        let node = json!({
            "metadata": {"name": "pi-2", "creationTimestamp": "1970-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/master": "", "kubernetes.io/arch": "arm64"}},
            "spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
                    "lastTransitionTime": "1970-01-01T00:01:00Z", "message": "no heartbeat"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
                "capacity": {"cpu": "4", "memory": "1Gi"},
                "nodeInfo": {"kernelVersion": "6.18", "architecture": "arm64"},
            },
        });
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default",
                         "creationTimestamp": "1970-01-01T00:01:00Z"},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}}}]},
        });
        let mut text = Text::default();
        describe(&node, &[pod], 90, &mut text);
        insta::assert_snapshot!(text.render());
    }
}
