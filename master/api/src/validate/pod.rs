//! Rules for Pod: its spec, and what of it may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::errors::Errors;
use super::pod_spec;
use crate::object;
use crate::status::FieldError;
use crate::strategy::pod::quality_of_service;

pub(crate) fn pod(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    pod_spec::pod_spec(object.get("spec").unwrap_or(&Value::Null), "spec", &mut errors);
    errors.list()
}

/// Ephemeral containers come by a subresource only, to a pod that is there.
pub(crate) fn create(object: &Value) -> Vec<FieldError> {
    if object::items(object, "/spec/ephemeralContainers").is_empty() {
        return Vec::new();
    }
    vec![FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create")]
}

/// Of the containers only processor and memory may change, and not so that the pod becomes one of
/// another quality of service; what has an amount keeps one.
pub(crate) fn resize(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let quality = quality_of_service(new);
    if quality_of_service(old) != quality {
        let detail = "Pod QOS Class may not change as a result of resizing";
        let shown = object::text(new, "/status/qosClass");
        errors.push(FieldError::invalid("spec", shown, detail));
    }
    for list in ["initContainers", "containers"] {
        let pointer = format!("/spec/{list}");
        let pairs = object::items(old, &pointer).iter().zip(object::items(new, &pointer));
        for (index, (old, new)) in pairs.enumerate() {
            let field = format!("spec.{list}[{index}].resources");
            for (kind, word) in [("requests", "requests"), ("limits", "limits")] {
                let amounts = |container| object::map(container, &format!("/resources/{kind}"));
                let gone = ["cpu", "memory"].iter().any(|name| {
                    let has =
                        |container| amounts(container).is_some_and(|all| all.contains_key(*name));
                    has(old) && !has(new)
                });
                if gone {
                    let detail = format!("resource {word} cannot be removed");
                    errors.push(FieldError::forbidden(format!("{field}.{kind}"), detail));
                }
            }
            if fixed_resources(old) != fixed_resources(new) {
                let detail = "only cpu and memory resources are mutable";
                errors.push(FieldError::forbidden("spec", detail));
            }
        }
    }
    errors.list()
}

/// A container's resources without those that a resize may change.
fn fixed_resources(container: &Value) -> Value {
    let mut resources = container.get("resources").cloned().unwrap_or_else(|| json!({}));
    for kind in ["requests", "limits"] {
        let Some(fields) = resources.as_object_mut() else { continue };
        let Some(amounts) = fields.get_mut(kind).and_then(Value::as_object_mut) else { continue };
        amounts.remove("cpu");
        amounts.remove("memory");
        if amounts.is_empty() {
            fields.remove(kind);
        }
    }
    resources
}

/// Ephemeral containers are added, and neither changed nor taken away.
pub(crate) fn ephemeral(old: &Value, new: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.ephemeralContainers";
    let mut errors = Errors::default();
    let all = |pod| object::items(pod, "/spec/ephemeralContainers");
    for present in all(old) {
        let name = object::text(present, "/name");
        match all(new).iter().position(|found| object::text(found, "/name") == name) {
            None => {
                let detail =
                    format!("existing ephemeral containers \"{name}\" may not be removed\n");
                errors.push(FieldError::forbidden(FIELD, detail));
            }
            Some(index) if all(new).get(index) != Some(present) => {
                let detail =
                    format!("existing ephemeral containers \"{name}\" may not be changed\n");
                errors.push(FieldError::forbidden(format!("{FIELD}[{index}]"), detail));
            }
            Some(_) => {}
        }
    }
    errors.list()
}

/// Only images, deadlines, added tolerations and removed gates of a pod may change; while a gate
/// holds it back, it may also become more choosy.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let after = tolerations(new);
    if !tolerations(old).is_subset(&after) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    let deadline = |pod: &Value| pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64);
    if let Some(old_deadline) = deadline(old)
        && deadline(new).is_none_or(|new_deadline| new_deadline > old_deadline)
    {
        let detail = format!("must be less than or equal to previous value `{old_deadline}`");
        let value = deadline(new).map_or(Value::Null, Value::from);
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", value, &detail));
    }
    gates(old, new, &mut errors);
    let count = |pod: &Value, list: &str| object::items(pod, &format!("/spec/{list}")).len();
    for list in ["containers", "initContainers"] {
        if count(old, list) != count(new, list) {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            return errors.list();
        }
    }
    let gated = !object::items(old, "/spec/schedulingGates").is_empty();
    if gated {
        node_selector(old, new, &mut errors);
    }
    if fixed_part(old, gated) != fixed_part(new, gated) {
        let detail = "pod updates may not change fields other than \
                      `spec.containers[*].image`,`spec.initContainers[*].image`,\
                      `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                      tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 \
                      if it was previously negative)";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors.list()
}

/// The tolerations of a pod without their seconds, which may change.
fn tolerations(pod: &Value) -> BTreeSet<String> {
    object::items(pod, "/spec/tolerations")
        .iter()
        .map(|toleration| {
            let mut toleration = toleration.clone();
            if let Some(fields) = toleration.as_object_mut() {
                fields.remove("tolerationSeconds");
            }
            toleration.to_string()
        })
        .collect()
}

/// Gates are opened, never added.
fn gates(old: &Value, new: &Value, errors: &mut Errors) {
    let names = |pod| {
        object::items(pod, "/spec/schedulingGates").iter().map(|gate| object::text(gate, "/name"))
    };
    let before: BTreeSet<&str> = names(old).collect();
    for (index, name) in names(new).enumerate().filter(|(_, name)| !before.contains(name)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.push(FieldError::forbidden(format!("spec.schedulingGates[{index}].name"), detail));
    }
}

/// A node selector may only get more entries.
fn node_selector(old: &Value, new: &Value, errors: &mut Errors) {
    let entries = object::map(new, "/spec/nodeSelector");
    let kept = object::map(old, "/spec/nodeSelector")
        .into_iter()
        .flatten()
        .all(|(key, value)| entries.is_some_and(|entries| entries.get(key) == Some(value)));
    if !kept {
        let shown = entries.cloned().map_or(Value::Null, Value::Object);
        let detail = "additions only are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid("spec.nodeSelector", shown, detail));
    }
}

fn fixed_part(pod: &Value, gated: bool) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_else(|| json!({}));
    let Some(fields) = spec.as_object_mut() else { return spec };
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        fields.remove(name);
    }
    if gated {
        fields.remove("nodeSelector");
    }
    for name in ["containers", "initContainers"] {
        let list = fields.get_mut(name).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_resize_changes_amounts_only() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let old = pod(json!({"requests": {"cpu": "1", "x.y/z": "1"}, "limits": {"x.y/z": "1"}}));
        let check = |resources: Value, expected: &[&str]| {
            assert_eq!(texts(&resize(&old, &pod(resources))), expected);
        };
        check(json!({"requests": {"cpu": "2", "x.y/z": "1"}, "limits": {"x.y/z": "1"}}), &[]);
        check(
            json!({"requests": {"cpu": "1", "x.y/z": "2"}, "limits": {"x.y/z": "2"}}),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        );
        check(
            json!({"requests": {"memory": "1", "x.y/z": "1"}, "limits": {"x.y/z": "1"}}),
            &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be \
               removed"],
        );
        let limits = json!({"cpu": "1", "memory": "1", "x.y/z": "1"});
        check(
            json!({"requests": {"cpu": "1", "x.y/z": "1"}, "limits": limits}),
            &["spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing"],
        );
    }

    #[test]
    fn ephemeral_containers_are_added_only() {
        let pod = |all: Value| json!({"spec": {"ephemeralContainers": all}});
        let old = pod(json!([{"name": "a", "image": "i"}]));
        let check = |all: Value, expected: &[&str]| {
            assert_eq!(texts(&ephemeral(&old, &pod(all))), expected);
        };
        check(json!([{"name": "b", "image": "i"}, {"name": "a", "image": "i"}]), &[]);
        check(
            json!([{"name": "b", "image": "i"}]),
            &[
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not be \
               removed\n",
            ],
        );
        check(
            json!([{"name": "a", "image": "j"}]),
            &[
                "spec.ephemeralContainers[0]: Forbidden: existing ephemeral containers \"a\" may not \
               be changed\n",
            ],
        );
    }

    #[test]
    fn nothing_relies_on_an_ephemeral_container() {
        let check = |container: Value, expected: &[&str]| {
            let mut errors = Errors::default();
            let mut all = json!({"name": "e", "image": "i", "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always"});
            all.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
            let mut spec = json!({"restartPolicy": "Always", "dnsPolicy": "Default"});
            spec["containers"] = json!([all]);
            spec["containers"][0]["name"] = json!("c");
            for field in ["ports", "lifecycle", "volumeMounts", "targetContainerName"] {
                spec["containers"][0].as_object_mut().unwrap().remove(field);
            }
            spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
            spec["ephemeralContainers"] = json!([all]);
            pod_spec::pod_spec(&spec, "spec", &mut errors);
            assert_eq!(texts(&errors.list()), expected);
        };
        check(json!({"resources": {}}), &[]);
        check(json!({"targetContainerName": "c"}), &[]);
        let field = "spec.ephemeralContainers[0]";
        check(
            json!({"targetContainerName": "x"}),
            &[&format!("{field}.targetContainerName: Not found: \"x\"")],
        );
        check(
            json!({"ports": [{"containerPort": 1, "protocol": "TCP"}]}),
            &[&format!("{field}.ports: Forbidden: cannot be set for an Ephemeral Container")],
        );
        let mount = json!([{"name": "v", "mountPath": "/v", "subPath": "x"}]);
        check(
            json!({"volumeMounts": mount}),
            &[&format!(
                "{field}.volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container"
            )],
        );
    }
}
