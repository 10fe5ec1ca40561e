//! A pod's priority is that of its class.

use serde_json::{Value, json};

use super::text;

/// Names, values and descriptions of the classes that every cluster has.
pub const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
];

const PREEMPT: &str = "PreemptLowerPriority";

/// The class of pods that name none: of several the one with the lowest value.
#[must_use]
pub fn default_class(classes: &[Value]) -> Option<&Value> {
    let default = |class: &&Value| class.get("globalDefault") == Some(&Value::Bool(true));
    classes.iter().filter(default).min_by_key(|class| value(class))
}

/// A class as the API has it.
#[must_use]
pub fn system_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name}, "value": value, "description": description,
    })
}

fn value(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or_default()
}

/// Gives a new pod the priority of its class, of those given.
///
/// # Errors
///
/// Returns why the pod is forbidden: its class is unknown, or it says something else itself.
pub fn admit(pod: &mut Value, classes: &[Value]) -> Result<(), String> {
    let name = text(pod, "/spec/priorityClassName").to_owned();
    let class = if name.is_empty() {
        default_class(classes)
    } else {
        let named = classes.iter().find(|class| text(class, "/metadata/name") == name);
        Some(named.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?)
    };
    let priority = class.map(value).unwrap_or_default();
    let policy = class.map(|class| text(class, "/preemptionPolicy")).unwrap_or_default();
    let policy = if policy.is_empty() { PREEMPT } else { policy };
    let asked = pod.pointer("/spec/priority").and_then(Value::as_i64);
    if let Some(asked) = asked.filter(|asked| *asked != priority) {
        return Err(format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority \
             admission controller computed {priority} from the given PriorityClass name"
        ));
    }
    let asked = text(pod, "/spec/preemptionPolicy");
    if !asked.is_empty() && asked != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({asked}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    let found = class.map(|class| text(class, "/metadata/name").to_owned());
    let policy = policy.to_owned();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("priority".to_owned(), priority.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
        if let Some(found) = found {
            spec.insert("priorityClassName".to_owned(), found.into());
        }
    }
    Ok(())
}

/// Lets a new version of a pod keep what its first got, where a client left it out.
pub fn keep(old: &Value, pod: &mut Value) {
    for field in ["priority", "preemptionPolicy"] {
        let had = old.pointer(&format!("/spec/{field}")).cloned();
        let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
        if let (Some(had), Some(spec)) = (had, spec)
            && spec.get(field).is_none_or(Value::is_null)
        {
            spec.insert(field.to_owned(), had);
        }
    }
}

/// Refuses a second default class.
///
/// # Errors
///
/// Returns why the class is forbidden.
pub fn check_class(class: &Value, others: &[Value]) -> Result<(), String> {
    if class.get("globalDefault") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let name = text(class, "/metadata/name");
    match default_class(others).map(|other| text(other, "/metadata/name")) {
        Some(other) if other != name => Err(format!(
            "PriorityClass {other} is already marked as default. Only one default can exist"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<Value> {
        let class = |name: &str, value: i64, default: bool, policy: &str| {
            json!({"metadata": {"name": name}, "value": value, "globalDefault": default,
                "preemptionPolicy": policy})
        };
        vec![class("high", 1000, false, "Never"), class("usual", 5, true, PREEMPT)]
    }

    fn check(spec: Value, classes: &[Value], wanted: Result<(&str, i64, &str), &str>) {
        let mut pod = json!({"spec": spec});
        let admitted = admit(&mut pod, classes);
        let class = text(&pod, "/spec/priorityClassName");
        let policy = text(&pod, "/spec/preemptionPolicy");
        let priority = pod.pointer("/spec/priority").and_then(Value::as_i64).unwrap_or_default();
        let found = admitted.as_ref().map(|()| (class, priority, policy)).map_err(String::as_str);
        assert_eq!(found, wanted);
    }

    #[test]
    fn priority_is_that_of_the_class_or_of_the_default_class() {
        check(json!({}), &[], Ok(("", 0, PREEMPT)));
        check(json!({}), &classes(), Ok(("usual", 5, PREEMPT)));
        check(json!({"priorityClassName": "high"}), &classes(), Ok(("high", 1000, "Never")));
        check(json!({"priority": 5}), &classes(), Ok(("usual", 5, PREEMPT)));
    }

    #[test]
    fn unknown_classes_and_other_numbers_are_refused() {
        let unknown = json!({"priorityClassName": "x"});
        check(unknown, &classes(), Err("no PriorityClass with name x was found"));
        check(
            json!({"priority": 7}),
            &classes(),
            Err("the integer value of priority (7) must not be provided in pod spec; priority \
                 admission controller computed 5 from the given PriorityClass name"),
        );
        check(
            json!({"preemptionPolicy": "Never"}),
            &[],
            Err("the string value of PreemptionPolicy (Never) must not be provided in pod spec; \
                 priority admission controller computed PreemptLowerPriority from the given \
                 PriorityClass name"),
        );
    }

    #[test]
    fn there_is_one_default() {
        let other = json!({"metadata": {"name": "other"}, "globalDefault": true});
        let refused = check_class(&other, &classes()).unwrap_err();
        assert_eq!(
            refused,
            "PriorityClass usual is already marked as default. Only one default can exist"
        );
        assert_eq!(check_class(&classes()[1], &classes()), Ok(()));
    }
}
