//! CustomResourceDefinition.

use serde_json::{Map, Value, json};

use super::object_mut;
use crate::object::default;

/// Names that follow from others, no conversion, and the version that is kept.
pub(crate) fn definition(object: &mut Map<String, Value>) {
    let Some(spec) = object_mut(object, "spec") else { return };
    if let Some(names) = object_mut(spec, "names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        default(names, "singular", kind.to_lowercase());
        if !kind.is_empty() {
            default(names, "listKind", format!("{kind}List"));
        }
    }
    default(spec, "conversion", json!({"strategy": "None"}));
    let service = object_mut(spec, "conversion")
        .and_then(|conversion| object_mut(conversion, "webhook"))
        .and_then(|webhook| object_mut(webhook, "clientConfig"))
        .and_then(|client| object_mut(client, "service"));
    if let Some(service) = service {
        default(service, "port", 443);
    }
    // What upstream leaves out when it is false.
    if spec.get("preserveUnknownFields") == Some(&Value::Bool(false)) {
        spec.remove("preserveUnknownFields");
    }
}
