//! Pods: the first status, and the time to end.

use serde_json::{Value, json};

use crate::object;

/// Seconds that a pod may take to end when neither it nor the client says.
const GRACE_S: i64 = 30;

/// Waiting for a node.
pub(crate) fn initial_status(pod: &Value) -> Value {
    json!({"phase": "Pending", "qosClass": quality_of_service(pod)})
}

/// None but for a pod that runs somewhere.
pub(crate) fn grace_s(pod: &Value) -> Option<i64> {
    let ended = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
    let bound = !object::text(pod, "/spec/nodeName").is_empty();
    if !bound || ended {
        return None;
    }
    let own_s = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    Some(own_s.unwrap_or(GRACE_S))
}

/// Takes everything but the resources of containers and how they are resized from the old pod.
pub(crate) fn keep_but_resources(old: &Value, new: &mut Value) {
    let mut kept = old.get("spec").cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        let wanted = object::items(new, &format!("/spec/{list}")).to_vec();
        let list = kept.get_mut(list).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            let Some(wanted) =
                wanted.iter().find(|wanted| wanted.get("name") == container.get("name"))
            else {
                continue;
            };
            for field in ["resources", "resizePolicy"] {
                match wanted.get(field) {
                    Some(value) => drop(container.insert(field.to_owned(), value.clone())),
                    None => drop(container.remove(field)),
                }
            }
        }
    }
    keep(old, new, kept);
}

/// Takes everything but the ephemeral containers from the old pod.
pub(crate) fn keep_but_ephemeral(old: &Value, new: &mut Value) {
    const FIELD: &str = "ephemeralContainers";
    let mut kept = old.get("spec").cloned().unwrap_or_default();
    let wanted = new.pointer("/spec/ephemeralContainers").cloned();
    if let Some(kept) = kept.as_object_mut() {
        match wanted {
            Some(wanted) => drop(kept.insert(FIELD.to_owned(), wanted)),
            None => drop(kept.remove(FIELD)),
        }
    }
    keep(old, new, kept);
}

/// Takes all but the fields that say who wrote from the old object, with another spec.
fn keep(old: &Value, new: &mut Value, spec: Value) {
    let managed = new.pointer("/metadata/managedFields").cloned();
    let version = new.pointer("/metadata/resourceVersion").cloned();
    let mut kept = old.clone();
    if let Some(fields) = kept.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
    if let Some(metadata) = object::child(&mut kept, "metadata") {
        for (key, value) in [("managedFields", managed), ("resourceVersion", version)] {
            match value {
                Some(value) => drop(metadata.insert(key.to_owned(), value)),
                None => drop(metadata.remove(key)),
            }
        }
    }
    *new = kept;
}

/// Quality of service of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn quality_of_service(pod: &Value) -> &'static str {
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

    #[test]
    fn a_resize_changes_resources_and_nothing_else() {
        let old = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "1"}}}],
            "initContainers": [{"name": "s", "image": "i"}],
        }});
        let mut new = json!({"metadata": {"name": "p", "labels": {"x": "y"}}, "spec": {
            "containers": [{"name": "a", "image": "j", "resources": {"limits": {"cpu": "2"}}}],
            "initContainers": [{"name": "s", "resources": {"requests": {"cpu": "3"}}}],
            "nodeName": "else",
        }});
        keep_but_resources(&old, &mut new);
        assert_eq!(
            new,
            json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {
                "containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "2"}}}],
                "initContainers":
                    [{"name": "s", "image": "i", "resources": {"requests": {"cpu": "3"}}}],
            }})
        );
    }

    #[test]
    fn ephemeral_containers_come_and_nothing_else_changes() {
        let old = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let ephemeral = json!([{"name": "e", "image": "i"}]);
        let mut new = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "b"}], "ephemeralContainers": ephemeral,
        }});
        keep_but_ephemeral(&old, &mut new);
        let spec = json!({"containers": [{"name": "a"}], "ephemeralContainers": ephemeral});
        assert_eq!(new["spec"], spec);
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
}
