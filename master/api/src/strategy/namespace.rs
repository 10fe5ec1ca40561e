//! Namespaces: finalizers in the spec hold them, too, and have a subresource of their own.

use serde_json::Value;

use crate::object;

/// Finalizers of the spec go by their own subresource.
pub(crate) fn prepare_update(old: &Value, new: &mut Value) {
    let finalizers = old.pointer("/spec/finalizers").cloned();
    super::put(object::child(new, "spec"), "finalizers", finalizers);
}

/// Label with the name of the namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Selectors find a namespace by its name through a label.
pub(crate) fn named(namespace: &mut Value) {
    let name = object::text(namespace, "/metadata/name").to_owned();
    let Some(metadata) = namespace.get_mut("metadata").filter(|_| !name.is_empty()) else { return };
    if let Some(labels) = object::child(metadata, "labels") {
        labels.insert(NAME_LABEL.to_owned(), name.into());
    }
}

/// Whether the spec has finalizers.
pub(crate) fn held(namespace: &Value) -> bool {
    !object::items(namespace, "/spec/finalizers").is_empty()
}

/// Nothing new is created in it from now on.
pub(crate) fn deleting(namespace: &mut Value) {
    if let Some(status) = object::child(namespace, "status") {
        status.insert("phase".to_owned(), "Terminating".into());
    }
}
