//! Fields that are stored as upstream stores them, but that no node acts upon yet.
//!
//! A user who writes one is warned, in the same way as about deprecated fields.

use serde_json::Value;

use crate::resource::Resource;

/// Fields of a container without effect.
const CONTAINER_FIELDS: [&str; 4] =
    ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

/// Texts for `Warning` headers, one a field; empty for a resource without pods in it.
#[must_use]
pub fn warnings(resource: &Resource, object: &Value) -> Vec<String> {
    let Some(pointer) = resource.pod_spec else { return Vec::new() };
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let spec = object.pointer(pointer);
    let mut found = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = spec.and_then(|spec| spec.get(list)).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let unsupported = CONTAINER_FIELDS
                .iter()
                .filter(|field| container.get(**field).is_some_and(|value| !value.is_null()));
            found.extend(unsupported.map(|field| {
                format!("{path}.{list}[{index}].{field}: kept, but without effect in this version")
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry;

    fn told_of(group: &str, kind: &str, object: &Value) -> Vec<String> {
        warnings(registry::by_kind(group, kind).unwrap(), object)
    }

    #[test]
    fn probe_of_a_pod_and_of_a_template_is_told() {
        let spec = json!({ "containers": [{ "name": "a" }, { "readinessProbe": {} }] });
        let pod = json!({ "spec": spec });
        let told = "spec.containers[1].readinessProbe: kept, but without effect in this version";
        assert_eq!(told_of("", "Pod", &pod), [told]);
        let deployment = json!({ "spec": { "template": { "spec": spec } } });
        assert_eq!(told_of("apps", "Deployment", &deployment).len(), 1);
    }

    #[test]
    fn plain_pods_and_other_kinds_are_not_warned_about() {
        assert!(told_of("", "Pod", &json!({ "spec": { "containers": [{}] } })).is_empty());
        assert!(told_of("", "ConfigMap", &json!({ "spec": 1 })).is_empty());
        assert!(told_of("", "Pod", &json!({ "spec": { "containers": 7 } })).is_empty());
    }
}
