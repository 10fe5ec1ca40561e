//! Rules for roles and their bindings.

use serde_json::Value;

use super::errors::Errors;
use super::names;
use crate::object;
use crate::status::FieldError;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(object: &Value) -> Vec<FieldError> {
    rules(object, true)
}

pub(crate) fn cluster_role(object: &Value) -> Vec<FieldError> {
    rules(object, false)
}

fn rules(object: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for (index, rule) in object::items(object, "/rules").iter().enumerate() {
        let field = format!("rules[{index}]");
        let any = |name: &str| !object::items(rule, &format!("/{name}")).is_empty();
        if !any("verbs") {
            let detail = "verbs must contain at least one value";
            errors.push(FieldError::required(format!("{field}.verbs"), detail));
        }
        if any("nonResourceURLs") {
            let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
            let place = format!("{field}.nonResourceURLs");
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(place, urls, detail));
            } else if any("apiGroups") || any("resources") || any("resourceNames") {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(place, urls, detail));
            }
            continue;
        }
        if !any("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(format!("{field}.apiGroups"), detail));
        }
        if !any("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format!("{field}.resources"), detail));
        }
    }
    errors.list()
}

pub(crate) fn role_binding(object: &Value) -> Vec<FieldError> {
    binding(object, &["ClusterRole", "Role"])
}

pub(crate) fn cluster_role_binding(object: &Value) -> Vec<FieldError> {
    binding(object, &["ClusterRole"])
}

fn binding(object: &Value, roles: &[&str]) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let group = object::text(object, "/roleRef/apiGroup");
    if group != GROUP {
        errors.push(FieldError::unsupported("roleRef.apiGroup", group, &[GROUP]));
    }
    let kind = object::text(object, "/roleRef/kind");
    if !roles.contains(&kind) {
        errors.push(FieldError::unsupported("roleRef.kind", kind, roles));
    }
    let name = object::text(object, "/roleRef/name");
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    for why in names::path_segment(name) {
        errors.push(FieldError::invalid("roleRef.name", name, &why));
    }
    for (index, subject) in object::items(object, "/subjects").iter().enumerate() {
        let field = format!("subjects[{index}]");
        let (name, group) = (object::text(subject, "/name"), object::text(subject, "/apiGroup"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        let expected = match object::text(subject, "/kind") {
            "ServiceAccount" => {
                if object::text(subject, "/namespace").is_empty() {
                    errors.push(FieldError::required(format!("{field}.namespace"), ""));
                }
                ""
            }
            "User" | "Group" => GROUP,
            other => {
                let known = ["Group", "ServiceAccount", "User"];
                errors.push(FieldError::unsupported(format!("{field}.kind"), other, &known));
                continue;
            }
        };
        if group != expected {
            let field = format!("{field}.apiGroup");
            errors.push(FieldError::unsupported(field, group, &[expected]));
        }
    }
    errors.list()
}

/// A binding to another role is another binding.
pub(crate) fn binding_update(old: &Value, new: &Value) -> Vec<FieldError> {
    if old.get("roleRef") == new.get("roleRef") {
        return Vec::new();
    }
    let role = new.get("roleRef").cloned().unwrap_or_default();
    vec![FieldError::invalid("roleRef", role, "cannot change roleRef")]
}
