//! Defaults of HorizontalPodAutoscaler, in both versions.

use serde_json::{Map, Value, json};

use super::object_mut;
use crate::object::default;

/// Percent of processor use that is wanted when nobody says.
const CPU_PERCENT: u32 = 80;

/// Version 2.
pub(crate) fn autoscaler(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT}}}]);
        spec.insert("metrics".to_owned(), cpu);
    }
    let Some(behavior) = object_mut(spec, "behavior") else { return };
    if let Some(up) = object_mut(behavior, "scaleUp") {
        default(up, "stabilizationWindowSeconds", 0);
        default(up, "selectPolicy", "Max");
        default(
            up,
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
    if let Some(down) = object_mut(behavior, "scaleDown") {
        default(down, "selectPolicy", "Max");
        let all = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        default(down, "policies", all);
    }
}

/// Version 1, in which other metrics are in an annotation.
pub(crate) fn autoscaler_v1(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "minReplicas", 1);
}
