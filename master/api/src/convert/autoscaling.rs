//! HorizontalPodAutoscaler: version 2, in which it is kept, and version 1, which has a field for
//! the use of processors and writes all other metrics, conditions and behaviour into annotations.

use serde_json::{Map, Value, json};

use crate::object;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Percent of processor use that a metric wants, if that is what it is about.
fn cpu_percent(metric: &Value, side: &str) -> Option<i64> {
    let source = metric.get("resource")?;
    let percent = source.get(side)?.get("averageUtilization")?.as_i64()?;
    (object::text(metric, "/type") == "Resource" && object::text(source, "/name") == "cpu")
        .then_some(percent)
}

/// Version 1.
pub(crate) fn to_v1(autoscaler: &mut Value) {
    let mut notes = Map::new();
    let mut note = |key: &str, value: Value| {
        notes.insert(key.to_owned(), value.to_string().into());
    };
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics").and_then(|list| list.as_array().cloned());
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics
            .unwrap_or_default()
            .into_iter()
            .partition(|metric| cpu_percent(metric, "target").is_some());
        if let Some(percent) = cpu.first().and_then(|metric| cpu_percent(metric, "target")) {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent.into());
        }
        if !others.is_empty() {
            note(METRICS, Value::Array(others));
        }
        if let Some(behavior) = spec.remove("behavior") {
            note(BEHAVIOR, behavior);
        }
    }
    if let Some(status) = autoscaler.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(Value::Array(metrics)) = status.remove("currentMetrics") {
            if let Some(percent) = metrics.iter().find_map(|one| cpu_percent(one, "current")) {
                status.insert("currentCPUUtilizationPercentage".to_owned(), percent.into());
            }
            note(CURRENT_METRICS, Value::Array(metrics));
        }
        if let Some(conditions) = status.remove("conditions") {
            note(CONDITIONS, conditions);
        }
    }
    set_version(autoscaler, "autoscaling/v1");
    if !notes.is_empty()
        && let Some(metadata) = autoscaler.get_mut("metadata")
        && let Some(annotations) = object::child(metadata, "annotations")
    {
        annotations.extend(notes);
    }
}

/// Version 2.
pub(crate) fn from_v1(autoscaler: &mut Value) {
    let mut take = |key: &str| {
        let metadata = autoscaler.get_mut("metadata")?.as_object_mut()?;
        let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
        let text = annotations.remove(key)?;
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    let (metrics, behavior) = (take(METRICS), take(BEHAVIOR));
    let (current, conditions) = (take(CURRENT_METRICS), take(CONDITIONS));
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        let cpu = spec.remove("targetCPUUtilizationPercentage").and_then(|one| one.as_i64());
        let cpu = cpu.map(|percent| {
            json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent}}})
        });
        let others = metrics.and_then(|list| list.as_array().cloned()).unwrap_or_default();
        let all: Vec<Value> = cpu.into_iter().chain(others).collect();
        if !all.is_empty() {
            spec.insert("metrics".to_owned(), Value::Array(all));
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = autoscaler.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
        if let Some(current) = current {
            status.insert("currentMetrics".to_owned(), current);
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
    }
    set_version(autoscaler, "autoscaling/v2");
}

fn set_version(autoscaler: &mut Value, version: &str) {
    if let Some(fields) = autoscaler.as_object_mut() {
        fields.insert("apiVersion".to_owned(), version.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let kept = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Max"}},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80}}},
                    {"type": "Pods", "pods": {"metric": {"name": "x"},
                        "target": {"type": "AverageValue", "averageValue": "1"}}},
                ]},
            "status": {"currentReplicas": 1, "conditions": [{"type": "AbleToScale"}]}});
        let mut autoscaler = kept.clone();
        to_v1(&mut autoscaler);
        assert_eq!(autoscaler["apiVersion"], "autoscaling/v1");
        assert_eq!(autoscaler["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(autoscaler["spec"].get("metrics"), None);
        assert_eq!(autoscaler["metadata"]["annotations"].as_object().unwrap().len(), 3);
        from_v1(&mut autoscaler);
        assert_eq!(autoscaler, kept);
    }
}
