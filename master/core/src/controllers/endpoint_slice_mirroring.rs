//! Mirrors Endpoints that somebody wrote for a service without a selector to endpoint slices, which
//! is all that nodes look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::endpoint_slice::{
    ENDPOINTS_MAX, HEADLESS, MANAGED_BY, SERVICE_NAME, delete, same, slice,
};
use super::{Outcome, endpoints};
use crate::action::{Action, Target};
use crate::snapshot::{Snapshot, in_namespace};
use crate::view::endpoint_slice::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, EndpointSliceView,
};
use crate::view::endpoints::{EndpointAddress, EndpointsView};
use crate::view::labels::Labels;
use crate::view::resource::{ObjectKey, Resource};

const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
/// By this label Endpoints say that they are not to be mirrored.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints with this annotation are somebody's leader election.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Compares mirrored slices with their Endpoints.
#[must_use]
pub fn reconcile(snapshot: &Snapshot) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for key in keys(snapshot) {
            outcome.merge(reconcile_key(snapshot, &key));
        }
    }
    outcome
}

/// All endpoints, and the services that mirrored slices are for.
pub(super) fn keys(snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
    let slices = snapshot.endpoint_slices().values();
    let mirrored = slices.filter_map(|slice| service_of(slice));
    snapshot.workloads().endpoints.keys().cloned().chain(mirrored).collect()
}

/// The service that a mirrored slice is for.
pub(super) fn service_of(slice: &EndpointSliceView) -> Option<ObjectKey> {
    let ours = slice.meta.labels.get(MANAGED_BY) == Some(CONTROLLER);
    let name = slice.meta.labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(&slice.meta.namespace, name))
}

/// As [`reconcile`], for one name of endpoints and service.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey) -> Outcome {
    let mut outcome = Outcome::default();
    let slices = in_namespace(snapshot.endpoint_slices(), &key.namespace);
    let own = slices.filter(|it| service_of(it).as_ref() == Some(key) && !it.meta.deleting());
    let mut present: BTreeMap<Arc<str>, &Arc<EndpointSliceView>> =
        own.map(|slice| (Arc::clone(&slice.meta.name), slice)).collect();
    for slice in to_mirror(snapshot, key).map(wanted).unwrap_or_default() {
        let stored = present.remove(&slice.metadata.name);
        if stored.is_some_and(|stored| same(stored, &slice)) {
            continue;
        }
        outcome.actions.push(Action::ReplaceEndpointSlice {
            target: stored.map(|stored| Target::of(&Resource::ENDPOINT_SLICES, &stored.meta)),
            namespace: Arc::clone(&key.namespace),
            slice: Box::new(slice),
        });
    }
    outcome.actions.extend(present.values().map(|slice| delete(slice)));
    outcome
}

fn to_mirror<'a>(snapshot: &'a Snapshot, key: &ObjectKey) -> Option<&'a EndpointsView> {
    let endpoints = snapshot.workloads().endpoints.get(key)?;
    let service = snapshot.services().get(key)?;
    let meta = &endpoints.meta;
    let skipped = meta.labels.get(SKIP_MIRROR) == Some("true")
        || meta.annotations.get(LEADER).is_some()
        || endpoints::ours(endpoints);
    let wanted = service.spec.selector.is_empty() && !service.meta.deleting() && !meta.deleting();
    (wanted && !skipped).then_some(&**endpoints)
}

/// The slices of some endpoints: by address family and ports.
fn wanted(endpoints: &EndpointsView) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<(&str, Vec<EndpointPort>), Vec<Endpoint>> = BTreeMap::new();
    for subset in &endpoints.subsets {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            let family = if address.ip.contains(':') { "IPv6" } else { "IPv4" };
            let mut ports = subset.ports.clone();
            for port in ports.iter_mut().filter(|port| port.protocol.is_empty()) {
                port.protocol = Arc::from("TCP");
            }
            groups.entry((family, ports)).or_default().push(endpoint(address, ready));
        }
    }
    let meta = &endpoints.meta;
    let labels: Labels = meta.labels.iter().filter(|(key, _)| *key != HEADLESS).collect();
    let labels = labels.with(SERVICE_NAME, &meta.name).with(MANAGED_BY, CONTROLLER);
    let mut slices = Vec::new();
    for ((family, ports), all) in groups {
        for chunk in all.chunks(ENDPOINTS_MAX) {
            let number = u64::try_from(slices.len()).unwrap_or(u64::MAX);
            let (owner, labels) = (("Endpoints", meta), labels.clone());
            slices.push(slice(
                owner,
                labels,
                &Arc::from(family),
                number,
                ports.clone(),
                chunk.to_vec(),
            ));
        }
    }
    slices
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![Arc::clone(&address.ip)],
        conditions: EndpointConditions { ready: Some(ready), ..EndpointConditions::default() },
        hostname: (!address.hostname.is_empty()).then(|| Arc::clone(&address.hostname)),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::model::Model;
    use super::*;

    const SERVICE: &str = "/core/services/d/web";
    const ENDPOINTS: &str = "/core/endpoints/d/web";

    fn model() -> Model {
        let mut model = Model::new();
        model.put(SERVICE, json!({"spec": {"ports": [{"name": "http", "port": 80}]}}));
        put(&mut model, &["10.1.2.3"]);
        model
    }

    fn put(model: &mut Model, ips: &[&str]) {
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let subsets = json!([{"addresses": addresses, "ports": [{"port": 80}]}]);
        model.put(ENDPOINTS, json!({"subsets": subsets}));
    }

    fn settle(model: &mut Model) {
        model.settle(|snapshot| reconcile(snapshot).actions);
    }

    /// Family, addresses, readiness and first port of each slice.
    fn slices(model: &Model) -> Vec<(String, Vec<String>, Vec<bool>, i32)> {
        let view = |slice: &Arc<EndpointSliceView>| {
            let addresses = slice.endpoints.iter().map(|it| it.addresses[0].to_string()).collect();
            let ready = slice.endpoints.iter().map(|it| it.conditions.ready.unwrap()).collect();
            (slice.address_type.to_string(), addresses, ready, slice.ports[0].port)
        };
        let mut all: Vec<_> = model.snapshot().endpoint_slices().values().map(view).collect();
        all.sort();
        all
    }

    #[test]
    fn slices_follow_the_endpoints_from_creation_to_deletion() {
        let mut model = model();
        settle(&mut model);
        let first = ("IPv4".to_owned(), vec!["10.1.2.3".to_owned()], vec![true], 80);
        assert_eq!(slices(&model), [first]);
        let slice = model.snapshot().endpoint_slices().values().next().unwrap().clone();
        assert_eq!(&*slice.meta.owner_references[0].kind, "Endpoints");
        assert_eq!(&*slice.ports[0].protocol, "TCP");
        put(&mut model, &["10.2.3.4"]);
        settle(&mut model);
        let changed = model.snapshot().endpoint_slices().values().next().unwrap().clone();
        assert_eq!((&*changed.meta.name, slices(&model).len()), (&*slice.meta.name, 1));
        assert_eq!(slices(&model)[0].1, ["10.2.3.4"]);
        model.remove(ENDPOINTS);
        settle(&mut model);
        assert_eq!(slices(&model), []);
    }

    #[test]
    fn families_and_ports_have_slices_of_their_own() {
        let mut model = model();
        let subsets = json!([
            {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]},
            {"notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 80, "protocol": "TCP"}]},
            {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 81}]},
        ]);
        model.put(ENDPOINTS, json!({ "subsets": subsets }));
        settle(&mut model);
        let text = |ips: &[&str]| ips.iter().map(|ip| (*ip).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            slices(&model),
            [
                ("IPv4".to_owned(), text(&["10.0.0.1"]), vec![true], 81),
                ("IPv4".to_owned(), text(&["10.0.0.1", "10.0.0.2"]), vec![true, false], 80),
                ("IPv6".to_owned(), text(&["fd00::1"]), vec![true], 80),
            ]
        );
    }

    #[test]
    fn nothing_is_mirrored_that_is_not_to_be() {
        let check = |change: &dyn Fn(&mut Model)| {
            let mut model = model();
            settle(&mut model);
            assert_eq!(slices(&model).len(), 1);
            change(&mut model);
            settle(&mut model);
            assert_eq!(slices(&model), []);
        };
        check(&|model| model.remove(SERVICE));
        check(&|model| model.merge(SERVICE, &json!({"spec": {"selector": {"a": "b"}}})));
        check(&|model| {
            model.merge(ENDPOINTS, &json!({"metadata": {"labels": {SKIP_MIRROR: "true"}}}));
        });
        check(&|model| {
            model.merge(ENDPOINTS, &json!({"metadata": {"annotations": {LEADER: "me"}}}))
        });
    }
}
