//! Writes the endpoint slices of services from the pods that they select.
//!
//! Endpoints on unreachable nodes are not ready at once, whatever their pods last reported. Slices
//! that other controllers manage are left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use super::rollout::safe_suffix;
use crate::action::{Action, Target};
use crate::membership::Contacts;
use crate::snapshot::{Snapshot, in_namespace};
use crate::view::deployment::IntOrString;
use crate::view::endpoint_slice::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, EndpointSliceMeta,
    EndpointSliceView, TargetRef,
};
use crate::view::labels::Labels;
use crate::view::meta::{Meta, OwnerReference};
use crate::view::node::TAINT_UNREACHABLE;
use crate::view::pod::PodView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::service::{ServicePort, ServiceView};

/// Most endpoints of one slice, upstream's default.
pub const ENDPOINTS_MAX: usize = 100;

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Compares the slices of every service with its pods.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, contacts: &Contacts) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for service in snapshot.services().values() {
            reconcile_one(snapshot, contacts, service, &mut outcome);
        }
        remove_stray(snapshot, &mut outcome);
    }
    outcome
}

/// As [`reconcile`], for one service: one that is gone leaves no slices.
pub(super) fn reconcile_key(snapshot: &Snapshot, contacts: &Contacts, key: &ObjectKey) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(service) = snapshot.services().get(key) {
        reconcile_one(snapshot, contacts, service, &mut outcome);
    }
    if !served(snapshot, key) {
        let slices = in_namespace(snapshot.endpoint_slices(), &key.namespace);
        let own = |slice: &&Arc<EndpointSliceView>| service_of(slice).as_ref() == Some(key);
        let stray = slices.filter(own).filter(|slice| !slice.meta.deleting());
        outcome.actions.extend(stray.map(|slice| delete(slice)));
    }
    outcome
}

/// The service that a slice of ours was made for, whether or not it still exists.
pub(super) fn service_of(slice: &EndpointSliceView) -> Option<ObjectKey> {
    let ours = slice.meta.labels.get(MANAGED_BY) == Some(CONTROLLER);
    let name = slice.meta.labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(&slice.meta.namespace, name))
}

fn served(snapshot: &Snapshot, key: &ObjectKey) -> bool {
    snapshot.services().get(key).is_some_and(|service| {
        !service.spec.selector.is_empty() && &*service.spec.kind != "ExternalName"
    })
}

fn reconcile_one(
    snapshot: &Snapshot,
    contacts: &Contacts,
    service: &ServiceView,
    outcome: &mut Outcome,
) {
    let spec = &service.spec;
    if service.meta.deleting() || spec.selector.is_empty() || &*spec.kind == "ExternalName" {
        return;
    }
    let namespace = &service.meta.namespace;
    let mut present: BTreeMap<Arc<str>, &Arc<EndpointSliceView>> =
        in_namespace(snapshot.endpoint_slices(), namespace)
            .filter(|slice| of_service(slice, service) && !slice.meta.deleting())
            .map(|slice| (Arc::clone(&slice.meta.name), slice))
            .collect();
    for slice in wanted_slices(snapshot, contacts, service) {
        let stored = present.remove(&slice.metadata.name);
        if stored.is_some_and(|stored| same(stored, &slice)) {
            continue;
        }
        outcome.actions.push(Action::ReplaceEndpointSlice {
            target: stored.map(|stored| Target::of(&Resource::ENDPOINT_SLICES, &stored.meta)),
            namespace: Arc::clone(namespace),
            slice: Box::new(slice),
        });
    }
    outcome.actions.extend(present.values().map(|slice| delete(slice)));
}

/// Deletes slices of ours whose service is gone or has lost its selector. Ownership would do the
/// former too, but clients must not be sent to dead addresses until then.
fn remove_stray(snapshot: &Snapshot, outcome: &mut Outcome) {
    for slice in snapshot.endpoint_slices().values().filter(|slice| !slice.meta.deleting()) {
        if service_of(slice).is_some_and(|key| !served(snapshot, &key)) {
            outcome.actions.push(delete(slice));
        }
    }
}

/// Deletes a slice.
pub(super) fn delete(slice: &EndpointSliceView) -> Action {
    let target = Target::of(&Resource::ENDPOINT_SLICES, &slice.meta);
    Action::Delete { target, grace_seconds: None, propagation: None }
}

fn of_service(slice: &EndpointSliceView, service: &ServiceView) -> bool {
    slice.meta.labels.get(SERVICE_NAME) == Some(&service.meta.name)
        && slice.meta.labels.get(MANAGED_BY) == Some(CONTROLLER)
}

/// Whether a stored slice is as it is wanted.
pub(super) fn same(stored: &EndpointSliceView, wanted: &EndpointSlice) -> bool {
    stored.address_type == wanted.address_type
        && stored.endpoints == wanted.endpoints
        && stored.ports == wanted.ports
        && stored.meta.labels == wanted.metadata.labels
        && stored.meta.owner_references == wanted.metadata.owner_references
}

/// All slices of a service: one run of them per address family and per set of port numbers, since
/// a named port may have another number in each pod.
fn wanted_slices(
    snapshot: &Snapshot,
    contacts: &Contacts,
    service: &ServiceView,
) -> Vec<EndpointSlice> {
    let default_family = [Arc::from("IPv4")];
    let families: &[Arc<str>] = if service.spec.ip_families.is_empty() {
        &default_family
    } else {
        &service.spec.ip_families
    };
    let mut slices = Vec::new();
    for family in families {
        let mut groups: BTreeMap<Vec<EndpointPort>, Vec<Endpoint>> = BTreeMap::new();
        for (endpoint, ports) in behind(snapshot, contacts, service, family) {
            groups.entry(ports).or_default().push(endpoint);
        }
        // A service without pods has an empty slice, so that consumers can tell it from unknown.
        if groups.is_empty() {
            let ports = service.spec.ports.iter().filter_map(|port| numbered(port, None)).collect();
            groups.insert(ports, Vec::new());
        }
        let mut number = 0;
        for (ports, endpoints) in groups {
            let mut chunks: Vec<Vec<Endpoint>> =
                endpoints.chunks(ENDPOINTS_MAX).map(<[Endpoint]>::to_vec).collect();
            if chunks.is_empty() {
                chunks.push(Vec::new());
            }
            for endpoints in chunks {
                let owner = ("Service", &service.meta);
                let labels = labels(service);
                slices.push(slice(owner, labels, family, number, ports.clone(), endpoints));
                number += 1;
            }
        }
    }
    slices
}

fn labels(service: &ServiceView) -> Labels {
    let meta = &service.meta;
    let labels = meta.labels.with(SERVICE_NAME, &meta.name).with(MANAGED_BY, CONTROLLER);
    if &*service.spec.cluster_ip == "None" { labels.with(HEADLESS, "") } else { labels }
}

/// The endpoints of a service that have an address of a family, with the numbers of their ports.
pub(super) fn behind(
    snapshot: &Snapshot,
    contacts: &Contacts,
    service: &ServiceView,
    family: &str,
) -> Vec<(Endpoint, Vec<EndpointPort>)> {
    let pods = snapshot.pods_in(&service.meta.namespace);
    let pods = pods
        .filter(|pod| pod.meta.labels.contains_all(&service.spec.selector) && !pod.terminated());
    pods.filter_map(|pod| {
        let endpoint = endpoint(snapshot, contacts, service, pod, family)?;
        Some((endpoint, ports(service, pod)))
    })
    .collect()
}

/// A slice that an object of this kind owns. Its name follows from what it is, so that a second master
/// would write the same one.
pub(super) fn slice(
    (kind, owner): (&str, &Meta),
    labels: Labels,
    family: &Arc<str>,
    number: u64,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let suffix = safe_suffix(&[&owner.uid, family], 0, number);
    EndpointSlice {
        api_version: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: EndpointSliceMeta {
            name: Arc::from(format!("{}-{suffix}", owner.name)),
            namespace: Arc::clone(&owner.namespace),
            labels,
            owner_references: vec![OwnerReference {
                api_version: Arc::from("v1"),
                kind: Arc::from(kind),
                name: Arc::clone(&owner.name),
                uid: Arc::clone(&owner.uid),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
        },
        address_type: Arc::clone(family),
        endpoints,
        ports,
    }
}

fn endpoint(
    snapshot: &Snapshot,
    contacts: &Contacts,
    service: &ServiceView,
    pod: &PodView,
    family: &str,
) -> Option<Endpoint> {
    let address = pod.pod_ips.iter().find(|ip| ip.contains(':') == (family == "IPv6"))?;
    let node = pod.node_name.as_ref()?;
    // Membership knows first, the taint is what is left of it after a restart of the master.
    let reachable = contacts.nodes.get(node).and_then(|contact| contact.reachable);
    let tainted = || snapshot.node(node).is_some_and(|node| node.tainted(TAINT_UNREACHABLE));
    let in_contact = reachable.unwrap_or_else(|| !tainted());
    let terminating = pod.meta.deleting();
    let serving = in_contact && pod.ready();
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let named = !pod.hostname.is_empty() && pod.subdomain == service.meta.name;
    Some(Endpoint {
        addresses: vec![Arc::clone(address)],
        conditions: EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        },
        hostname: named.then(|| Arc::clone(&pod.hostname)),
        target_ref: Some(TargetRef {
            kind: Arc::from("Pod"),
            namespace: Arc::clone(&pod.meta.namespace),
            name: Arc::clone(&pod.meta.name),
            uid: Arc::clone(&pod.meta.uid),
        }),
        node_name: Some(Arc::clone(node)),
    })
}

/// The service's ports with the numbers that this pod has for them.
fn ports(service: &ServiceView, pod: &PodView) -> Vec<EndpointPort> {
    service.spec.ports.iter().filter_map(|port| numbered(port, Some(pod))).collect()
}

/// A port of the service as one number; `None` if the pod has no port of that name.
fn numbered(port: &ServicePort, pod: Option<&PodView>) -> Option<EndpointPort> {
    let number = match &port.target_port {
        Some(IntOrString::Number(0)) | None => port.port,
        Some(IntOrString::Number(number)) => *number,
        Some(IntOrString::Text(name)) => {
            let mut ports = pod?.ports.iter();
            let named = |it: &&crate::view::pod::ContainerPort| {
                *it.name == **name && it.protocol() == port.protocol()
            };
            ports.find(named)?.container_port
        }
    };
    Some(EndpointPort {
        name: Arc::clone(&port.name),
        protocol: Arc::from(port.protocol()),
        port: number,
        app_protocol: port.app_protocol.clone(),
    })
}

/// The slices of one service, for whoever serves DNS or rules from a snapshot.
pub fn slices_of<'a>(
    snapshot: &'a Snapshot,
    service: &'a ObjectId,
) -> impl Iterator<Item = &'a Arc<EndpointSliceView>> {
    in_namespace(snapshot.endpoint_slices(), &service.key.namespace)
        .filter(|slice| labelled(&slice.meta.labels, &service.key.name))
}

fn labelled(labels: &Labels, service: &str) -> bool {
    labels.get(SERVICE_NAME) == Some(service)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::model::{Model, NOW};
    use super::*;
    use crate::membership::NodeContact;

    const SERVICE: &str = "/core/services/d/web";

    fn service() -> Value {
        let port = json!({"name": "http", "port": 80, "targetPort": "web"});
        json!({"spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9", "ports": [port]}})
    }

    fn pod(model: &mut Model, name: &str, node: &str, port: i32) {
        let key = format!("/core/pods/d/{name}");
        let ports = json!([{"name": "web", "containerPort": port}]);
        let spec = json!({"containers": [{"ports": ports}]});
        model.put(&key, json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}));
        model.make_ready(&key, node);
    }

    fn settle(model: &mut Model, contacts: &Contacts) {
        model.settle(|snapshot| reconcile(snapshot, contacts).actions);
    }

    fn slices(model: &Model) -> Vec<Arc<EndpointSliceView>> {
        model.snapshot().endpoint_slices().values().cloned().collect()
    }

    #[test]
    fn ready_pods_become_endpoints_with_their_port_numbers() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        pod(&mut model, "a", "pi-1", 8080);
        settle(&mut model, &Contacts::default());
        let slices = slices(&model);
        let [slice] = &slices[..] else { panic!("{slices:?}") };
        assert_eq!(slice.ports[0].port, 8080);
        let endpoint = &slice.endpoints[0];
        assert_eq!(&*endpoint.addresses[0], "10.0.0.1");
        assert_eq!(endpoint.node_name.as_deref(), Some("pi-1"));
        assert_eq!(&*endpoint.target_ref.as_ref().unwrap().name, "a");
        assert_eq!(endpoint.conditions.ready, Some(true));
    }

    #[test]
    fn endpoints_of_an_unreachable_node_are_not_ready_at_once() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        pod(&mut model, "a", "pi-1", 80);
        pod(&mut model, "b", "pi-2", 80);
        let contact = NodeContact { reachable: Some(false), ..NodeContact::default() };
        let contacts =
            Contacts { nodes: [(Arc::from("pi-1"), contact)].into(), ..Contacts::default() };
        settle(&mut model, &contacts);
        let slices = slices(&model);
        let ready: Vec<_> = slices[0].endpoints.iter().map(|it| it.conditions.ready).collect();
        assert_eq!(ready, [Some(false), Some(true)]);
    }

    #[test]
    fn a_terminating_pod_may_serve_but_is_not_ready() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        pod(&mut model, "a", "pi-1", 80);
        model.merge("/core/pods/d/a", &json!({"metadata": {"deletionTimestamp": NOW}}));
        settle(&mut model, &Contacts::default());
        let conditions = slices(&model)[0].endpoints[0].conditions;
        let wanted = (Some(false), Some(true), Some(true));
        assert_eq!((conditions.ready, conditions.serving, conditions.terminating), wanted);
    }

    #[test]
    fn pods_with_other_port_numbers_get_another_slice() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        pod(&mut model, "a", "pi-1", 80);
        pod(&mut model, "b", "pi-1", 81);
        settle(&mut model, &Contacts::default());
        assert_eq!(slices(&model).len(), 2);
    }

    #[test]
    fn slices_are_split_at_the_limit_and_go_with_their_service() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        for number in 0..150 {
            pod(&mut model, &format!("p-{number:03}"), "pi-1", 80);
        }
        settle(&mut model, &Contacts::default());
        let mut sizes: Vec<_> = slices(&model).iter().map(|slice| slice.endpoints.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [50, 100]);
        model.remove(SERVICE);
        settle(&mut model, &Contacts::default());
        assert_eq!(slices(&model), []);
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice_and_one_without_a_selector_none() {
        let mut model = Model::new();
        model.put(SERVICE, service());
        model.put("/core/services/d/manual", json!({"spec": {"ports": [{"port": 1}]}}));
        settle(&mut model, &Contacts::default());
        assert_eq!(slices(&model).len(), 1);
        assert!(slices(&model)[0].endpoints.is_empty());
    }
}
