//! Defaults of ResourceClaim and its template.

use serde_json::{Map, Value};

use super::{items_mut, object_mut};
use crate::object::default;

/// A claim of devices.
pub(crate) fn claim(fields: &mut Map<String, Value>) {
    if let Some(spec) = object_mut(fields, "spec") {
        claim_spec(spec);
    }
}

/// A template of claims.
pub(crate) fn claim_template(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    if let Some(spec) = object_mut(spec, "spec") {
        claim_spec(spec);
    }
}

fn claim_spec(spec: &mut Map<String, Value>) {
    let Some(devices) = object_mut(spec, "devices") else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = object_mut(request, "exactly") {
            amount(exactly);
        }
        items_mut(request, "firstAvailable").for_each(amount);
    }
}

fn amount(request: &mut Map<String, Value>) {
    default(request, "allocationMode", "ExactCount");
    if request.get("allocationMode").and_then(Value::as_str) == Some("ExactCount") {
        default(request, "count", 1);
    }
}
