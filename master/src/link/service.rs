//! Services with their endpoints, as nodes need them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bramble_shared::ids::NodeId;
use bramble_shared::link::{Endpoint, EndpointHost, Protocol, Service, ServicePort};
use serde_json::Value;

use super::field::Field;
use super::pod::protocol;

/// Time-out of session affinity, in seconds: upstream's default.
const AFFINITY_S: u32 = 10_800;
/// The label by which a slice names its Service.
pub(super) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Makes of a Service and its slices what nodes need.
pub(super) fn convert<'a>(
    object: &Value,
    slices: impl Iterator<Item = &'a Value> + Clone,
    nodes: &BTreeMap<String, NodeId>,
) -> Service {
    let (metadata, spec) = (Field(object).get("metadata"), Field(object).get("spec"));
    let named = Service {
        namespace: metadata.get("namespace").string(),
        name: metadata.get("name").string(),
        ..Service::default()
    };
    if spec.get("type").text() == "ExternalName" {
        return Service { external_name: spec.get("externalName").string(), ..named };
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
    let headless = spec.get("clusterIP").text() == "None";
    Service {
        cluster_ip: spec.get("clusterIP").text().parse().ok(),
        external_ips: external.filter_map(|ip| ip.parse().ok()).collect(),
        affinity_s: affinity.then(|| affinity_s.integer().unwrap_or(AFFINITY_S)),
        internal_local: local("internalTrafficPolicy"),
        external_local: local("externalTrafficPolicy"),
        publish_not_ready: spec.get("publishNotReadyAddresses").flag().unwrap_or(false),
        health_check_port: spec.get("healthCheckNodePort").integer().unwrap_or(0),
        ports: ports.collect(),
        hosts: hosts(headless, slices.clone(), nodes),
        ..named
    }
}

/// Endpoints of one port that serve, in the order of their addresses.
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
        for port in numbers.filter_map(|port| port.get("port").integer::<u16>()) {
            for endpoint in slice.get("endpoints").items() {
                let conditions = endpoint.get("conditions");
                // Upstream: a missing condition counts as ready, and what is ready serves.
                let ready = conditions.get("ready").flag() != Some(false);
                let ending = conditions.get("terminating").flag() == Some(true);
                let serving = conditions.get("serving").flag() == Some(true);
                if !(ready || ending && serving) {
                    continue;
                }
                let node = nodes.get(endpoint.get("nodeName").text()).copied();
                let found = addresses(endpoint);
                endpoints.extend(found.map(|ip| Endpoint { ip, port, node, terminating: !ready }));
            }
        }
    }
    endpoints.into_iter().collect()
}

/// Ready endpoints with names of their own, in the order of their addresses.
fn hosts<'a>(
    headless: bool,
    slices: impl Iterator<Item = &'a Value>,
    nodes: &BTreeMap<String, NodeId>,
) -> Vec<EndpointHost> {
    let mut hosts = BTreeSet::new();
    for slice in slices.map(Field).filter(|slice| slice.get("addressType").text() == "IPv4") {
        for endpoint in slice.get("endpoints").items() {
            let ready = endpoint.get("conditions").get("ready").flag() != Some(false);
            let hostname = endpoint.get("hostname").text();
            if ready && (headless || !hostname.is_empty()) {
                let node = nodes.get(endpoint.get("nodeName").text()).copied();
                let host = |ip| EndpointHost { ip, hostname: hostname.to_owned(), node };
                hosts.extend(addresses(endpoint).map(host));
            }
        }
    }
    hosts.into_iter().collect()
}

fn addresses<'a>(endpoint: Field<'a>) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
    endpoint.get("addresses").items().filter_map(|address| address.text().parse().ok())
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
                {"addresses": ["10.42.1.5"],
                    "conditions": {"ready": false, "serving": true, "terminating": true}},
            ],
        });
        let nodes = [("pi-1".to_owned(), NodeId(7))].into();
        let service = convert(&service, [&slice, &slice].into_iter(), &nodes);
        let endpoint = |last, node, terminating| Endpoint {
            ip: Ipv4Addr::new(10, 42, 1, last),
            port: 5353,
            node,
            terminating,
        };
        let pi = Some(NodeId(7));
        let wanted = [endpoint(2, None, false), endpoint(3, pi, false), endpoint(5, None, true)];
        assert_eq!(service.ports[0].endpoints, wanted);
        assert_eq!(service.hosts, [], "they have no names of their own");
        assert_eq!(service.ports[0].node_port, 30_053);
        assert_eq!(service.ports[1].endpoints, []);
        assert_eq!(service.affinity_s, Some(10_800));
        assert!(service.external_local && !service.internal_local);
        assert_eq!(service.external_ips.len(), 2);
    }

    #[test]
    fn headless_has_hosts_and_no_address() {
        let headless = json!({"spec": {"clusterIP": "None", "publishNotReadyAddresses": true}});
        let slice = json!({
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.42.1.3"], "hostname": "db-0"},
                {"addresses": ["10.42.1.2"]},
                {"addresses": ["10.42.1.4"], "conditions": {"ready": false}},
            ],
        });
        let service = convert(&headless, [&slice].into_iter(), &BTreeMap::new());
        assert_eq!(service.cluster_ip, None);
        assert!(service.publish_not_ready);
        let named: Vec<_> =
            service.hosts.iter().map(|host| (host.ip.octets()[3], &*host.hostname)).collect();
        assert_eq!(named, [(2, ""), (3, "db-0")]);
    }

    #[test]
    fn external_name_is_a_name_and_nothing_else() {
        let external = json!({"spec": {"type": "ExternalName", "externalName": "db.example.com",
            "ports": [{"port": 80}]}});
        let service = convert(&external, [].into_iter(), &BTreeMap::new());
        assert_eq!(service.external_name, "db.example.com");
        assert_eq!((service.cluster_ip, service.ports), (None, vec![]));
    }
}
