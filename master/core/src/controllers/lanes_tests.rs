//! Lanes on what changes made dirty end where passes over everything end.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::lanes::{LANES, Lane, Lanes};
use super::model::{CA, Model, NOW};
use super::{World, garbage};
use crate::action::Propagation;
use crate::membership::{Contacts, NodeContact};
use crate::view::resource::Resource;

/// What somebody may do to the cluster.
#[derive(Clone, Debug)]
enum Step {
    Deployment { name: u8, replicas: u8, image: u8 },
    Service { name: u8, app: u8 },
    Pod { name: u8, app: u8, node: u8 },
    Relabel { pod: u8, app: u8 },
    Ready { pod: u8, node: u8 },
    Delete { object: u8, propagation: u8 },
    Remove { object: u8 },
    Node { name: u8 },
    Contact { node: u8, reachable: bool },
    Namespace { name: u8 },
    Workload { kind: u8, name: u8, count: u8, image: u8 },
    Budget { name: u8, app: u8, count: u8 },
    Ended { pod: u8, well: bool },
    Endpoints { name: u8, address: u8 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let small = || 0..3u8;
    prop_oneof![
        (small(), 0..4u8, small()).prop_map(|(name, replicas, image)| Step::Deployment {
            name,
            replicas,
            image
        }),
        (small(), small()).prop_map(|(name, app)| Step::Service { name, app }),
        (small(), small(), small()).prop_map(|(name, app, node)| Step::Pod { name, app, node }),
        (any::<u8>(), small()).prop_map(|(pod, app)| Step::Relabel { pod, app }),
        (any::<u8>(), small()).prop_map(|(pod, node)| Step::Ready { pod, node }),
        (any::<u8>(), small())
            .prop_map(|(object, propagation)| Step::Delete { object, propagation }),
        any::<u8>().prop_map(|object| Step::Remove { object }),
        small().prop_map(|name| Step::Node { name }),
        (small(), any::<bool>()).prop_map(|(node, reachable)| Step::Contact { node, reachable }),
        small().prop_map(|name| Step::Namespace { name }),
        (0..5u8, small(), 0..4u8, small()).prop_map(|(kind, name, count, image)| Step::Workload {
            kind,
            name,
            count,
            image
        }),
        (small(), small(), small()).prop_map(|(name, app, count)| Step::Budget {
            name,
            app,
            count
        }),
        (any::<u8>(), any::<bool>()).prop_map(|(pod, well)| Step::Ended { pod, well }),
        (small(), small()).prop_map(|(name, address)| Step::Endpoints { name, address }),
    ]
}

/// Objects live in two namespaces, so that one can go.
fn namespace(name: u8) -> &'static str {
    if name.is_multiple_of(2) { "d" } else { "e" }
}

fn pick(model: &Model, index: u8, wanted: impl Fn(&Resource) -> bool) -> Option<String> {
    let keys: Vec<String> = model.keys().filter(|(id, _)| wanted(id)).map(|(_, key)| key).collect();
    keys.get(usize::from(index) % keys.len().max(1)).cloned()
}

fn take(model: &mut Model, contacts: &mut Contacts, step: &Step) {
    let is_pod = |resource: &Resource| *resource == Resource::PODS;
    match *step {
        Step::Deployment { name, replicas, image } => {
            let app = format!("app-{name}");
            let labels = json!({"app": app});
            let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "c", "image": format!("image-{image}")}]}});
            let object = json!({"spec": {"replicas": replicas,
                "selector": {"matchLabels": labels}, "template": template}});
            model.put(&format!("/apps/deployments/{}/web-{name}", namespace(name)), object);
        }
        Step::Workload { kind, name, count, image } => {
            workload(model, kind, name, count, image);
        }
        Step::Budget { name, app, count } => {
            let selector = json!({"matchLabels": {"app": format!("app-{app}")}});
            let bound = if count == 0 { json!("50%") } else { json!(count) };
            let key = format!("/policy/poddisruptionbudgets/{}/pdb-{name}", namespace(app));
            model.put(&key, json!({"spec": {"selector": selector, "maxUnavailable": bound}}));
        }
        Step::Endpoints { name, address } => {
            // Of a service that may not be there yet, and that has no selector.
            let manual = format!("{}/manual-{name}", namespace(name));
            let subsets = json!([{"addresses": [{"ip": format!("10.0.0.{address}")}]}]);
            model.put(&format!("/core/endpoints/{manual}"), json!({"subsets": subsets}));
            if address > 0 {
                model.put(&format!("/core/services/{manual}"), json!({"spec": {"ports": []}}));
            }
        }
        Step::Ended { pod, well } => {
            if let Some(key) = pick(model, pod, is_pod) {
                let phase = if well { "Succeeded" } else { "Failed" };
                model.merge(&key, &json!({"status": {"phase": phase, "conditions": []}}));
            }
        }
        Step::Service { name, app } => {
            let ports = json!([{"port": 80, "protocol": "TCP"}]);
            let spec = json!({"selector": {"app": format!("app-{app}")}, "ports": ports});
            let key = format!("/core/services/{}/svc-{name}", namespace(app));
            model.put(&key, json!({"spec": spec}));
        }
        Step::Pod { name, app, node } => {
            let object = json!({"metadata": {"labels": {"app": format!("app-{app}")}},
                "spec": {"containers": [], "nodeName": format!("n{node}")},
                "status": {"phase": "Running"}});
            let key = format!("/core/pods/{}/own-{name}", namespace(app));
            if model.get(&key).is_null() {
                model.put(&key, object);
            }
        }
        Step::Relabel { pod, app } => {
            if let Some(key) = pick(model, pod, is_pod) {
                let labels = json!({"app": format!("app-{app}")});
                model.merge(&key, &json!({"metadata": {"labels": labels}}));
            }
        }
        Step::Ready { pod, node } => {
            if let Some(key) = pick(model, pod, is_pod) {
                let at = model.get(&key)["spec"]["nodeName"].as_str().map(str::to_owned);
                model.make_ready(&key, &at.unwrap_or_else(|| format!("n{node}")));
            }
        }
        Step::Delete { object, propagation } => {
            let propagation = match propagation {
                0 => Propagation::Background,
                1 => Propagation::Foreground,
                _ => Propagation::Orphan,
            };
            if let Some(key) = pick(model, object, |_| true) {
                model.delete_as_client(&key, propagation);
            }
        }
        Step::Remove { object } => {
            // A namespace goes when nothing is in it any more, and not before.
            let removable = |resource: &Resource| *resource != Resource::NAMESPACES;
            if let Some(key) = pick(model, object, removable) {
                model.remove(&key);
            }
        }
        Step::Node { name } => {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": NOW});
            let node = json!({"spec": {}, "status": {"conditions": [ready]}});
            model.put(&format!("/core/nodes/_/n{name}"), node);
        }
        Step::Contact { node, reachable } => {
            let contact = NodeContact { reachable: Some(reachable), ..NodeContact::default() };
            contacts.nodes.insert(Arc::from(format!("n{node}")), contact);
        }
        Step::Namespace { name } => {
            let object = json!({"spec": {"finalizers": ["kubernetes"]}});
            let key = format!("/core/namespaces/_/{}", namespace(name));
            if model.get(&key).is_null() {
                model.put(&key, object);
            }
        }
    }
}

/// Puts a workload of some kind there; one that is there stays a number and a template apart.
fn workload(model: &mut Model, kind: u8, name: u8, count: u8, image: u8) {
    let app = format!("app-{name}");
    let labels = json!({"app": app, "kind": kind.to_string()});
    let template = json!({"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": format!("image-{image}")}]}});
    let selector = json!({"matchLabels": labels});
    let mut spec = json!({"replicas": count, "selector": selector, "template": template});
    let path = match kind {
        0 => {
            spec["selector"] = labels;
            "core/replicationcontrollers"
        }
        1 => {
            spec["podManagementPolicy"] = if image == 0 { json!("Parallel") } else { json!("") };
            spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
            "apps/statefulsets"
        }
        2 => "apps/daemonsets",
        3 => {
            spec["completions"] = json!(count);
            spec["parallelism"] = json!(2);
            spec["backoffLimit"] = json!(1);
            "batch/jobs"
        }
        _ => {
            spec = json!({"schedule": "* * * * *", "jobTemplate": {"spec": spec}});
            "batch/cronjobs"
        }
    };
    let key = format!("/{path}/{}/w-{name}", namespace(name));
    // What a job is to do is never changed.
    if kind != 3 || model.get(&key).is_null() {
        model.put(&key, json!({ "spec": spec }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn dirty_keys_end_where_a_full_pass_ends(
        steps in proptest::collection::vec(any_step(), 1..40),
        stride in 1..4usize,
    ) {
        let mut model = Model::new();
        let mut contacts = Contacts { may_replace: true, ..Contacts::default() };
        for group in steps.chunks(stride) {
            for step in group {
                take(&mut model, &mut contacts, step);
            }
            model.settle_lanes(&contacts);
            let mut left = model.full_pass(&contacts);
            // What something waits for is said whenever it is looked at.
            left.retain(|action| !action.tells());
            prop_assert!(left.is_empty(), "after {:?} a full pass still wants {:?}", group, left);
        }
    }
}

#[test]
fn nothing_is_created_in_a_namespace_that_goes() {
    let mut model = Model::new();
    let mut unused = contacts();
    take(&mut model, &mut unused, &Step::Namespace { name: 0 });
    take(&mut model, &mut unused, &Step::Deployment { name: 0, replicas: 2, image: 0 });
    model.settle_lanes(&contacts());
    let pods: Vec<String> =
        model.keys().filter(|(id, _)| *id == Resource::PODS).map(|(_, key)| key).collect();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        model.make_ready(pod, "n1");
    }
    let node = json!({"spec": {}, "status": {"conditions": []}});
    model.put("/core/nodes/_/n1", node);
    model.delete_as_client("/core/namespaces/_/d", Propagation::Background);
    model.settle_lanes(&contacts());
    assert!(model.snapshot().pods().values().all(|pod| pod.meta.deleting()));
    assert_eq!(model.snapshot().pods().len(), 2, "nobody makes others in their place");
    let told = model.events.iter().filter(|event| event.starts_with("SuccessfulCreate"));
    assert_eq!(told.count(), 2);
    pods.iter().for_each(|pod| model.remove(pod));
    model.settle_lanes(&contacts());
    assert!(model.get("/core/namespaces/_/d").is_null());
}

fn contacts() -> Contacts {
    Contacts { may_replace: true, ..Contacts::default() }
}

#[test]
fn change_makes_only_those_dirty_whom_it_concerns() {
    let mut model = Model::new();
    let mut unused = contacts();
    for name in 0..3 {
        take(&mut model, &mut unused, &Step::Deployment { name, replicas: 1, image: 0 });
        take(&mut model, &mut unused, &Step::Service { name, app: name });
    }
    model.settle_lanes(&contacts());
    let pending = |lanes: &Lanes| -> Vec<Lane> {
        LANES.into_iter().filter(|lane| lanes.pending(*lane, NOW)).collect()
    };
    model.lanes.clone_from(&Lanes::default());
    model.put("/core/configmaps/d/a", json!({"data": {}}));
    assert_eq!(pending(&model.lanes), [Lane::Garbage]);
    model.lanes = Lanes::default();
    take(&mut model, &mut unused, &Step::Service { name: 0, app: 1 });
    let slices = [Lane::EndpointSlices, Lane::MirroredSlices, Lane::Endpoints, Lane::Garbage];
    assert_eq!(pending(&model.lanes), slices);
}

#[test]
fn failed_key_is_looked_at_again_and_a_run_is_bounded() {
    let mut model = Model::new();
    for n in 0..2 * garbage::ACTIONS_MAX {
        let owner =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": format!("u{n}")}]);
        let object = json!({"metadata": {"ownerReferences": owner}});
        model.put(&format!("/core/configmaps/d/c{n}"), object);
    }
    let (contacts, power) = (contacts(), std::collections::BTreeMap::new());
    let mut lanes = model.lanes.clone();
    let world = World {
        snapshot: model.snapshot(),
        contacts: &contacts,
        power: &power,
        root_ca: CA,
        now: NOW,
    };
    let first = lanes.run(Lane::Garbage, &world);
    assert_eq!(first.actions.len(), garbage::ACTIONS_MAX);
    assert!(lanes.pending(Lane::Garbage, NOW), "the rest stays dirty");
    assert_eq!(lanes.run(Lane::Garbage, &world).actions.len(), garbage::ACTIONS_MAX);
    while lanes.pending(Lane::Garbage, NOW) {
        assert!(lanes.run(Lane::Garbage, &world).actions.is_empty());
    }
    lanes.note_failed(Lane::Garbage, first.keys, NOW);
    assert_eq!(lanes.run(Lane::Garbage, &world).actions.len(), garbage::ACTIONS_MAX);
}
