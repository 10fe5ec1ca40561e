//! Services with their ready endpoints, as nodes need them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Endpoint, Protocol, Service, ServicePort};
use serde_json::Value;

use super::field::Field;
use super::pod::protocol;

/// Time-out of session affinity, in seconds: upstream's default.
const AFFINITY_S: u32 = 10_800;
/// The label by which a slice names its Service.
pub(super) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Makes of a Service and its slices what nodes need; none if it has nothing to do with them
/// (`ExternalName`).
pub(super) fn convert<'a>(
    object: &Value,
    slices: impl Iterator<Item = &'a Value> + Clone,
    nodes: &BTreeMap<String, NodeId>,
) -> Option<Service> {
    let (metadata, spec) = (Field(object).get("metadata"), Field(object).get("spec"));
    if spec.get("type").text() == "ExternalName" {
        return None;
    }
    let ingress = Field(object).get("status").get("loadBalancer").get("ingress");
    let announced = ingress.items().map(|entry| entry.get("ip").text());
    let external = spec.get("externalIPs").items().map(Field::text).chain(announced);
    let affinity = spec.get("sessionAffinity").text() == "ClientIP";
    let affinity_s = spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds");
    let local = |field: &str| spec.get(field).text() == "Local";
    let ports = spec.get("ports").items().map(|port| {
        let name = port.get("name").string();
        let protocol = protocol(port.get("protocol").text());
        ServicePort {
            endpoints: endpoints(&name, protocol, slices.clone(), nodes),
            name,
            protocol,
            port: port.get("port").integer().unwrap_or(0),
            node_port: port.get("nodePort").integer().unwrap_or(0),
        }
    });
    Some(Service {
        namespace: metadata.get("namespace").string(),
        name: metadata.get("name").string(),
        cluster_ip: spec.get("clusterIP").text().parse().ok(),
        external_ips: external.filter_map(|ip| ip.parse().ok()).collect(),
        affinity_s: affinity.then(|| affinity_s.integer().unwrap_or(AFFINITY_S)),
        internal_local: local("internalTrafficPolicy"),
        external_local: local("externalTrafficPolicy"),
        ports: ports.collect(),
    })
}

/// Ready endpoints of one port, in the order of their addresses.
fn endpoints<'a>(
    name: &str,
    wanted: Protocol,
    slices: impl Iterator<Item = &'a Value>,
    nodes: &BTreeMap<String, NodeId>,
) -> Vec<Endpoint> {
    let mut endpoints = BTreeSet::new();
    for slice in slices.map(Field).filter(|slice| slice.get("addressType").text() == "IPv4") {
        let numbers = slice.get("ports").items().filter(|port| {
            port.get("name").text() == name && protocol(port.get("protocol").text()) == wanted
        });
        for number in numbers.filter_map(|port| port.get("port").integer::<u16>()) {
            for endpoint in slice.get("endpoints").items() {
                // Upstream: a missing condition counts as ready.
                if endpoint.get("conditions").get("ready").flag() == Some(false) {
                    continue;
                }
                let node = nodes.get(endpoint.get("nodeName").text()).copied();
                let addresses = endpoint.get("addresses").items();
                endpoints.extend(
                    addresses
                        .filter_map(|address| address.text().parse::<Ipv4Addr>().ok())
                        .map(|ip| Endpoint { ip, port: number, node }),
                );
            }
        }
    }
    endpoints.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_meet_their_ready_endpoints_by_name_and_protocol() {
        let service = json!({
            "metadata": {"namespace": "n", "name": "dns"},
            "spec": {
                "clusterIP": "10.43.0.10", "externalIPs": ["192.0.2.1"],
                "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
                "ports": [
                    {"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053},
                    {"name": "web", "protocol": "TCP", "port": 80},
                ],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}},
        });
        let slice = json!({
            "addressType": "IPv4",
            "ports": [{"name": "dns", "protocol": "UDP", "port": 5353}],
            "endpoints": [
                {"addresses": ["10.42.1.3"], "nodeName": "pi-1", "conditions": {"ready": true}},
                {"addresses": ["10.42.1.2"], "nodeName": "pi-9"},
                {"addresses": ["10.42.1.4"], "conditions": {"ready": false}},
            ],
        });
        let nodes = [("pi-1".to_owned(), NodeId(7))].into();
        let service = convert(&service, [&slice, &slice].into_iter(), &nodes).unwrap();
        let endpoint =
            |last, node| Endpoint { ip: Ipv4Addr::new(10, 42, 1, last), port: 5353, node };
        assert_eq!(service.ports[0].endpoints, [endpoint(2, None), endpoint(3, Some(NodeId(7)))]);
        assert_eq!(service.ports[0].node_port, 30_053);
        assert_eq!(service.ports[1].endpoints, []);
        assert_eq!(service.affinity_s, Some(10_800));
        assert!(service.external_local && !service.internal_local);
        assert_eq!(service.external_ips.len(), 2);
    }

    #[test]
    fn headless_has_no_address_and_external_names_are_left_out() {
        let headless = json!({"spec": {"clusterIP": "None"}});
        let nodes = BTreeMap::new();
        let service = convert(&headless, [].into_iter(), &nodes).unwrap();
        assert_eq!(service.cluster_ip, None);
        let external = json!({"spec": {"type": "ExternalName"}});
        assert_eq!(convert(&external, [].into_iter(), &nodes), None);
    }
}
