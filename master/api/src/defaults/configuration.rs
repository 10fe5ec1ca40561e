//! Defaults of Namespace and Secret.

use serde_json::{Map, Value, json};

use crate::object;

/// The label that carries the namespace's name, and the finalizer of its content.
pub(crate) fn namespace(fields: &mut Map<String, Value>) {
    let name = fields.get("metadata").map(|metadata| object::text(metadata, "/name").to_owned());
    if let (Some(name), Some(metadata)) = (name, super::object_mut(fields, "metadata"))
        && !name.is_empty()
    {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
    }
    fields.entry("spec").or_insert_with(|| json!({}));
    let deleted = fields_deleted(fields.get("metadata"));
    let spec = if deleted { None } else { fields.get_mut("spec").and_then(Value::as_object_mut) };
    if let Some(spec) = spec {
        object::default(spec, "finalizers", json!(["kubernetes"]));
    }
}

/// A namespace that goes away loses its finalizer for good.
fn fields_deleted(metadata: Option<&Value>) -> bool {
    metadata.is_some_and(|metadata| metadata.get("deletionTimestamp").is_some())
}

/// Type, and texts of `stringData` moved to `data`.
pub(crate) fn secret(fields: &mut Map<String, Value>) {
    object::default(fields, "type", "Opaque");
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            let encoded = crate::protobuf::base64(text.as_str().unwrap_or_default().as_bytes());
            data.insert(key, encoded.into());
        }
    }
}
