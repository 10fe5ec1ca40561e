//! A service: its addresses and who answers behind them.

use serde_json::Value;

use super::generic::{labels, metadata};
use super::text::Text;
use crate::client::{Client, JSON, Path};
use crate::error::CliError;
use crate::object::{flag, items, name, namespace, number, pairs, plain, text};

/// Endpoint slices of a service; none if the server has no such thing.
pub(super) async fn endpoint_slices(
    service: &Value,
    client: &Client,
) -> Result<Vec<Value>, CliError> {
    let path = Path::new("/apis/discovery.k8s.io/v1/namespaces")
        .join(namespace(service))
        .join("endpointslices")
        .with("labelSelector", &format!("kubernetes.io/service-name={}", name(service)));
    match client.get(&path, JSON).await {
        Ok(list) => Ok(items(&list, "/items").to_vec()),
        Err(CliError::Server { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Describes a service, without its events.
pub(super) fn describe(service: &Value, slices: &[Value], out: &mut Text) {
    metadata(true, service, out);
    labels(service, out);
    let selector = pairs(service, "/spec/selector");
    let selector: Vec<_> = selector.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    out.field(0, "Selector", or_none(&selector.join(",")));
    out.field(0, "Type", text(service, "/spec/type"));
    out.field(0, "IP", or_none(text(service, "/spec/clusterIP")));
    out.field_if(0, "External Name", text(service, "/spec/externalName"));
    let ingress: Vec<_> = items(service, "/status/loadBalancer/ingress")
        .iter()
        .map(|one| [text(one, "/ip"), text(one, "/hostname")].concat())
        .collect();
    out.field_if(0, "LoadBalancer Ingress", &ingress.join(", "));
    for port in items(service, "/spec/ports") {
        describe_port(port, slices, out);
    }
    out.field(0, "Session Affinity", or_none(text(service, "/spec/sessionAffinity")));
    out.field_if(0, "External Traffic Policy", text(service, "/spec/externalTrafficPolicy"));
}

fn describe_port(port: &Value, slices: &[Value], out: &mut Text) {
    let (name, protocol) = (text(port, "/name"), text(port, "/protocol"));
    let shown = if name.is_empty() { "<unset>" } else { name };
    out.field(0, "Port", format!("{shown}  {}/{protocol}", number(port, "/port")));
    let target = port.get("targetPort").map(plain).unwrap_or_default();
    out.field_if(0, "TargetPort", &target);
    if number(port, "/nodePort") != 0 {
        out.field(0, "NodePort", number(port, "/nodePort").to_string());
    }
    let mut endpoints = Vec::new();
    for slice in slices {
        let target = items(slice, "/ports").iter().find(|one| text(one, "/name") == name);
        let target = target.map_or(0, |one| number(one, "/port"));
        // An endpoint that says nothing of its readiness is ready.
        let ready = |endpoint: &&Value| {
            endpoint.pointer("/conditions/ready").is_none() || flag(endpoint, "/conditions/ready")
        };
        for endpoint in items(slice, "/endpoints").iter().filter(ready) {
            let addresses = items(endpoint, "/addresses").iter();
            endpoints.extend(addresses.map(|address| format!("{}:{target}", plain(address))));
        }
    }
    endpoints.sort();
    out.field(0, "Endpoints", or_none(&endpoints.join(",")));
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn service_tells_who_answers() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080,
                           "protocol": "TCP"}], "sessionAffinity": "None"},
        });
        let slice = json!({
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.42.1.3"], "conditions": {"ready": true}},
                {"addresses": ["10.42.1.4"], "conditions": {"ready": false}},
                {"addresses": ["10.42.0.9"]},
            ],
        });
        let mut text = Text::default();
        describe(&service, &[slice], &mut text);
        insta::assert_snapshot!(text.render());
    }
}
