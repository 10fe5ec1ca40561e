//! CustomResourceDefinition: which versions its objects may be kept in, and what holds it until they
//! are gone.

use serde_json::{Value, json};

use crate::custom::{CLEANUP, lifecycle};
use crate::object::{self, items, text, truth};

/// Nothing is accepted yet.
pub(crate) fn initial_status(definition: &Value) -> Value {
    let stored: Vec<&str> = storing(definition).into_iter().collect();
    let names = json!({"kind": "", "plural": ""});
    json!({"acceptedNames": names, "storedVersions": stored})
}

/// A version that objects are kept in is remembered, also when another one follows.
pub(crate) fn prepare_update(_old: &Value, new: &mut Value) {
    let Some(name) = storing(new).map(str::to_owned) else { return };
    let Some(status) = object::child(new, "status") else { return };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(stored) = stored.as_array_mut().filter(|all| !all.iter().any(|one| *one == name)) {
        stored.push(name.into());
    }
}

/// It stays until its objects are gone.
pub(crate) fn deleting(definition: &mut Value) {
    let now = text(definition, "/metadata/deletionTimestamp").to_owned();
    if let Some(metadata) = object::child(definition, "metadata") {
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) =
            finalizers.as_array_mut().filter(|all| !all.iter().any(|it| it == CLEANUP))
        {
            list.push(CLEANUP.into());
        }
    }
    if let Some(status) = definition.get_mut("status") {
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will \
                       begin soon";
        lifecycle::set_ending(status, "InstanceDeletionPending", message, &now);
    }
}

fn storing(definition: &Value) -> Option<&str> {
    let versions = items(definition, "/spec/versions");
    versions.iter().find(|version| truth(version, "/storage")).map(|version| text(version, "/name"))
}
