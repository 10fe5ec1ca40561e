//! Rules for the spec of a pod, also that of a template.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::errors::Errors;
use super::{container, metadata, names, one_of, scheduling, security_context, volume};
use crate::object;
use crate::status::FieldError;

/// Seconds that a pod has to end in when it does not say.
const GRACE_S: i64 = 30;
/// Longest time that a pod may run, as upstream.
const DEADLINE_MAX_S: i64 = i32::MAX as i64;

/// All of it.
pub(super) fn pod_spec(spec: &Value, field: &str, errors: &mut Errors) {
    let volumes = volume::check(spec, field, errors);
    let grace_s = spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    let mut seen = BTreeSet::new();
    if object::items(spec, "/containers").is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, found) in object::items(spec, &format!("/{list}")).iter().enumerate() {
            if errors.full() {
                return;
            }
            let field = format!("{field}.{list}[{index}]");
            let name = object::text(found, "/name");
            if !name.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
            container::check(found, &field, &volumes, grace_s.unwrap_or(GRACE_S), errors);
            if list == "ephemeralContainers" {
                let target = object::text(found, "/targetContainerName");
                let known = |list: &str| {
                    let all = object::items(spec, &format!("/{list}"));
                    all.iter().any(|other| object::text(other, "/name") == target)
                };
                if !target.is_empty() && !known("containers") && !known("initContainers") {
                    let field = format!("{field}.targetContainerName");
                    errors.push(FieldError::not_found(field, target));
                }
                container::ephemeral(found, &field, errors);
            }
        }
    }
    host_ports(spec, field, errors);
    policies(spec, field, errors);
    durations(spec, field, errors);
    own_names(spec, field, errors);
    host_aliases(spec, field, errors);
    let host_network = object::truth(spec, "/hostNetwork");
    if let Some(context) = spec.get("securityContext") {
        let field = format!("{field}.securityContext");
        security_context::of_pod(context, host_network, &field, errors);
    }
    metadata::labels(spec, "nodeSelector", field, errors);
    scheduling::check(spec, field, errors);
}

fn policies(spec: &Value, field: &str, errors: &mut Errors) {
    let policy = object::text(spec, "/restartPolicy");
    let known = ["Always", "OnFailure", "Never"];
    errors.extend(one_of(format!("{field}.restartPolicy"), policy, &known));
    let dns = object::text(spec, "/dnsPolicy");
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.extend(one_of(format!("{field}.dnsPolicy"), dns, &known));
    if dns == "None" && object::items(spec, "/dnsConfig/nameservers").is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(format!("{field}.dnsConfig"), detail));
    }
    if let Some(policy) = spec.get("preemptionPolicy").and_then(Value::as_str) {
        let known = ["Never", "PreemptLowerPriority"];
        errors.extend(one_of(format!("{field}.preemptionPolicy"), policy, &known));
    }
    if object::truth(spec, "/shareProcessNamespace") && object::truth(spec, "/hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        let field = format!("{field}.shareProcessNamespace");
        errors.push(FieldError::invalid(field, true, detail));
    }
}

fn durations(spec: &Value, field: &str, errors: &mut Errors) {
    let number = |name: &str| spec.get(name).and_then(Value::as_i64);
    if let Some(grace) = number("terminationGracePeriodSeconds").filter(|grace| *grace < 0) {
        let detail = "must be greater than or equal to 0";
        let field = format!("{field}.terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(field, grace, detail));
    }
    let deadline = number("activeDeadlineSeconds");
    if let Some(deadline) = deadline.filter(|time| !(1..=DEADLINE_MAX_S).contains(time)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        let field = format!("{field}.activeDeadlineSeconds");
        errors.push(FieldError::invalid(field, deadline, detail));
    }
}

/// What is wrong with a name.
type Rule = fn(&str) -> Vec<String>;

fn own_names(spec: &Value, field: &str, errors: &mut Errors) {
    let rules: [(&str, Rule); 5] = [
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
        ("serviceAccountName", names::dns_subdomain),
        ("nodeName", names::dns_subdomain),
        ("priorityClassName", names::dns_subdomain),
    ];
    for (name, rule) in rules {
        let text = object::text(spec, &format!("/{name}"));
        if !text.is_empty() {
            let wrong = rule(text).into_iter();
            errors.extend(
                wrong.map(|why| FieldError::invalid(format!("{field}.{name}"), text, &why)),
            );
        }
    }
}

/// Lines of the hosts file: a name with a line break would be lines of its own.
fn host_aliases(spec: &Value, field: &str, errors: &mut Errors) {
    for (index, alias) in object::items(spec, "/hostAliases").iter().enumerate() {
        let field = format!("{field}.hostAliases[{index}]");
        let address = object::text(alias, "/ip");
        if address.parse::<IpAddr>().is_err() {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("{field}.ip"), address, detail));
        }
        let hostnames = object::items(alias, "/hostnames").iter().filter_map(Value::as_str);
        for (index, name) in hostnames.enumerate() {
            let wrong = names::dns_subdomain(name).into_iter();
            errors.extend(
                wrong.map(|why| {
                    FieldError::invalid(format!("{field}.hostnames[{index}]"), name, &why)
                }),
            );
        }
    }
}

/// Two containers of a pod cannot take the same port of the node, and with its network each port
/// is the node's.
fn host_ports(spec: &Value, field: &str, errors: &mut Errors) {
    let host_network = object::truth(spec, "/hostNetwork");
    let mut seen = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (outer, found) in object::items(spec, &format!("/{list}")).iter().enumerate() {
            for (index, port) in object::items(found, "/ports").iter().enumerate() {
                let field = format!("{field}.{list}[{outer}].ports[{index}]");
                let number = object::integer(port, "/hostPort");
                let own = object::integer(port, "/containerPort");
                if host_network && number != own {
                    let detail = "must match `hostPort` when `hostNetwork` is true";
                    errors.push(FieldError::invalid(format!("{field}.containerPort"), own, detail));
                }
                let address = object::text(port, "/hostIP");
                let protocol = object::text(port, "/protocol");
                // Init containers run before the others, so only those run together clash.
                let together = list == "containers";
                if together && number != 0 && !seen.insert((protocol, address, number)) {
                    let value = format!("{address}/{protocol}/{number}");
                    errors.push(FieldError::duplicate(format!("{field}.hostPort"), value));
                }
            }
        }
    }
}
