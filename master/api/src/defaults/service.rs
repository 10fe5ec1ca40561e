//! Defaults of Service and EndpointSlice.
//!
//! Addresses and node ports are not defaults: they are allocated by the API server.

use serde_json::{Map, Value, json};

use super::{items_mut, object_mut};
use crate::object::default;

/// Three hours, how long a client stays with its pod.
const AFFINITY_SECONDS: u32 = 10_800;

/// A service.
pub(crate) fn service(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "sessionAffinity", "None");
    default(spec, "type", "ClusterIP");
    if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        default(spec, "sessionAffinityConfig", json!({}));
        if let Some(config) = object_mut(spec, "sessionAffinityConfig") {
            default(config, "clientIP", json!({}));
            if let Some(client) = object_mut(config, "clientIP") {
                default(client, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
    }
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
        default(spec, "ipFamilies", json!(["IPv4"]));
        default(spec, "ipFamilyPolicy", "SingleStack");
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    for port in items_mut(spec, "ports") {
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        let target = port.get("targetPort");
        let absent = target.is_none_or(|target| {
            target.is_null() || target.as_str() == Some("") || target.as_i64() == Some(0)
        });
        if absent || headless && target.is_none() {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

/// An endpoint slice.
pub(crate) fn endpoint_slice(fields: &mut Map<String, Value>) {
    for port in items_mut(fields, "ports") {
        if !port.contains_key("name") {
            port.insert("name".to_owned(), "".into());
        }
        default(port, "protocol", "TCP");
    }
}
