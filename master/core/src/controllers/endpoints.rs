//! Writes the Endpoints of services with a selector: what endpoint slices say, in the form that came
//! before them.
//!
//! Endpoints that somebody else wrote, for a service without a selector, are left alone; they are
//! mirrored to slices by another controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Outcome, endpoint_slice};
use crate::action::{Action, Target};
use crate::membership::Contacts;
use crate::snapshot::Snapshot;
use crate::view::endpoint_slice::{Endpoint, EndpointPort};
use crate::view::endpoints::{EndpointAddress, EndpointSubset, EndpointsView};
use crate::view::labels::Labels;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::service::ServiceView;

/// Most addresses of one service, as upstream.
pub const ADDRESSES_MAX: usize = 1_000;

/// By this label endpoints of ours are told from others'.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";
/// Says that there are more addresses than are listed.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Compares the endpoints of every service with its pods.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, contacts: &Contacts) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for key in keys(snapshot) {
            outcome.merge(reconcile_key(snapshot, contacts, &key));
        }
    }
    outcome
}

/// All services, and the names of endpoints of ours.
pub(super) fn keys(snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
    let endpoints = snapshot.workloads().endpoints.iter();
    let ours = endpoints.filter(|(_, endpoints)| ours(endpoints)).map(|(key, _)| key.clone());
    snapshot.services().keys().cloned().chain(ours).collect()
}

/// As [`reconcile`], for one service: one that is gone leaves no endpoints of ours.
pub(super) fn reconcile_key(snapshot: &Snapshot, contacts: &Contacts, key: &ObjectKey) -> Outcome {
    let mut outcome = Outcome::default();
    let present = snapshot.workloads().endpoints.get(key).filter(|it| !it.meta.deleting());
    let Some(service) = snapshot.services().get(key).filter(|it| !it.meta.deleting()) else {
        let stray = present.filter(|present| ours(present));
        outcome.actions.extend(stray.map(|stray| Action::Delete {
            target: Target::of(&Resource::ENDPOINTS, &stray.meta),
            grace_seconds: None,
            propagation: None,
        }));
        return outcome;
    };
    if service.spec.selector.is_empty() || &*service.spec.kind == "ExternalName" {
        return outcome;
    }
    let (subsets, cut) = subsets(snapshot, contacts, service);
    let mut labels = service.meta.labels.with(MANAGED_BY, CONTROLLER);
    if &*service.spec.cluster_ip == "None" {
        labels = labels.with(endpoint_slice::HEADLESS, "");
    }
    let over = cut.then_some("truncated");
    let Some(present) = present else {
        let annotations = over.map(|over| json!({OVER_CAPACITY: over}));
        let metadata = json!({"name": key.name, "namespace": key.namespace, "labels": labels,
            "annotations": annotations});
        outcome.actions.push(Action::Create {
            resource: Resource::ENDPOINTS,
            namespace: Arc::clone(&key.namespace),
            object: json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
                "subsets": subsets}),
        });
        return outcome;
    };
    let same = present.subsets == subsets
        && present.meta.labels == labels
        && present.meta.annotations.get(OVER_CAPACITY) == over;
    if !same {
        let metadata = json!({"labels": replaced(&present.meta.labels, &labels),
            "annotations": {OVER_CAPACITY: over}});
        let target = Target::of(&Resource::ENDPOINTS, &present.meta);
        let patch = json!({"metadata": metadata, "subsets": subsets});
        outcome.actions.push(Action::Update { target, patch });
    }
    outcome
}

/// Whether endpoints were written here.
pub(super) fn ours(endpoints: &EndpointsView) -> bool {
    endpoints.meta.labels.get(MANAGED_BY) == Some(CONTROLLER)
}

/// Labels as a patch that takes away those that are not wanted.
fn replaced(present: &Labels, wanted: &Labels) -> Value {
    let gone = present.iter().map(|(key, _)| (key.to_owned(), Value::Null));
    let mut patch: Map<String, Value> = gone.collect();
    patch.extend(wanted.iter().map(|(key, value)| (key.to_owned(), json!(value))));
    Value::Object(patch)
}

/// What is behind a service, and whether there is more. Ports with the same addresses are together,
/// as upstream packs them.
fn subsets(
    snapshot: &Snapshot,
    contacts: &Contacts,
    service: &ServiceView,
) -> (Vec<EndpointSubset>, bool) {
    let family = service.spec.ip_families.first().map_or("IPv4", |family| family);
    let behind = endpoint_slice::behind(snapshot, contacts, service, family);
    let mut behind: Vec<_> = behind
        .into_iter()
        .filter(|(endpoint, _)| {
            let terminating = endpoint.conditions.terminating == Some(true);
            !terminating || service.spec.publish_not_ready_addresses
        })
        .map(|(endpoint, ports)| {
            (endpoint.conditions.ready != Some(true), address(endpoint), ports)
        })
        .collect();
    // Those that may be used first, if there are too many.
    behind.sort();
    let cut = behind.len() > ADDRESSES_MAX;
    behind.truncate(ADDRESSES_MAX);
    let mut by_port: BTreeMap<Option<EndpointPort>, BTreeSet<(bool, EndpointAddress)>> =
        BTreeMap::new();
    for (not_ready, address, ports) in behind {
        let portless = service.spec.ports.is_empty().then_some(None);
        for port in ports.into_iter().map(Some).chain(portless) {
            by_port.entry(port).or_default().insert((not_ready, address.clone()));
        }
    }
    let mut by_addresses: BTreeMap<BTreeSet<(bool, EndpointAddress)>, Vec<EndpointPort>> =
        BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses).or_default().extend(port);
    }
    let subsets = by_addresses.into_iter().map(|(addresses, ports)| {
        let (not_ready, ready): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|(not_ready, _)| *not_ready);
        let plain = |list: Vec<(bool, EndpointAddress)>| list.into_iter().map(|it| it.1).collect();
        EndpointSubset { addresses: plain(ready), not_ready_addresses: plain(not_ready), ports }
    });
    (subsets.collect(), cut)
}

fn address(endpoint: Endpoint) -> EndpointAddress {
    EndpointAddress {
        ip: endpoint.addresses.into_iter().next().unwrap_or_default(),
        hostname: endpoint.hostname.unwrap_or_default(),
        node_name: endpoint.node_name,
        target_ref: endpoint.target_ref,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::*;

    const SERVICE: &str = "/core/services/d/web";
    const ENDPOINTS: &str = "/core/endpoints/d/web";

    fn settle(model: &mut Model) {
        model.settle(|snapshot| reconcile(snapshot, &Contacts::default()).actions);
    }

    fn service(spec: Value) -> Value {
        let mut whole = json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.9"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"metadata": {"labels": {"own": "label"}}, "spec": whole})
    }

    fn pod(model: &mut Model, name: &str, ip: &str, ports: Value) {
        let key = format!("/core/pods/d/{name}");
        let spec = json!({"containers": [{"ports": ports}]});
        model.put(&key, json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}));
        model.make_ready(&key, "n1");
        model.merge(&key, &json!({"status": {"podIP": ip}}));
    }

    #[test]
    fn pods_with_the_same_ports_are_together_and_those_that_are_not_ready_apart() {
        let mut model = Model::new();
        let ports = json!([{"name": "http", "port": 80, "targetPort": "web"},
            {"name": "more", "port": 81, "targetPort": 9000}]);
        model.put(SERVICE, service(json!({"ports": ports})));
        let web = |port: i32| json!([{"name": "web", "containerPort": port}]);
        pod(&mut model, "a", "10.0.0.1", web(8080));
        pod(&mut model, "b", "10.0.0.2", web(8080));
        pod(&mut model, "c", "10.0.0.3", web(8081));
        let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        model.merge("/core/pods/d/b", &not_ready);
        settle(&mut model);
        let seen = model.get(ENDPOINTS);
        assert_eq!(seen["metadata"]["labels"], json!({"own": "label", MANAGED_BY: CONTROLLER}));
        let summary: Vec<(Vec<&str>, Vec<&str>, Vec<i64>)> = seen["subsets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|subset| {
                let ips = |list: &str| {
                    let list = subset[list].as_array().map(Vec::as_slice).unwrap_or_default();
                    list.iter().map(|it| it["ip"].as_str().unwrap()).collect()
                };
                let ports = subset["ports"].as_array().unwrap();
                let ports = ports.iter().map(|it| it["port"].as_i64().unwrap()).collect();
                (ips("addresses"), ips("notReadyAddresses"), ports)
            })
            .collect();
        assert_eq!(
            summary,
            [
                (vec!["10.0.0.1", "10.0.0.3"], vec!["10.0.0.2"], vec![9000]),
                (vec!["10.0.0.1"], vec!["10.0.0.2"], vec![8080]),
                (vec!["10.0.0.3"], vec![], vec![8081]),
            ]
        );
        let first = &seen["subsets"][0]["addresses"][0];
        assert_eq!((&first["nodeName"], &first["targetRef"]["name"]), (&json!("n1"), &json!("a")));
        // What is gone is taken off.
        model.remove("/core/pods/d/c");
        model.put(SERVICE, json!({"spec": service(json!({"ports": []}))["spec"]}));
        settle(&mut model);
        let seen = model.get(ENDPOINTS);
        assert_eq!(seen["metadata"]["labels"].get("own"), None);
        assert_eq!(seen["subsets"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn endpoints_come_and_go_with_their_service_and_those_of_others_stay() {
        let mut model = Model::new();
        model.put(SERVICE, service(json!({"clusterIP": "None", "ports": [{"port": 80}]})));
        model.put("/core/services/d/manual", json!({"spec": {"ports": [{"port": 1}]}}));
        let manual = json!({"subsets": [{"addresses": [{"ip": "10.0.0.9"}]}]});
        model.put("/core/endpoints/d/manual", manual.clone());
        model.put("/core/endpoints/d/alone", manual.clone());
        settle(&mut model);
        let labels = model.get(ENDPOINTS)["metadata"]["labels"].clone();
        assert_eq!(labels[endpoint_slice::HEADLESS], "");
        assert_eq!(model.get("/core/endpoints/d/manual")["subsets"], manual["subsets"]);
        model.remove(SERVICE);
        settle(&mut model);
        assert!(model.get(ENDPOINTS).is_null());
        assert_eq!(model.get("/core/endpoints/d/alone")["subsets"], manual["subsets"]);
    }

    #[test]
    fn too_many_addresses_are_cut_and_it_is_said() {
        let mut model = Model::new();
        model.put(SERVICE, service(json!({"ports": [{"port": 80}]})));
        for number in 0..ADDRESSES_MAX + 5 {
            let ip = format!("10.0.{}.{}", number / 250, number % 250);
            pod(&mut model, &format!("p{number}"), &ip, json!([]));
        }
        settle(&mut model);
        let seen = model.get(ENDPOINTS);
        assert_eq!(seen["subsets"][0]["addresses"].as_array().unwrap().len(), ADDRESSES_MAX);
        assert_eq!(seen["metadata"]["annotations"][OVER_CAPACITY], "truncated");
    }
}
