//! Rules for Service and EndpointSlice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::errors::Errors;
use super::{metadata, names, one_of, unchanged};
use crate::object;
use crate::status::FieldError;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

pub(crate) fn service(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let kind = object::text(object, "/spec/type");
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.extend(one_of("spec.type".to_owned(), kind, &known));
    let affinity = object::text(object, "/spec/sessionAffinity");
    errors.extend(one_of("spec.sessionAffinity".to_owned(), affinity, &["ClientIP", "None"]));
    let spec = object.get("spec").unwrap_or(&Value::Null);
    metadata::labels(spec, "selector", "spec", &mut errors);
    policies(spec, kind, &mut errors);
    for (index, address) in object::items(spec, "/externalIPs").iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        special_address(address, &format!("spec.externalIPs[{index}]"), &mut errors);
    }
    let cluster_ip = object::text(object, "/spec/clusterIP");
    if !cluster_ip.is_empty() && cluster_ip != "None" && cluster_ip.parse::<IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", cluster_ip, detail));
    }
    if kind == "ExternalName" {
        let name = object::text(object, "/spec/externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        }
        for why in names::dns_subdomain(name).into_iter().filter(|_| !name.is_empty()) {
            errors.push(FieldError::invalid("spec.externalName", name, &why));
        }
    }
    if cluster_ip == "None" && (kind == "NodePort" || kind == "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", cluster_ip, &detail));
    }
    let ports = object::items(object, "/spec/ports");
    if ports.is_empty() && cluster_ip != "None" && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    check_ports(ports, kind, &mut errors);
    errors.list()
}

/// How traffic is spread.
fn policies(spec: &Value, kind: &str, errors: &mut Errors) {
    let known = ["Cluster", "Local"];
    if let Some(policy) = spec.get("internalTrafficPolicy").and_then(Value::as_str)
        && !known.contains(&policy)
    {
        errors.push(FieldError::unsupported("spec.internalTrafficPolicy", policy, &known));
    }
    let outside = matches!(kind, "NodePort" | "LoadBalancer")
        || !object::items(spec, "/externalIPs").is_empty();
    match object::text(spec, "/externalTrafficPolicy") {
        "" => {}
        policy if !outside => {
            let detail = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid("spec.externalTrafficPolicy", policy, detail));
        }
        policy if !known.contains(&policy) => {
            errors.push(FieldError::unsupported("spec.externalTrafficPolicy", policy, &known));
        }
        _ => {}
    }
    let timeout = spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds");
    if let Some(timeout) = timeout.and_then(Value::as_i64)
        && !(1..=86_400).contains(&timeout)
    {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        errors.push(FieldError::invalid(
            field,
            timeout,
            "must be greater than 0 and less than 86400",
        ));
    }
}

/// An address that traffic may be sent to: not this machine's own, and not one of a link.
fn special_address(address: &str, field: &str, errors: &mut Errors) {
    let Ok(ip) = address.parse::<IpAddr>() else {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(field, address, detail));
        return;
    };
    let (local, group) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(field, address, detail));
    if ip.is_unspecified() {
        refuse(&format!("may not be unspecified ({address})"));
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if group {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn check_ports(ports: &[Value], kind: &str, errors: &mut Errors) {
    let (mut seen_names, mut seen_ports, mut node_ports) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let (name, protocol) = (object::text(port, "/name"), object::text(port, "/protocol"));
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        if !name.is_empty() {
            for why in names::dns_label(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
            if !seen_names.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
        }
        errors.extend(one_of(format!("{field}.protocol"), protocol, PROTOCOLS));
        let number = object::integer(port, "/port");
        if !(1..=65_535).contains(&number) {
            errors.push(FieldError::invalid(format!("{field}.port"), number, PORT_RANGE));
        }
        if !seen_ports.insert((protocol, number)) {
            errors.push(FieldError::duplicate(field.clone(), port.clone()));
        }
        match port.get("targetPort") {
            Some(Value::Number(target))
                if !target.as_i64().is_some_and(|target| (1..=65_535).contains(&target)) =>
            {
                let target = Value::Number(target.clone());
                errors.push(FieldError::invalid(format!("{field}.targetPort"), target, PORT_RANGE));
            }
            Some(Value::String(target)) => {
                for why in names::port_name(target) {
                    let field = format!("{field}.targetPort");
                    errors.push(FieldError::invalid(field, target.as_str(), &why));
                }
            }
            _ => {}
        }
        let node_port = object::integer(port, "/nodePort");
        if node_port != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                let detail = format!("may not be used when `type` is '{kind}'");
                errors.push(FieldError::forbidden(format!("{field}.nodePort"), detail));
            }
            if !node_ports.insert((protocol, node_port)) {
                errors.push(FieldError::duplicate(format!("{field}.nodePort"), node_port));
            }
        }
    }
}

/// A cluster address stays for as long as the type needs one.
pub(crate) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let external = |object: &Value| object::text(object, "/spec/type") == "ExternalName";
    let allocated = !object::text(old, "/spec/clusterIP").is_empty();
    if external(old) || external(new) || !allocated {
        return Vec::new();
    }
    unchanged(old, new, "spec.clusterIP")
        .map(|error| FieldError { field: "spec.clusterIPs[0]".to_owned(), ..error })
        .into_iter()
        .collect()
}

pub(crate) fn endpoint_slice(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let kind = object::text(object, "/addressType");
    errors.extend(one_of("addressType".to_owned(), kind, &["FQDN", "IPv4", "IPv6"]));
    let endpoints = object::items(object, "/endpoints");
    if endpoints.len() > 1000 {
        errors.push(FieldError::too_many("endpoints", endpoints.len(), 1000));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let addresses = object::items(endpoint, "/addresses");
        if addresses.is_empty() {
            let detail = "must contain at least 1 address";
            errors.push(FieldError::required(format!("endpoints[{index}].addresses"), detail));
        }
        for (place, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            let fits = match (kind, address.parse::<IpAddr>()) {
                ("IPv4", Ok(ip)) => ip.is_ipv4(),
                ("IPv6", Ok(ip)) => ip.is_ipv6(),
                ("IPv4" | "IPv6", Err(_)) => false,
                _ => names::dns_subdomain(address).is_empty(),
            };
            if !fits {
                let field = format!("endpoints[{index}].addresses[{place}]");
                let detail = format!("must be a valid {kind} address");
                errors.push(FieldError::invalid(field, address, &detail));
            } else if kind != "FQDN" {
                let field = format!("endpoints[{index}].addresses[{place}]");
                special_address(address, &field, &mut errors);
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in object::items(object, "/ports").iter().enumerate() {
        let (name, protocol) = (object::text(port, "/name"), object::text(port, "/protocol"));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("ports[{index}].name"), name));
        }
        errors.extend(one_of(format!("ports[{index}].protocol"), protocol, PROTOCOLS));
    }
    errors.list()
}

pub(crate) fn endpoint_slice_update(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "addressType").into_iter().collect()
}
