//! Rules for the kinds of `networking.k8s.io`.

use std::net::IpAddr;

use serde_json::Value;

use super::errors::Errors;
use super::{all_unchanged, names, one_of, required, selector};
use crate::object;
use crate::status::FieldError;

pub(crate) fn ingress(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let rules = object::items(object, "/spec/rules");
    let default = object.pointer("/spec/defaultBackend");
    if rules.is_empty() && default.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", Value::Null, detail));
    }
    if let Some(default) = default {
        errors.extend(backend(default, "spec.defaultBackend"));
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        errors.extend(host(object::text(rule, "/host"), &format!("{field}.host")));
        let Some(http) = rule.get("http") else { continue };
        let paths = object::items(http, "/paths");
        if paths.is_empty() {
            errors.push(FieldError::required(format!("{field}.http.paths"), ""));
        }
        for (place, path) in paths.iter().enumerate() {
            errors.extend(http_path(path, &format!("{field}.http.paths[{place}]")));
        }
    }
    if let Some(class) = object.pointer("/spec/ingressClassName").and_then(Value::as_str) {
        errors.extend(
            names::dns_subdomain(class)
                .iter()
                .map(|why| FieldError::invalid("spec.ingressClassName", class, why)),
        );
    }
    errors.list()
}

fn host(host: &str, field: &str) -> Vec<FieldError> {
    if host.is_empty() {
        return Vec::new();
    }
    if host.parse::<IpAddr>().is_ok() {
        return vec![FieldError::invalid(field, host, "must be a DNS name, not an IP address")];
    }
    let bare = host.strip_prefix("*.").unwrap_or(host);
    names::dns_subdomain(bare).iter().map(|why| FieldError::invalid(field, host, why)).collect()
}

fn http_path(path: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let kind = object::text(path, "/pathType");
    if kind.is_empty() {
        errors
            .push(FieldError::required(format!("{field}.pathType"), "pathType must be specified"));
    } else {
        let known = ["Exact", "ImplementationSpecific", "Prefix"];
        errors.extend(one_of(format!("{field}.pathType"), kind, &known));
    }
    let text = object::text(path, "/path");
    let absolute = text.starts_with('/');
    if !absolute && (kind == "Exact" || kind == "Prefix" || !text.is_empty()) {
        let detail = "must be an absolute path";
        errors.push(FieldError::invalid(format!("{field}.path"), text, detail));
    }
    let target = path.get("backend").unwrap_or(&Value::Null);
    errors.extend(backend(target, &format!("{field}.backend")));
    errors.list()
}

fn backend(backend: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let service = backend.get("service");
    match (service, backend.get("resource")) {
        (None, None) => {
            let detail = "cannot be empty";
            errors.push(FieldError::required(field, detail));
        }
        (Some(_), Some(_)) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(field, Value::Null, detail));
        }
        (None, Some(_)) => {}
        (Some(service), None) => {
            let name = object::text(service, "/name");
            if name.is_empty() {
                errors.push(FieldError::required(format!("{field}.service.name"), ""));
            } else {
                errors.extend(
                    names::dns_1035_label(name)
                        .iter()
                        .map(|why| FieldError::invalid(format!("{field}.service.name"), name, why)),
                );
            }
            let port = service.get("port").unwrap_or(&Value::Null);
            let (number, name) = (object::integer(port, "/number"), object::text(port, "/name"));
            match (number, name) {
                (0, "") => {
                    let detail = "port name or number is required";
                    errors.push(FieldError::required(format!("{field}.service.port"), detail));
                }
                (_, "") if !(1..=65_535).contains(&number) => {
                    let detail = "must be between 1 and 65535, inclusive";
                    let field = format!("{field}.service.port.number");
                    errors.push(FieldError::invalid(field, number, detail));
                }
                _ => {}
            }
        }
    }
    errors.list()
}

pub(crate) fn ingress_class(object: &Value) -> Vec<FieldError> {
    required(object, &["spec.controller"])
}

pub(crate) fn ingress_class_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec.controller"])
}

pub(crate) fn network_policy(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if let Some(found) = object.pointer("/spec/podSelector") {
        selector::labels(found, "spec.podSelector", &mut errors);
    }
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in object::items(object, &format!("/spec/{rules}")).iter().enumerate() {
            let field = format!("spec.{rules}[{index}]");
            for (place, port) in object::items(rule, "/ports").iter().enumerate() {
                let protocol = object::text(port, "/protocol");
                let known = ["SCTP", "TCP", "UDP"];
                errors.extend(one_of(format!("{field}.ports[{place}].protocol"), protocol, &known));
            }
            for (place, peer) in object::items(rule, &format!("/{peers}")).iter().enumerate() {
                errors.extend(network_peer(peer, &format!("{field}.{peers}[{place}]")));
            }
        }
    }
    for kind in object::items(object, "/spec/policyTypes").iter().filter_map(Value::as_str) {
        errors.extend(one_of("spec.policyTypes".to_owned(), kind, &["Egress", "Ingress"]));
    }
    errors.list()
}

fn network_peer(peer: &Value, field: &str) -> Vec<FieldError> {
    let block = peer.get("ipBlock");
    let selected = ["podSelector", "namespaceSelector"].iter().any(|one| peer.get(*one).is_some());
    match (block, selected) {
        (None, false) => {
            vec![FieldError::required(field, "must specify a peer")]
        }
        (Some(_), true) => {
            let detail = "may not specify both ipBlock and another peer";
            vec![FieldError::forbidden(field, detail)]
        }
        (Some(block), false) => {
            let text = object::text(block, "/cidr");
            let field = format!("{field}.ipBlock.cidr");
            cidr(text, field).into_iter().collect()
        }
        (None, true) => Vec::new(),
    }
}

fn cidr(text: &str, field: String) -> Option<FieldError> {
    let valid = text.split_once('/').is_some_and(|(address, length)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= most)
    });
    (!valid).then(|| {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        FieldError::invalid(field, text, detail)
    })
}

pub(crate) fn service_cidr(object: &Value) -> Vec<FieldError> {
    let ranges = object::items(object, "/spec/cidrs");
    if ranges.is_empty() {
        return vec![FieldError::required("spec.cidrs", "at least one CIDR required")];
    }
    if ranges.len() > 2 {
        let detail = "may only hold up to 2 values";
        let ranges = Value::Array(ranges.to_vec());
        return vec![FieldError::invalid("spec", ranges, detail)];
    }
    let ranges = ranges.iter().filter_map(Value::as_str).enumerate();
    ranges.filter_map(|(index, range)| cidr(range, format!("spec.cidrs[{index}]"))).collect()
}

pub(crate) fn service_cidr_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec.cidrs"])
}

/// The address in its only form.
pub(crate) fn ip_address_name(name: &str) -> Vec<String> {
    match name.parse::<IpAddr>() {
        Ok(ip) if ip.to_string() == name => Vec::new(),
        Ok(_) => vec!["must be a valid IP address in canonical form".to_owned()],
        Err(_) => {
            vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
        }
    }
}

pub(crate) fn ip_address(object: &Value) -> Vec<FieldError> {
    if object.pointer("/spec/parentRef").is_none() {
        return vec![FieldError::required("spec.parentRef", "")];
    }
    required(object, &["spec.parentRef.resource", "spec.parentRef.name"])
}

pub(crate) fn ip_address_update(old: &Value, new: &Value) -> Vec<FieldError> {
    all_unchanged(old, new, &["spec.parentRef"])
}
