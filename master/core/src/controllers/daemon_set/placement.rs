//! What ties a daemon pod to its node: affinity to the node's name, and tolerations for all that
//! keeps other pods away from a node in trouble.

use serde_json::{Value, json};

use super::super::owner::{set, set_metadata};
use super::super::revisions::REVISION_LABEL;
use crate::view::pod::PodView;

const GENERATION_LABEL: &str = "pod-template-generation";

/// The tolerations that every daemon pod has, as upstream.
fn tolerations(host_network: bool) -> Vec<Value> {
    let exists = |(key, effect): (&str, &str)| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": effect});
    let network = ("network-unavailable", "NoSchedule");
    [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ]
    .into_iter()
    .chain(host_network.then_some(network))
    .map(exists)
    .collect()
}

/// A pod as the template has it, with the tolerations of daemon pods, to try nodes with.
pub(super) fn example(template: &Value) -> PodView {
    let mut pod = template.clone();
    tolerate(&mut pod);
    serde_json::from_value(pod).unwrap_or_default()
}

fn tolerate(pod: &mut Value) {
    let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let present = pod.pointer("/spec/tolerations").and_then(Value::as_array).cloned();
    let mut all = present.unwrap_or_default();
    for toleration in tolerations(host_network) {
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    set(pod, &["spec"], "tolerations", json!(all));
}

/// Ties a new pod to a node.
pub(super) fn tie(pod: &mut Value, node: &str, hash: &str, generation: i64) {
    tolerate(pod);
    set_metadata(pod, "labels", REVISION_LABEL, hash);
    set_metadata(pod, "labels", GENERATION_LABEL, &generation.to_string());
    let way = ["spec", "affinity", "nodeAffinity"];
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let named = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let terms = pod.pointer(&format!("/spec/affinity/nodeAffinity/{required}/nodeSelectorTerms"));
    let mut terms = terms.and_then(Value::as_array).cloned().unwrap_or_default();
    // Whether the node has the labels was decided already; the name takes the place of other names.
    terms.iter_mut().for_each(|term| set(term, &[], "matchFields", named.clone()));
    if terms.is_empty() {
        terms.push(json!({"matchFields": named}));
    }
    set(pod, &way, required, json!({"nodeSelectorTerms": terms}));
}
