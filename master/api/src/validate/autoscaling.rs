//! Rules for HorizontalPodAutoscaler, in both versions.

use serde_json::Value;

use super::{one_of, required};
use crate::object;
use crate::status::FieldError;

pub(crate) fn autoscaler(object: &Value) -> Vec<FieldError> {
    let mut errors = common(object);
    for (index, metric) in object::items(object, "/spec/metrics").iter().enumerate() {
        let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        let field = format!("spec.metrics[{index}].type");
        errors.extend(one_of(field, object::text(metric, "/type"), &known));
    }
    errors
}

pub(crate) fn autoscaler_v1(object: &Value) -> Vec<FieldError> {
    common(object)
}

fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = required(object, &["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"]);
    let (least, most) = (
        object::integer(object, "/spec/minReplicas"),
        object::integer(object, "/spec/maxReplicas"),
    );
    if most < 1 {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid("spec.maxReplicas", most, detail));
    }
    if least < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.minReplicas", least, detail));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", most, detail));
    }
    errors
}
