//! Columns of RoleBinding and ClusterRoleBinding.

use serde_json::Value;

use super::{Column, age, name, name_column, text, wide};
use crate::object;

pub(crate) const BINDING: &[Column] = &[
    name_column(),
    text("Role"),
    text("Age"),
    wide("Users"),
    wide("Groups"),
    wide("ServiceAccounts"),
];

pub(crate) fn binding(object: &Value, now: i64) -> Vec<Value> {
    let role = format!(
        "{}/{}",
        object::text(object, "/roleRef/kind"),
        object::text(object, "/roleRef/name")
    );
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = object::items(object, "/subjects")
            .iter()
            .filter(|subject| object::text(subject, "/kind") == kind)
            .map(|subject| {
                let name = object::text(subject, "/name");
                match object::text(subject, "/namespace") {
                    "" => name.to_owned(),
                    namespace => format!("{namespace}/{name}"),
                }
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        name(object),
        role.into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
