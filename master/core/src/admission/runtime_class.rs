//! A pod gets overhead, node selector and tolerations of its runtime class.

use bramble_api::quantity::Quantity;
use serde_json::Value;

use super::{amounts, items, text};

/// The name of the class that a pod asks for.
#[must_use]
pub fn wanted(pod: &Value) -> Option<&str> {
    Some(text(pod, "/spec/runtimeClassName")).filter(|name| !name.is_empty())
}

/// Gives a new pod what its class has for it; `class` is the one that it names, if that is there.
///
/// # Errors
///
/// Returns why the pod is forbidden.
pub fn admit(pod: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let Some(name) = wanted(pod).map(str::to_owned) else {
        let overhead = pod.pointer("/spec/overhead").and_then(Value::as_object);
        if overhead.is_some_and(|overhead| !overhead.is_empty()) {
            return Err("pod rejected: Pod Overhead set without corresponding RuntimeClass \
                        defined Overhead"
                .to_owned());
        }
        return Ok(());
    };
    let Some(class) = class else {
        return Err(format!("pod rejected: RuntimeClass \"{name}\" not found"));
    };
    set_overhead(pod, class)?;
    set_scheduling(pod, class)
}

fn set_overhead(pod: &mut Value, class: &Value) -> Result<(), String> {
    let fixed = class.pointer("/overhead/podFixed").filter(|fixed| !fixed.is_null());
    let asked = amounts(pod, "/spec/overhead");
    let Some(fixed) = fixed else {
        if asked.is_empty() {
            return Ok(());
        }
        return Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined \
                    Overhead"
            .to_owned());
    };
    let wanted = amounts(class, "/overhead/podFixed");
    let same = |name: &String, amount: &Quantity| wanted.get(name) == Some(amount);
    let differs = asked.len() != wanted.len() || !asked.iter().all(|(n, a)| same(n, a));
    if !asked.is_empty() && differs {
        return Err(
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned()
        );
    }
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("overhead".to_owned(), fixed.clone());
    }
    Ok(())
}

fn set_scheduling(pod: &mut Value, class: &Value) -> Result<(), String> {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let selector = class.pointer("/scheduling/nodeSelector").and_then(Value::as_object);
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        let own = spec.entry("nodeSelector").or_insert_with(|| Value::Object(Default::default()));
        if own.is_null() {
            *own = Value::Object(Default::default());
        }
        let Some(own) = own.as_object_mut() else { return Ok(()) };
        for (key, value) in selector {
            let present = own.entry(key.clone()).or_insert_with(|| value.clone());
            if present != value {
                let (theirs, ours) = (value.as_str().unwrap_or(""), present.as_str().unwrap_or(""));
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {theirs}; \
                     pod.spec.nodeSelector[{key}] = {ours}"
                ));
            }
        }
    }
    let more = items(class, "/scheduling/tolerations");
    if !more.is_empty() {
        let own = spec.entry("tolerations").or_insert_with(|| Value::Array(Vec::new()));
        if own.is_null() {
            *own = Value::Array(Vec::new());
        }
        if let Some(own) = own.as_array_mut() {
            let new: Vec<_> = more.iter().filter(|it| !own.contains(it)).cloned().collect();
            own.extend(new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class() -> Value {
        json!({
            "metadata": {"name": "wasm"}, "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"runtime": "wasm"},
                "tolerations": [{"key": "wasm", "operator": "Exists"}]},
        })
    }

    #[test]
    fn pod_gets_what_its_class_has() {
        let mut pod = json!({"spec": {"runtimeClassName": "wasm", "nodeSelector": {"a": "b"}}});
        admit(&mut pod, Some(&class())).unwrap();
        let tolerations = json!([{"key": "wasm", "operator": "Exists"}]);
        assert_eq!(
            pod["spec"],
            json!({"runtimeClassName": "wasm", "nodeSelector": {"a": "b", "runtime": "wasm"},
                "tolerations": tolerations, "overhead": {"cpu": "250m"}})
        );
        let before = pod.clone();
        admit(&mut pod, Some(&class())).unwrap();
        assert_eq!(pod, before, "a second time changes nothing");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |spec: Value, class: Option<&Value>, wanted: &str| {
            assert_eq!(admit(&mut json!({"spec": spec}), class).unwrap_err(), wanted);
        };
        let unknown = json!({"runtimeClassName": "x"});
        check(unknown, None, "pod rejected: RuntimeClass \"x\" not found");
        check(
            json!({"overhead": {"cpu": "1"}}),
            None,
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        );
        check(
            json!({"runtimeClassName": "wasm", "overhead": {"cpu": "1"}}),
            Some(&class()),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        );
        check(
            json!({"runtimeClassName": "wasm", "nodeSelector": {"runtime": "other"}}),
            Some(&class()),
            "conflict: runtimeClass.scheduling.nodeSelector[runtime] = wasm; \
             pod.spec.nodeSelector[runtime] = other",
        );
    }
}
