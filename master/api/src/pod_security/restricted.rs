//! What the level `restricted` demands beyond `baseline`. Checks come in the order of upstream's
//! names for them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::containers::{self, bad_values, listed, plural, quoted, setters, verb};
use super::{Policy, Violation, violation};
use crate::object;

/// Kinds of volumes that a pod may have.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What goes too far.
pub(super) fn check(policy: Policy, spec: &Value) -> Vec<Violation> {
    // Since 1.25 pods of Windows, where these mean nothing, need not say them.
    let linux = !(object::text(spec, "/os/name") == "windows" && policy.since(25));
    let mut found = Vec::new();
    found.extend(escalation(spec).filter(|_| linux && policy.since(8)));
    found.extend(capabilities(spec).filter(|_| linux && policy.since(22)));
    found.extend(volumes(spec));
    found.extend(run_as_non_root(spec));
    found.extend(run_as_user(spec).filter(|_| policy.since(23)));
    found.extend(seccomp(spec).filter(|_| linux && policy.since(19)));
    found
}

fn escalation(spec: &Value) -> Option<Violation> {
    let names = containers::names(spec, |container| {
        let allowed = container.pointer("/securityContext/allowPrivilegeEscalation");
        allowed != Some(&Value::Bool(false))
    });
    let detail =
        || format!("{} must set securityContext.allowPrivilegeEscalation=false", listed(&names));
    (!names.is_empty()).then(|| violation("allowPrivilegeEscalation != false", detail()))
}

/// Containers that add other capabilities than the allowed ones, and those capabilities.
pub(super) fn added_capabilities<'a>(
    spec: &'a Value,
    allowed: &[&str],
) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let (mut names, mut added) = (Vec::new(), BTreeSet::new());
    for container in containers::all(spec) {
        let list = object::items(container, "/securityContext/capabilities/add");
        let more: Vec<&str> = list
            .iter()
            .filter_map(Value::as_str)
            .filter(|capability| !allowed.contains(capability))
            .collect();
        if !more.is_empty() {
            names.push(object::text(container, "/name"));
            added.extend(more);
        }
    }
    (names, added)
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let keeps = containers::names(spec, |container| {
        let dropped = object::items(container, "/securityContext/capabilities/drop");
        !dropped.iter().any(|capability| capability == "ALL")
    });
    let (adds, added) = added_capabilities(spec, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeps.is_empty() {
        let who = listed(&keeps);
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !adds.is_empty() {
        let (who, added) = (listed(&adds), quoted(&added));
        details.push(format!("{who} must not include {added} in securityContext.capabilities.add"));
    }
    (!details.is_empty()).then(|| violation("unrestricted capabilities", details.join("; ")))
}

fn volumes(spec: &Value) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in object::items(spec, "/volumes") {
        let sources = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let odd: Vec<&str> =
            sources.filter(|key| *key != "name" && !VOLUMES.contains(key)).collect();
        if !odd.is_empty() {
            names.push(object::text(volume, "/name"));
            kinds.extend(odd);
        }
    }
    let detail = || {
        let (many, ends) = (plural(names.len()), verb(names.len()));
        format!(
            "volume{many} {} use{ends} restricted volume type{} {}",
            quoted(&names),
            plural(kinds.len()),
            quoted(&kinds)
        )
    };
    (!names.is_empty()).then(|| violation("restricted volume types", detail()))
}

fn run_as_non_root(spec: &Value) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let said =
        |value: &Value| value.pointer("/securityContext/runAsNonRoot").and_then(Value::as_bool);
    let pod = said(spec);
    let root = containers::names(spec, |container| said(container) == Some(false));
    let silent = containers::names(spec, |container| said(container).is_none());
    // A pod that allows root does no harm if none of its containers leaves it at that.
    let pod_root = pod == Some(false) && !silent.is_empty();
    if pod_root || !root.is_empty() {
        let who = setters(pod_root, &root);
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(violation(REASON, detail));
    }
    if pod == Some(true) || silent.is_empty() {
        return None;
    }
    let who = listed(&silent);
    Some(violation(REASON, format!("pod or {who} must set securityContext.runAsNonRoot=true")))
}

fn run_as_user(spec: &Value) -> Option<Violation> {
    let root = |value: &Value| {
        value.pointer("/securityContext/runAsUser").and_then(Value::as_i64) == Some(0)
    };
    let (pod, names) = (root(spec), containers::names(spec, root));
    let detail = || format!("{} must not set runAsUser=0", setters(pod, &names));
    (pod || !names.is_empty()).then(|| violation("runAsUser=0", detail()))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    const REASON: &str = "seccompProfile";
    let pointer = "/seccompProfile/type";
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let mut bad = bad_values(spec, pointer, allowed);
    let said = |value: &Value| {
        value.pointer("/securityContext/seccompProfile/type").and_then(Value::as_str).is_some()
    };
    let silent = containers::names(spec, |container| !said(container));
    // A pod's own profile does no harm if all of its containers have one.
    bad.pod &= !silent.is_empty();
    if bad.pod || !bad.containers.is_empty() {
        let (who, values) = (bad.setters(), bad.quoted());
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {values}");
        return Some(violation(REASON, detail));
    }
    if said(spec) || silent.is_empty() {
        return None;
    }
    let who = listed(&silent);
    let detail = format!(
        "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\""
    );
    Some(violation(REASON, detail))
}
