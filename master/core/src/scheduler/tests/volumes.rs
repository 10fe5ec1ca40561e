//! Pods whose volumes are somewhere, or are still to be had.

use super::*;

const BOUND: &str = "pv.kubernetes.io/bind-completed";
const SELECTED: &str = "volume.kubernetes.io/selected-node";

impl World {
    fn host(&mut self, name: &str) {
        let allocatable = json!({"cpu": "4", "memory": "1Gi", "pods": "110"});
        let labels = json!({"kubernetes.io/hostname": name});
        let node = json!({"metadata": {"name": name, "uid": name, "labels": labels},
            "status": {"allocatable": allocatable}});
        self.put(&format!("/core/nodes/_/{name}"), &node);
    }

    fn claim(&mut self, name: &str, mode: &str, volume: &str, annotations: Value) {
        let spec = json!({"accessModes": [mode], "storageClassName": "c", "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}});
        let metadata =
            json!({"name": name, "namespace": "d", "uid": name, "annotations": annotations});
        let claim = json!({"metadata": metadata, "spec": spec});
        self.put(&format!("/core/persistentvolumeclaims/d/{name}"), &claim);
    }

    fn volume(&mut self, name: &str, host: &str) {
        let expression =
            json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
        let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c",
            "capacity": {"storage": "1Gi"}, "nodeAffinity": {"required": terms}});
        let volume = json!({"metadata": {"name": name, "uid": name}, "spec": spec});
        self.put(&format!("/core/persistentvolumes/_/{name}"), &volume);
    }

    fn class(&mut self, provisioner: &str, mode: &str) {
        let class = json!({"metadata": {"name": "c", "uid": "c"}, "provisioner": provisioner,
            "volumeBindingMode": mode});
        self.put("/storage.k8s.io/storageclasses/_/c", &class);
    }

    fn with_claim(&mut self, name: &str, claim: &str, node: Option<&str>) {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}});
        let pod = json!({"metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"nodeName": node, "volumes": [volume]}});
        self.put(&format!("/core/pods/d/{name}"), &pod);
    }
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let mut world = World::new();
    for host in ["a", "b", "c"] {
        world.host(host);
    }
    world.volume("v", "b");
    world.claim("data", "ReadWriteOnce", "v", json!({BOUND: "yes"}));
    world.with_claim("1", "data", None);
    assert_eq!(world.bindings(), [("1".to_owned(), "b".to_owned())]);
    world.remove("/core/nodes/_/b");
    world.with_claim("2", "data", None);
    let wanted =
        "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.";
    assert_eq!(world.messages(), [wanted]);
}

#[test]
fn a_pod_waits_for_its_claim_and_says_so() {
    let mut world = World::new();
    world.host("a");
    world.with_claim("1", "data", None);
    let missing = "0/1 nodes are available: persistentvolumeclaim \"data\" not found.";
    assert_eq!(world.messages(), [missing]);
    world.class("x", "Immediate");
    world.claim("data", "ReadWriteOnce", "", json!({}));
    let unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    assert_eq!(world.messages(), [unbound]);
    world.volume("v", "a");
    world.claim("data", "ReadWriteOnce", "v", json!({BOUND: "yes"}));
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn a_claim_that_waits_is_told_its_node_before_the_pod_is_bound_there() {
    let mut world = World::new();
    for host in ["a", "b"] {
        world.host(host);
    }
    world.class("bramble.io/local-path", "WaitForFirstConsumer");
    world.claim("data", "ReadWriteOnce", "", json!({}));
    world.with_claim("1", "data", None);
    let actions = world.run();
    let [Action::Update { target, patch }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(&*target.name, "data");
    let node = patch["metadata"]["annotations"][SELECTED].as_str().unwrap().to_owned();
    assert_eq!(world.run(), [], "it waits");
    world.claim("data", "ReadWriteOnce", "", json!({SELECTED: node}));
    assert_eq!(world.run(), [], "it still waits");
    world.volume("v", &node);
    world.claim("data", "ReadWriteOnce", "v", json!({SELECTED: node, BOUND: "yes"}));
    assert_eq!(world.bindings(), [("1".to_owned(), node)]);
}

#[test]
fn without_a_provisioner_only_nodes_with_a_volume_will_do() {
    let mut world = World::new();
    for host in ["a", "b"] {
        world.host(host);
    }
    world.class("kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    world.claim("data", "ReadWriteOnce", "", json!({}));
    world.with_claim("1", "data", None);
    let wanted =
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(world.messages(), [wanted]);
    world.volume("v", "b");
    let actions = world.run();
    let [Action::Update { patch, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(patch["metadata"]["annotations"][SELECTED], "b");
}

#[test]
fn a_claim_for_one_pod_is_had_by_one() {
    let mut world = World::new();
    world.host("a");
    world.volume("v", "a");
    world.claim("data", "ReadWriteOncePod", "v", json!({BOUND: "yes"}));
    world.with_claim("1", "data", Some("a"));
    world.with_claim("2", "data", None);
    let wanted = "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the \
                  same name and ReadWriteOncePod access mode.";
    assert_eq!(world.messages(), [wanted]);
    world.remove("/core/pods/d/1");
    assert_eq!(world.bindings().len(), 1);
}
