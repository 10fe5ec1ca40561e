//! What a write may touch: status apart from spec, and metadata that belongs to the system.
//!
//! The uid, the creation time, the namespace and the generated name are the API server's. What is
//! special about a kind is in the module of its name, and its descriptor leads there.

pub(crate) mod custom_resource_definition;
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod namespace;
pub(crate) mod pod;

use serde_json::{Map, Value};

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
    let status = resource.has_status().then(|| (resource.strategy.initial_status)(object));
    match (status, object.as_object_mut()) {
        // Some kinds have none until somebody writes it.
        (Some(Value::Null), Some(fields)) => {
            fields.remove("status");
        }
        (Some(status), Some(fields)) => {
            fields.insert("status".to_owned(), status);
        }
        (None, _) | (_, None) => {}
    }
}

/// Changes a new object once its name and uid are known; again for every name that is tried.
pub fn named(resource: &Resource, object: &mut Value) {
    (resource.strategy.named)(object);
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
        let sent = new.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut kept = old.clone();
        put(kept.as_object_mut(), "status", status);
        // Labels, annotations and finalizers may come with a status, as upstream allows.
        if let Some(metadata) = object::child(&mut kept, "metadata") {
            for key in ["managedFields", "resourceVersion", "labels", "annotations", "finalizers"] {
                put(Some(metadata), key, sent.get(key).cloned());
            }
        }
        *new = kept;
        return;
    }
    if resource.has_status() {
        put(new.as_object_mut(), "status", old.get("status").cloned());
    }
    match subresource {
        Some("resize") => pod::keep_but_resources(old, new),
        Some("ephemeralcontainers") => pod::keep_but_ephemeral(old, new),
        Some(_) | None => {}
    }
    (resource.strategy.prepare_update)(old, new);
    let changed = resource.generation && content(resource, old) != content(resource, new);
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
fn content(resource: &Resource, object: &Value) -> Map<String, Value> {
    let mut content = object.as_object().cloned().unwrap_or_default();
    for key in ["metadata", "apiVersion", "kind"] {
        content.remove(key);
    }
    if resource.has_status() {
        content.remove("status");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

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
    fn a_status_update_leaves_the_spec_alone() {
        let pods = registry::find("", "v1", "pods").unwrap();
        let old =
            json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {"phase": "Pending"}});
        let mut new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"x": 2},
            "status": {"phase": "Running"}});
        prepare_update(pods, &old, &mut new, Some("status"));
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"x": 1},
                "status": {"phase": "Running"}})
        );
    }
}
