//! Defaults of the kinds of `admissionregistration.k8s.io`.

use serde_json::{Map, Value, json};

use super::{items_mut, object_mut};
use crate::object::default;

/// Webhooks that change objects.
pub(crate) fn mutating_webhooks(fields: &mut Map<String, Value>) {
    for webhook in items_mut(fields, "webhooks") {
        default(webhook, "reinvocationPolicy", "Never");
        common(webhook);
    }
}

/// Webhooks that refuse objects.
pub(crate) fn validating_webhooks(fields: &mut Map<String, Value>) {
    items_mut(fields, "webhooks").for_each(common);
}

fn common(webhook: &mut Map<String, Value>) {
    default(webhook, "failurePolicy", "Fail");
    default(webhook, "timeoutSeconds", 10);
    matching(webhook, "rules");
    let service = object_mut(webhook, "clientConfig").and_then(|one| object_mut(one, "service"));
    if let Some(service) = service {
        default(service, "port", 443);
    }
}

/// What is matched: equivalent requests, everywhere.
fn matching(matching: &mut Map<String, Value>, rules: &str) {
    default(matching, "matchPolicy", "Equivalent");
    default(matching, "namespaceSelector", json!({}));
    default(matching, "objectSelector", json!({}));
    items_mut(matching, rules).for_each(|rule| default(rule, "scope", "*"));
}

/// Rules in an expression language, that change or refuse objects.
pub(crate) fn policy(fields: &mut Map<String, Value>) {
    let Some(spec) = object_mut(fields, "spec") else { return };
    default(spec, "failurePolicy", "Fail");
    if let Some(constraints) = object_mut(spec, "matchConstraints") {
        resources(constraints);
    }
}

/// Where such rules hold.
pub(crate) fn binding(fields: &mut Map<String, Value>) {
    let matched = object_mut(fields, "spec").and_then(|spec| object_mut(spec, "matchResources"));
    if let Some(matched) = matched {
        resources(matched);
    }
}

fn resources(matched: &mut Map<String, Value>) {
    matching(matched, "resourceRules");
    items_mut(matched, "excludeResourceRules").for_each(|rule| default(rule, "scope", "*"));
}
