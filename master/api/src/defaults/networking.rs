//! Defaults of IngressClass and NetworkPolicy.

use serde_json::{Map, Value, json};

use super::{items_mut, object_mut};
use crate::object::{self, default};

/// Who makes ingresses work.
pub(crate) fn ingress_class(fields: &mut Map<String, Value>) {
    if let Some(parameters) =
        object_mut(fields, "spec").and_then(|spec| object_mut(spec, "parameters"))
    {
        default(parameters, "scope", "Cluster");
    }
}

/// Who may talk to whom.
pub(crate) fn network_policy(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    for rules in ["ingress", "egress"] {
        for rule in items_mut(spec, rules) {
            items_mut(rule, "ports").for_each(|port| default(port, "protocol", "TCP"));
        }
    }
    let outward = spec.get("egress").is_some_and(|rules| !object::items(rules, "").is_empty());
    let types = if outward { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec, "policyTypes", types);
}
