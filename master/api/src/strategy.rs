//! What a write may touch: status apart from spec, and metadata that belongs to the system.
//!
//! The uid, the creation time, the namespace and the generated name are the API server's.

use serde_json::{Map, Value, json};

use crate::object;
use crate::resource::Resource;

/// Metadata that only the system writes.
const SYSTEM_METADATA: [&str; 6] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "selfLink",
    "uid",
];

/// Prepares an object for its creation: what clients cannot set is dropped, and the status is
/// the first one.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = object::child(object, "metadata") {
        for key in SYSTEM_METADATA {
            metadata.remove(key);
        }
        metadata.remove("resourceVersion");
        if resource.generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
    }
    let status = match (resource.group, resource.kind) {
        ("", "Pod") => Some(json!({"phase": "Pending", "qosClass": quality_of_service(object)})),
        ("", "Namespace") => Some(json!({"phase": "Active"})),
        ("", "Service") => Some(json!({"loadBalancer": {}})),
        ("apps", "ReplicaSet") => Some(json!({"replicas": 0})),
        // A node registers itself along with its status.
        ("", "Node") => object.get("status").cloned().or_else(|| Some(json!({}))),
        _ if resource.has_status() => Some(json!({})),
        _ => None,
    };
    if let (Some(status), Some(fields)) = (status, object.as_object_mut()) {
        fields.insert("status".to_owned(), status);
    }
}

/// Prepares an update: of `status` only the status and of the rest everything but the status is
/// taken from the new object, and the generation counts changes of the spec.
pub fn prepare_update(
    resource: &Resource,
    old: &Value,
    new: &mut Value,
    subresource: Option<&str>,
) {
    let old_metadata = old.get("metadata").and_then(Value::as_object);
    if subresource == Some("status") {
        let status = new.get("status").cloned();
        let managed = new.pointer("/metadata/managedFields").cloned();
        // Labels and the like of a node may come with its status, as upstream allows.
        let version = new.pointer("/metadata/resourceVersion").cloned();
        let mut kept = old.clone();
        put(kept.as_object_mut(), "status", status);
        if let Some(metadata) = object::child(&mut kept, "metadata") {
            put(Some(metadata), "managedFields", managed);
            put(Some(metadata), "resourceVersion", version);
        }
        *new = kept;
        return;
    }
    if resource.has_status() {
        put(new.as_object_mut(), "status", old.get("status").cloned());
    }
    if resource.kind == "Namespace" && subresource != Some("finalize") {
        // Finalizers of the spec go by their own subresource.
        let finalizers = old.pointer("/spec/finalizers").cloned();
        put(object::child(new, "spec"), "finalizers", finalizers);
    }
    let changed = resource.generation && content(old) != content(new);
    let Some(metadata) = object::child(new, "metadata") else { return };
    for key in SYSTEM_METADATA {
        put(Some(metadata), key, old_metadata.and_then(|old| old.get(key)).cloned());
    }
    if changed {
        let generation = object::integer(old, "/metadata/generation").saturating_add(1);
        metadata.insert("generation".to_owned(), generation.into());
    }
}

/// Everything that the generation counts changes of.
fn content(object: &Value) -> Map<String, Value> {
    let mut content = object.as_object().cloned().unwrap_or_default();
    for key in ["metadata", "status", "apiVersion", "kind"] {
        content.remove(key);
    }
    content
}

fn put(object: Option<&mut Map<String, Value>>, key: &str, value: Option<Value>) {
    let Some(object) = object else { return };
    match value {
        Some(value) => {
            object.insert(key.to_owned(), value);
        }
        None => {
            object.remove(key);
        }
    }
}

/// Quality of service of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn quality_of_service(pod: &Value) -> &'static str {
    let containers = object::items(pod, "/spec/initContainers")
        .iter()
        .chain(object::items(pod, "/spec/containers"));
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        for name in ["cpu", "memory"] {
            let amount = |kind: &str| {
                let text = object::text(container, &format!("/resources/{kind}/{name}"));
                text.parse::<crate::quantity::Quantity>().ok().filter(|amount| !amount.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn a_created_pod_is_pending_with_its_quality_of_service() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let mut pod = json!({"metadata": {"name": "a", "uid": "x", "generation": 9},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running"}});
        prepare_create(pods, &mut pod);
        assert_eq!(pod["metadata"], json!({"name": "a", "generation": 1}));
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let check = |resources: Value, expected: &str| {
            let pod = json!({"spec": {"containers": [{"resources": resources}]}});
            assert_eq!(quality_of_service(&pod), expected);
        };
        check(json!({}), "BestEffort");
        check(json!({"limits": {"cpu": "1"}}), "Burstable");
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
        check(
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}),
            "Burstable",
        );
    }

    #[test]
    fn an_update_keeps_the_status_and_counts_changes_of_the_spec() {
        let deployments = registry::find("apps", "v1", "deployments").unwrap();
        let old = json!({"metadata": {"name": "a", "uid": "u", "generation": 3},
            "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let mut new =
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"replicas": 1}});
        prepare_update(deployments, &old, &mut new, None);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "labels": {"x": "y"}},
                "spec": {"replicas": 1}, "status": {"replicas": 1}})
        );
        new["spec"]["replicas"] = json!(2);
        prepare_update(deployments, &old, &mut new, None);
        assert_eq!(new["metadata"]["generation"], json!(4));
    }

    #[test]
    fn a_status_update_changes_nothing_else() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let old =
            json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {"phase": "Pending"}});
        let mut new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"x": 2},
            "status": {"phase": "Running"}});
        prepare_update(pods, &old, &mut new, Some("status"));
        assert_eq!(
            new,
            json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {"phase": "Running"}})
        );
    }
}
