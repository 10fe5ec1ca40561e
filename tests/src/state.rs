//! States that a story waits for, seen through kubectl.
//!
//! Each returns `None` when reached, else what was seen instead.

use anyhow::Result;
use serde_json::Value;

use crate::kubectl::Kubectl;

/// All of `count` nodes are Ready.
///
/// # Errors
/// kubectl fails.
pub fn nodes_ready(kubectl: &Kubectl, count: usize) -> Result<Option<String>> {
    let nodes = kubectl.json(&["get", "nodes"])?;
    let ready = items(&nodes).iter().filter(|node| condition(node, "Ready") == "True").count();
    Ok((ready != count).then(|| format!("{ready} of {count} Ready")))
}

/// `count` pods with this label are Running and Ready, and no other exists that is not ending.
///
/// # Errors
/// kubectl fails.
pub fn pods_ready(kubectl: &Kubectl, label: &str, count: usize) -> Result<Option<String>> {
    let pods = kubectl.json(&["get", "pods", "-l", label])?;
    let staying: Vec<&Value> = items(&pods)
        .iter()
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
        .collect();
    let ready = staying.iter().filter(|pod| condition(pod, "Ready") == "True").count();
    let reached = ready == count && staying.len() == count;
    Ok((!reached).then(|| format!("{ready} ready of {}; {}", staying.len(), summary(&staying))))
}

/// A pod's phase is this.
///
/// # Errors
/// kubectl fails.
pub fn pod_phase(kubectl: &Kubectl, name: &str, phase: &str) -> Result<Option<String>> {
    let pod = kubectl.json(&["get", "pod", name])?;
    let seen = text(&pod, "/status/phase");
    Ok((seen != phase).then(|| summary(&[&pod])))
}

/// A container of a pod waits (or ended) for this reason.
///
/// # Errors
/// kubectl fails.
pub fn container_reason(kubectl: &Kubectl, name: &str, reasons: &[&str]) -> Result<Option<String>> {
    let pod = kubectl.json(&["get", "pod", name])?;
    let seen = text(&pod, "/status/containerStatuses/0/state/waiting/reason");
    let ended = text(&pod, "/status/containerStatuses/0/state/terminated/reason");
    let reached = reasons.contains(&seen) || reasons.contains(&ended);
    Ok((!reached).then(|| summary(&[&pod])))
}

/// Objects of a list.
#[must_use]
pub fn items(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Status of a condition; empty if there is none.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == kind)
        .map_or("", |condition| text(condition, "/status"))
}

/// Text at a JSON pointer; empty if there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn summary(pods: &[&Value]) -> String {
    let lines: Vec<String> = pods
        .iter()
        .map(|pod| {
            format!(
                "{} on `{}`: {} {} {}",
                text(pod, "/metadata/name"),
                text(pod, "/spec/nodeName"),
                text(pod, "/status/phase"),
                pod.pointer("/status/containerStatuses/0/state").unwrap_or(&Value::Null),
                pod.pointer("/status/message").unwrap_or(&Value::Null),
            )
        })
        .collect();
    lines.join("; ")
}
