//! Leases: renewals must not wake the card.

use serde_json::Value;

use crate::object;
use crate::resource::Class;

/// Node leases are heartbeats; any other lease is a user's election, whose renewals can wait.
pub(crate) fn class(old: Option<&Value>, new: &Value) -> Class {
    if object::text(new, "/metadata/namespace") == "kube-node-lease" {
        return Class::Volatile;
    }
    let without_renewal = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("renewTime");
        }
        spec
    };
    match old {
        Some(old) if without_renewal(old) == without_renewal(new) => Class::Reported,
        Some(_) | None => Class::Intent,
    }
}
