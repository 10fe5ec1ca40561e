//! Rules for who the processes of a pod are and what they may do to the node.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::one_of;
use crate::object;
use crate::status::FieldError;

/// Largest user and group, as upstream: larger ones become others where 32 bits are all there is.
const ID_MAX: i64 = i32::MAX as i64;
const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
/// Longest name of a kernel parameter, as upstream.
const SYSCTL_LEN_MAX: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
     ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// The security context of a pod.
pub(super) fn of_pod(context: &Value, host_network: bool, field: &str, errors: &mut Errors) {
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        id(context.get(name), &format!("{field}.{name}"), errors);
    }
    for (index, group) in object::items(context, "/supplementalGroups").iter().enumerate() {
        id(Some(group), &format!("{field}.supplementalGroups[{index}]"), errors);
    }
    if let Some(policy) = context.get("fsGroupChangePolicy").and_then(Value::as_str) {
        let known = ["Always", "OnRootMismatch"];
        errors.extend(one_of(format!("{field}.fsGroupChangePolicy"), policy, &known));
    }
    if let Some(policy) = context.get("supplementalGroupsPolicy").and_then(Value::as_str) {
        let known = ["Merge", "Strict"];
        errors.extend(one_of(format!("{field}.supplementalGroupsPolicy"), policy, &known));
    }
    sysctls(context, host_network, field, errors);
    profiles(context, field, errors);
}

/// The security context of a container.
pub(super) fn of_container(context: &Value, field: &str, errors: &mut Errors) {
    for name in ["runAsUser", "runAsGroup"] {
        id(context.get(name), &format!("{field}.{name}"), errors);
    }
    if let Some(kind) = context.get("procMount").and_then(Value::as_str) {
        errors.extend(one_of(format!("{field}.procMount"), kind, &["Default", "Unmasked"]));
    }
    if context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        if object::truth(context, "/privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(field, context.clone(), detail));
        }
        let added = object::items(context, "/capabilities/add");
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                          CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(field, context.clone(), detail));
        }
    }
    profiles(context, field, errors);
}

fn id(value: Option<&Value>, field: &str, errors: &mut Errors) {
    let Some(value) = value.filter(|value| !value.is_null()) else { return };
    if !value.as_i64().is_some_and(|id| (0..=ID_MAX).contains(&id)) {
        errors.push(FieldError::invalid(field, value.clone(), ID_RANGE));
    }
}

fn sysctls(context: &Value, host_network: bool, field: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, sysctl) in object::items(context, "/sysctls").iter().enumerate() {
        let field = format!("{field}.sysctls[{index}].name");
        let name = object::text(sysctl, "/name");
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        if !is_sysctl(name) {
            errors.push(FieldError::invalid(field, name, SYSCTL));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        } else if host_network && name.replace('/', ".").starts_with("net.") {
            let detail = "may not be specified when 'hostNetwork' is true";
            errors.push(FieldError::invalid(field, name, detail));
        }
    }
}

/// Parts of lower-case letters, digits, `-` and `_`, between dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        part.bytes().next().is_some_and(edge)
            && part.bytes().last().is_some_and(edge)
            && part.bytes().all(|byte| edge(byte) || byte == b'-' || byte == b'_')
    };
    name.len() <= SYSCTL_LEN_MAX && name.split(['.', '/']).all(part)
}

fn profiles(context: &Value, field: &str, errors: &mut Errors) {
    for (name, local) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let Some(profile) = context.get(name) else { continue };
        let field = format!("{field}.{name}");
        let kind = object::text(profile, "/type");
        let known = ["Localhost", "RuntimeDefault", "Unconfined"];
        if kind.is_empty() {
            let detail = format!("type is required when {name} is set");
            errors.push(FieldError::required(format!("{field}.type"), detail));
        } else {
            errors.extend(one_of(format!("{field}.type"), kind, &known));
        }
        let path = profile.get("localhostProfile").and_then(Value::as_str);
        match (kind, path) {
            ("Localhost", None | Some("")) => {
                let detail = format!("must be set when {local} type is Localhost");
                errors.push(FieldError::required(format!("{field}.localhostProfile"), detail));
            }
            ("Localhost", Some(path)) => {
                super::volume::descending(path, &format!("{field}.localhostProfile"), errors);
            }
            (_, Some(path)) => {
                let detail = format!("can only be set when {local} type is Localhost");
                let field = format!("{field}.localhostProfile");
                errors.push(FieldError::invalid(field, path, &detail));
            }
            (_, None) => {}
        }
    }
}
