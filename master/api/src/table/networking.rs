//! Columns of the kinds of `networking.k8s.io`.

use serde_json::Value;

use super::{Column, age, joined, label_selector, name, name_column, or_none, text, text_or_none};
use crate::object;

/// Hosts that are printed; the rest is counted.
const HOSTS_MAX: usize = 3;

pub(crate) const INGRESS: &[Column] =
    &[name_column(), text("Class"), text("Hosts"), text("Address"), text("Ports"), text("Age")];

pub(crate) fn ingress(object: &Value, now: i64) -> Vec<Value> {
    let old_class = "/metadata/annotations/kubernetes.io~1ingress.class";
    let class = match object::text(object, "/spec/ingressClassName") {
        "" => text_or_none(object, old_class),
        class => class.into(),
    };
    let all: Vec<&str> = object::items(object, "/spec/rules")
        .iter()
        .map(|rule| object::text(rule, "/host"))
        .filter(|host| !host.is_empty())
        .collect();
    let shown = all.iter().take(HOSTS_MAX).copied().collect::<Vec<_>>().join(",");
    let hosts = match all.len() {
        0 => "*".to_owned(),
        count if count > HOSTS_MAX => format!("{shown} + {} more...", count - HOSTS_MAX),
        _ => shown,
    };
    let addresses: Vec<&str> = object::items(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|one| match object::text(one, "/ip") {
            "" => object::text(one, "/hostname"),
            ip => ip,
        })
        .collect();
    let ports = if object::items(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        name(object),
        class,
        hosts.into(),
        addresses.join(",").into(),
        ports.into(),
        age(object, now),
    ]
}

pub(crate) const INGRESS_CLASS: &[Column] =
    &[name_column(), text("Controller"), text("Parameters"), text("Age")];

pub(crate) fn ingress_class(object: &Value, now: i64) -> Vec<Value> {
    let parameters = object.pointer("/spec/parameters").map_or(String::new(), |parameters| {
        let kind = object::text(parameters, "/kind");
        let name = object::text(parameters, "/name");
        match object::text(parameters, "/apiGroup") {
            "" => format!("{kind}/{name}"),
            group => format!("{kind}.{group}/{name}"),
        }
    });
    vec![
        name(object),
        object::text(object, "/spec/controller").into(),
        or_none(&parameters),
        age(object, now),
    ]
}

pub(crate) const NETWORK_POLICY: &[Column] = &[name_column(), text("Pod-Selector"), text("Age")];

pub(crate) fn network_policy(object: &Value, now: i64) -> Vec<Value> {
    let selector = object.pointer("/spec/podSelector").unwrap_or(&Value::Null);
    vec![name(object), label_selector(selector), age(object, now)]
}

pub(crate) const SERVICE_CIDR: &[Column] = &[name_column(), text("CIDRs"), text("Age")];

pub(crate) fn service_cidr(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), joined(object, "/spec/cidrs", "").into(), age(object, now)]
}

pub(crate) const IP_ADDRESS: &[Column] = &[name_column(), text("ParentRef"), text("Age")];

pub(crate) fn ip_address(object: &Value, now: i64) -> Vec<Value> {
    let parent = object.pointer("/spec/parentRef").map_or(String::new(), |parent| {
        let parts = ["/group", "/resource", "/namespace", "/name"];
        let parts: Vec<&str> = parts
            .iter()
            .map(|part| object::text(parent, part))
            .filter(|part| !part.is_empty())
            .collect();
        match (parts.as_slice(), object::text(parent, "/group")) {
            (parts, "") => parts.join("/"),
            ([group, resource, rest @ ..], _) => {
                format!("{resource}.{group}/{}", rest.join("/"))
            }
            (parts, _) => parts.join("/"),
        }
    });
    vec![name(object), parent.into(), age(object, now)]
}
