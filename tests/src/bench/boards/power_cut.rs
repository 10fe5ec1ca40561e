//! Rows 6 and 7: the power of the board is cut that the one pod of a Service runs on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::api::Following;
use crate::bench::boards::cards::{AGENTS, Cards, IMAGE, LABEL};
use crate::bench::load::PODS;
use crate::bench::report::progress;
use crate::bench::statistics::Samples;
use crate::qemu::PATIENCE;
use crate::qemu::network::REGISTRY_NAME;
use crate::state::{condition, text};
use crate::wait::{now, pause};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// Name of the Deployment and of its Service.
const NAME: &str = "cut";
/// Longest time from a cut to its consequences; far beyond what is wanted.
const BOUND: Duration = Duration::from_secs(60);
/// Rest before a cut: a board that has just become Ready still starts things.
const SETTLE: Duration = Duration::from_secs(5);

/// What a power cut led to, and how long after it.
#[derive(Debug)]
struct Cut {
    endpoint_gone: Duration,
    running: Duration,
    endpoint_back: Duration,
}

/// Measures rows 6 and 7.
pub(super) fn measure(cards: &mut Cards, repeat: usize) -> Result<Vec<String>> {
    progress("the image is pulled to both agents");
    for node in AGENTS {
        pull(cards, node).with_context(|| format!("pull of the image on `{node}`"))?;
    }
    let mut connection = cards.api.connect()?;
    connection.must("POST", DEPLOYMENTS, Some(deployment().to_string().as_bytes()))?;
    connection.must("POST", SERVICES, Some(service().to_string().as_bytes()))?;
    drop(connection);
    let mut cuts = Vec::new();
    for round in 0..repeat {
        let node = settled(cards)?;
        pause(SETTLE);
        progress(&format!("power cut of `{node}`, {} of {repeat}", round + 1));
        cuts.push(cut(cards, &node)?);
        cards.wait_for_node(&node, "Unknown")?;
        cards.cluster.board_mut(&node)?.power_on()?;
        cards.wait_for_node(&node, "True")?;
    }
    settled(cards)?;
    let spread = |part: fn(&Cut) -> Duration| {
        Samples::new(cuts.iter().map(part).collect()).median_and_spread()
    };
    Ok(vec![
        format!(
            "{} at the API (a watch of EndpointSlices; not looked at on the nodes), no packet loss",
            spread(|cut| cut.endpoint_gone)
        ),
        format!(
            "{} until a watch shows Running; {} until its endpoint is ready",
            spread(|cut| cut.running),
            spread(|cut| cut.endpoint_back)
        ),
    ])
}

/// Runs a pod on a node once, so that the node has the image.
fn pull(cards: &Cards, node: &str) -> Result<()> {
    let name = format!("pull-{node}");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "nodeSelector": { "kubernetes.io/hostname": node },
            "terminationGracePeriodSeconds": 0,
            "containers": [container()],
        },
    });
    let events = cards.api.follow(PODS)?;
    let named = |event: &Value| text(event, "/object/metadata/name") == name;
    let mut connection = cards.api.connect()?;
    connection.must("POST", PODS, Some(pod.to_string().as_bytes()))?;
    events.wait_for(PATIENCE, |event| named(event) && is_running(event))?;
    connection.must("DELETE", &format!("{PODS}/{name}"), None)?;
    events.wait_for(PATIENCE, |event| named(event) && text(event, "/type") == "DELETED")?;
    Ok(())
}

/// Waits until all boards are Ready, one pod runs, and its endpoint is the only one; returns the
/// pod's node.
fn settled(cards: &Cards) -> Result<String> {
    cards.wait_for_standing()?;
    let mut node = String::new();
    cards.cluster.wait_until("one pod and its endpoint", PATIENCE, || {
        let pods = cards.list(&format!("{PODS}?labelSelector=app%3D{NAME}"))?;
        let [pod] = pods.as_slice() else { return Ok(Some(format!("{} pods", pods.len()))) };
        node = text(pod, "/spec/nodeName").to_owned();
        let slices =
            cards.list(&format!("{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3D{NAME}"))?;
        let ready: Vec<&str> = slices.iter().flat_map(ready_nodes).collect();
        let reached = condition(pod, "Ready") == "True" && ready == [node.as_str()];
        Ok((!reached).then(|| format!("endpoints on {ready:?}; {pod}")))
    })?;
    ensure!(AGENTS.contains(&node.as_str()), "the pod runs on `{node}`");
    Ok(node)
}

fn cut(cards: &mut Cards, node: &str) -> Result<Cut> {
    let slices = cards.api.follow(SLICES)?;
    let pods = cards.api.follow(PODS)?;
    // Before the emulator is killed, not after: the figures are rather too long than too short.
    let start = now();
    cards.cut_power(node)?;
    let mut gone_with = Value::Null;
    let gone = wait_for_slice(&slices, |event| {
        let gone = !ready_in(event).contains(&node);
        gone_with = if gone { event.clone() } else { Value::Null };
        gone
    })
    .context("the endpoint stays")?;
    let running = pods
        .wait_for(BOUND, |event| {
            text(event, "/object/metadata/labels/app") == NAME
                && text(event, "/object/spec/nodeName") != node
                && is_running(event)
        })
        .context("no pod runs elsewhere")?;
    // The slice without the dead node may already have been the one with the new endpoint.
    let back = if ready_in(&gone_with).is_empty() {
        wait_for_slice(&slices, |event| !ready_in(event).is_empty()).context("no new endpoint")?
    } else {
        gone
    };
    Ok(Cut {
        endpoint_gone: gone.saturating_duration_since(start),
        running: running.saturating_duration_since(start),
        endpoint_back: back.saturating_duration_since(start),
    })
}

/// When an event of the Service's slice came that `wanted` likes.
fn wait_for_slice(slices: &Following, mut wanted: impl FnMut(&Value) -> bool) -> Result<Instant> {
    let start = now();
    loop {
        let (time, event) = slices.next(BOUND.saturating_sub(start.elapsed()))?;
        let label = "/object/metadata/labels/kubernetes.io~1service-name";
        if text(&event, label) == NAME && wanted(&event) {
            return Ok(time);
        }
    }
}

/// Nodes of the ready endpoints that an event leaves.
fn ready_in(event: &Value) -> Vec<&str> {
    let deleted = text(event, "/type") == "DELETED";
    let slice = event.get("object").filter(|_| !deleted);
    slice.map(ready_nodes).unwrap_or_default()
}

/// Nodes of a slice's ready endpoints.
fn ready_nodes(slice: &Value) -> Vec<&str> {
    let endpoints = slice.get("endpoints").and_then(Value::as_array);
    let ready = endpoints.into_iter().flatten().filter(|endpoint| {
        // By the API's word, an endpoint that does not say is ready.
        endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true)
    });
    ready.map(|endpoint| text(endpoint, "/nodeName")).collect()
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": { "app": NAME } },
                "spec": {
                    "nodeSelector": { LABEL.0: LABEL.1 },
                    "containers": [container()],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": NAME },
        "spec": { "selector": { "app": NAME }, "ports": [{ "port": 80, "targetPort": 80 }] },
    })
}

fn container() -> Value {
    json!({ "name": "hello", "image": format!("{REGISTRY_NAME}/{IMAGE}") })
}

fn is_running(event: &Value) -> bool {
    text(event, "/type") != "DELETED" && text(event, "/object/status/phase") == "Running"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_endpoints_of_what_is_left_count() {
        let endpoints = json!([
            { "nodeName": "a", "conditions": { "ready": true } },
            { "nodeName": "b", "conditions": { "ready": false } },
            { "nodeName": "c" },
        ]);
        let mut event = json!({ "type": "MODIFIED", "object": { "endpoints": endpoints } });
        assert_eq!(ready_in(&event), ["a", "c"]);
        event["type"] = json!("DELETED");
        assert!(ready_in(&event).is_empty());
        assert!(ready_in(&Value::Null).is_empty());
    }
}
