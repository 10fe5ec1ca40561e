//! The level `baseline`: nothing that is known to lead out of a container. Checks come in the order
//! of upstream's names for them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::containers::{self, bad_values, listed, plural, quoted, setters, verb};
use super::{Policy, Violation, violation};
use crate::object;

/// Capabilities that a container may add.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters that a pod may set, with the minor version since which it may.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
/// Types of SELinux that a container may have, with the minor version since which it may.
const SE_LINUX_TYPES: [(&str, u32); 5] = [
    ("", 0),
    ("container_t", 0),
    ("container_init_t", 0),
    ("container_kvm_t", 0),
    ("container_engine_t", 31),
];
/// Annotations by which profiles of AppArmor were set before there were fields.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What goes too far. Checks that the level `restricted` has its own of are left out unless
/// `alone`.
pub(super) fn check(policy: Policy, metadata: &Value, spec: &Value, alone: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(app_armor(metadata, spec));
    found.extend(capabilities(spec).filter(|_| alone));
    found.extend(host_namespaces(spec));
    found.extend(host_paths(spec).filter(|_| alone));
    found.extend(host_ports(spec));
    found.extend(probe_hosts(spec).filter(|_| policy.since(34)));
    found.extend(privileged(spec));
    found.extend(proc_mount(spec));
    found.extend(se_linux(policy, spec));
    found.extend(seccomp(spec).filter(|_| alone));
    found.extend(sysctls(policy, spec));
    found.extend(host_process(spec));
    found
}

fn app_armor(metadata: &Value, spec: &Value) -> Option<Violation> {
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let bad = bad_values(spec, "/appArmorProfile/type", allowed);
    let annotations = object::map(metadata, "/annotations").into_iter().flatten();
    let odd: Vec<String> = annotations
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(key, value)| {
            let known = matches!(*value, "" | "runtime/default") || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !known
        })
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let count = odd.len() + usize::from(bad.pod) + bad.containers.len();
    let mut details = Vec::new();
    if !bad.none() {
        let (who, values) = (bad.setters(), bad.quoted());
        details.push(format!("{who} must not set AppArmor profile type to {values}"));
    }
    if !odd.is_empty() {
        details.push(odd.join(", "));
    }
    let reason = format!("forbidden AppArmor profile{}", plural(count));
    (count > 0).then(|| violation(&reason, details.join(", ")))
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let (names, added) = super::restricted::added_capabilities(spec, &CAPABILITIES);
    let detail = || {
        let (who, added) = (listed(&names), quoted(&added));
        format!("{who} must not include {added} in securityContext.capabilities.add")
    };
    (!names.is_empty()).then(|| violation("non-default capabilities", detail()))
}

fn host_namespaces(spec: &Value) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| object::truth(spec, &format!("/{name}")))
        .map(|name| format!("{name}=true"))
        .collect();
    (!shared.is_empty()).then(|| violation("host namespaces", shared.join(", ")))
}

fn host_paths(spec: &Value) -> Option<Violation> {
    let names: Vec<&str> = object::items(spec, "/volumes")
        .iter()
        .filter(|volume| volume.get("hostPath").is_some())
        .map(|volume| object::text(volume, "/name"))
        .collect();
    let detail = || format!("volume{} {}", plural(names.len()), quoted(&names));
    (!names.is_empty()).then(|| violation("hostPath volumes", detail()))
}

fn host_ports(spec: &Value) -> Option<Violation> {
    let taken = |container: &Value| -> Vec<i64> {
        object::items(container, "/ports")
            .iter()
            .map(|port| object::integer(port, "/hostPort"))
            .filter(|port| *port != 0)
            .collect()
    };
    let names = containers::names(spec, |container| !taken(container).is_empty());
    let ports: BTreeSet<String> =
        containers::all(spec).flat_map(taken).map(|port| port.to_string()).collect();
    let detail = || {
        let list: Vec<&str> = ports.iter().map(String::as_str).collect();
        let (ends, many) = (verb(names.len()), plural(ports.len()));
        format!("{} use{ends} hostPort{many} {}", listed(&names), list.join(", "))
    };
    (!names.is_empty()).then(|| violation("hostPort", detail()))
}

fn probe_hosts(spec: &Value) -> Option<Violation> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut names = Vec::new();
    for container in containers::all(spec) {
        let mut bad = false;
        for place in [
            "/livenessProbe",
            "/readinessProbe",
            "/startupProbe",
            "/lifecycle/postStart",
            "/lifecycle/preStop",
        ] {
            for handler in ["httpGet", "tcpSocket"] {
                let host = object::text(container, &format!("{place}/{handler}/host"));
                if !host.is_empty() {
                    bad = true;
                    found.insert(host);
                }
            }
        }
        if bad {
            names.push(object::text(container, "/name"));
        }
    }
    let detail = || {
        let (ends, many) = (verb(names.len()), plural(found.len()));
        format!("{} use{ends} probe or lifecycle host{many} {}", listed(&names), quoted(&found))
    };
    (!names.is_empty()).then(|| violation("probe or lifecycle host", detail()))
}

fn privileged(spec: &Value) -> Option<Violation> {
    let names = containers::names(spec, |container| {
        object::truth(container, "/securityContext/privileged")
    });
    let detail = || format!("{} must not set securityContext.privileged=true", listed(&names));
    (!names.is_empty()).then(|| violation("privileged", detail()))
}

fn proc_mount(spec: &Value) -> Option<Violation> {
    let bad = bad_values(spec, "/procMount", |kind| kind == "Default");
    let detail = || {
        let (who, values) = (listed(&bad.containers), bad.quoted());
        format!("{who} must not set securityContext.procMount to {values}")
    };
    (!bad.containers.is_empty()).then(|| violation("procMount", detail()))
}

fn se_linux(policy: Policy, spec: &Value) -> Option<Violation> {
    let (mut types, mut names) = (BTreeSet::new(), Vec::new());
    let (mut user, mut role) = (false, false);
    let mut look = |value| {
        let text =
            |key: &str| object::text(value, &format!("/securityContext/seLinuxOptions/{key}"));
        let kind = text("type");
        let known =
            SE_LINUX_TYPES.iter().any(|(name, since)| *name == kind && policy.since(*since));
        if !known {
            types.insert(kind);
        }
        user |= !text("user").is_empty();
        role |= !text("role").is_empty();
        !known || !text("user").is_empty() || !text("role").is_empty()
    };
    let pod = look(spec);
    for container in containers::all(spec) {
        if look(container) {
            names.push(object::text(container, "/name"));
        }
    }
    if !pod && names.is_empty() {
        return None;
    }
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("type{} {}", plural(types.len()), quoted(&types)));
    }
    if user {
        data.push("user may not be set".to_owned());
    }
    if role {
        data.push("role may not be set".to_owned());
    }
    let who = setters(pod, &names);
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Some(violation("seLinuxOptions", detail))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let bad = bad_values(spec, "/seccompProfile/type", allowed);
    let detail = || {
        let (who, values) = (bad.setters(), bad.quoted());
        format!("{who} must not set securityContext.seccompProfile.type to {values}")
    };
    (!bad.none()).then(|| violation("seccompProfile", detail()))
}

fn sysctls(policy: Policy, spec: &Value) -> Option<Violation> {
    let names: Vec<&str> = object::items(spec, "/securityContext/sysctls")
        .iter()
        .map(|sysctl| object::text(sysctl, "/name"))
        .filter(|name| {
            // The kernel takes both ways to write a name.
            let dotted = name.replace('/', ".");
            !SYSCTLS.iter().any(|(known, since)| *known == dotted && policy.since(*since))
        })
        .collect();
    (!names.is_empty()).then(|| violation("forbidden sysctls", names.join(", ")))
}

fn host_process(spec: &Value) -> Option<Violation> {
    let asked = |value: &Value| object::truth(value, "/securityContext/windowsOptions/hostProcess");
    let (pod, names) = (asked(spec), containers::names(spec, asked));
    let detail = || {
        let who = setters(pod, &names);
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true")
    };
    (pod || !names.is_empty()).then(|| violation("hostProcess", detail()))
}
