//! Columns of Service.

use serde_json::Value;

use super::{Column, age, name, name_column, or_none, text, wide};
use crate::object;

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Type"),
    text("Cluster-IP"),
    text("External-IP"),
    text("Port(s)"),
    text("Age"),
    wide("Selector"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let selector = object.pointer("/spec/selector").and_then(Value::as_object);
    let pairs: Vec<String> = selector
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    vec![
        name(object),
        object::text(object, "/spec/type").into(),
        or_none(object::text(object, "/spec/clusterIP")),
        external(object),
        ports(object),
        age(object, now),
        or_none(&pairs.join(",")),
    ]
}

fn external(service: &Value) -> Value {
    let ips: Vec<&str> =
        object::items(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    let ips = ips.join(",");
    match object::text(service, "/spec/type") {
        "ExternalName" => or_none(object::text(service, "/spec/externalName")),
        "LoadBalancer" => {
            let balancers: Vec<&str> = object::items(service, "/status/loadBalancer/ingress")
                .iter()
                .map(|one| match object::text(one, "/ip") {
                    "" => object::text(one, "/hostname"),
                    ip => ip,
                })
                .chain((!ips.is_empty()).then_some(ips.as_str()))
                .collect();
            if balancers.is_empty() { "<pending>".into() } else { balancers.join(",").into() }
        }
        _ => or_none(&ips),
    }
}

fn ports(service: &Value) -> Value {
    let ports: Vec<String> = object::items(service, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, node) =
                (object::integer(port, "/port"), object::integer(port, "/nodePort"));
            let protocol = object::text(port, "/protocol");
            if node == 0 {
                format!("{number}/{protocol}")
            } else {
                format!("{number}:{node}/{protocol}")
            }
        })
        .collect();
    or_none(&ports.join(","))
}
