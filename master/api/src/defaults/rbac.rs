//! Defaults of RoleBinding and ClusterRoleBinding.

use serde_json::{Map, Value};

use super::{items_mut, object_mut};
use crate::object::default;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A binding.
pub(crate) fn binding(fields: &mut Map<String, Value>) {
    if let Some(role) = object_mut(fields, "roleRef") {
        default(role, "apiGroup", GROUP);
    }
    for subject in items_mut(fields, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            default(subject, "apiGroup", GROUP);
        }
    }
}
