//! Real kubectl against a real master, for everything that needs no node.
//!
//! Skips, with a reason, where there is no kubectl.

mod cluster;

use std::fs;

use cluster::{Master, kubectl_missing, spawn};

#[test]
fn objects_of_two_forms_are_read_in_the_one_that_is_asked_for() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.apply(
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\n\
         spec: {maxReplicas: 3, targetCPUUtilizationPercentage: 50, \
         scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}\n",
    );
    let version = "-o jsonpath={.apiVersion}";
    master.check(
        &format!("get horizontalpodautoscalers.v1.autoscaling h {version}"),
        "autoscaling/v1",
    );
    master.check(
        &format!("get horizontalpodautoscalers.v2.autoscaling h {version}"),
        "autoscaling/v2",
    );
    master.check("get hpa h", "cpu: <unknown>/50%");
    master.apply(
        "apiVersion: events.k8s.io/v1\nkind: Event\nmetadata: {name: e, namespace: default}\n\
         eventTime: '2026-01-01T00:00:00.000000Z'\nreportingController: x/y\n\
         reportingInstance: i\naction: A\nreason: R\ntype: Normal\nnote: hello\n\
         regarding: {kind: Pod, name: p, namespace: default}\n",
    );
    master.check("get events.v1.events.k8s.io e -o jsonpath={.note}", "hello");
    master.check("get events.v1. e -o jsonpath={.message}", "hello");
    master.check("get events", "pod/p");
}

#[test]
fn kubectl_creates_reads_changes_and_deletes() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.check("version", "Server Version: v1.36");
    master.check("cluster-info", "control plane");
    master.check("api-resources", "deployments");
    master.check("get namespaces", "kube-node-lease");
    master.check("get service kubernetes", "10.43.0.1");
    master.check("auth whoami", "system:masters");
    master.check("auth can-i create pods", "yes");

    master.check("create namespace demo", "created");
    master.check("create deployment web --image=nginx --replicas=2 -n demo", "created");
    master.wait_for("get pods -n demo -o wide", "Pending");
    master.check("get deployment web -n demo", "0/2");
    master.check("scale deployment web --replicas=5 -n demo", "scaled");
    master.check("get deployment web -n demo -o jsonpath={.spec.replicas}", "5");
    master.check("expose deployment web --port=80 --type=NodePort -n demo", "exposed");
    master.check("get services -n demo", "10.43.");
    master.check("create configmap settings --from-literal=a=b", "created");
    master.check("create secret generic key --from-literal=a=b", "created");
    master.check("get secret key -o jsonpath={.data.a}", "Yg==");
    master.check("run one --image=busybox", "created");
    master.check("label pod one tier=front", "labeled");
    master.check("get pods -l tier=front", "one");
    master.check("get pods --field-selector=metadata.name=one -o name", "pod/one");
    master.check("describe pod one", "Status:           Pending");
    master.check("delete pod one", "deleted");
    master.refuse("get pod one", "NotFound");
    master.refuse("create configmap settings", "already exists");
    master.check("delete namespace demo", "deleted");
    master.refuse("get namespace demo", "NotFound");
}

#[test]
fn manifest_is_applied_again_and_changed() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let manifest = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1'}]}
";
    assert!(master.apply(manifest).contains("deployment.apps/web created"));
    let address = "get service web -o jsonpath={.spec.clusterIP}:{.spec.ports[0].nodePort}";
    let args: Vec<&str> = address.split_whitespace().collect();
    let before = master.kubectl(&args).expect("the service");
    assert!(master.apply(manifest).contains("deployment.apps/web unchanged"));
    let changed =
        manifest.replace("nginx:1", "nginx:2").replace("port: 80", "port: 80, targetPort: 81");
    assert!(master.apply(&changed).contains("deployment.apps/web configured"));
    master.check("get deployment web -o wide", "nginx:2");
    master.check("get service web -o jsonpath={.spec.ports[0].targetPort}", "81");
    assert_eq!(master.kubectl(&args).expect("the service"), before);
    let path = master.folder().join("manifest.yaml");
    let path = path.to_str().expect("a path in UTF-8");
    master.check(&format!("apply --server-side --force-conflicts -f {path}"), "applied");
    master.check(&format!("delete -f {path}"), "deleted");
}

#[test]
fn list_file_is_created_changed_and_deleted() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let list = "apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: two}, data: {a: b}}
";
    assert_eq!(master.apply(list), "configmap/one created\nconfigmap/two created\n");
    let changed = list.replace("{name: two}, data: {a: b}", "{name: two}, data: {a: c}");
    assert_eq!(master.apply(&changed), "configmap/one unchanged\nconfigmap/two configured\n");
    let path = master.folder().join("manifest.yaml");
    let path = path.to_str().expect("a path in UTF-8");
    master.check(&format!("delete -f {path}"), "deleted");
    master.check(&format!("create -f {path}"), "configmap/two created");
    fs::write(path, list.replace("data", "datta")).expect("a manifest");
    master.refuse(&format!("apply -f {path}"), "unknown field \"datta\"");
    master.check("explain pod.spec.containers.image", "<string>");
}

#[test]
fn mistakes_are_told_clearly() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let path = master.folder().join("bad.yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatta: {}\n";
    fs::write(&path, text).expect("a manifest");
    let path = path.to_str().expect("a path in UTF-8");
    master.refuse(&format!("create -f {path}"), "unknown field \"datta\"");
    master.refuse("create configmap a -n nowhere", "\"nowhere\" not found");
    master.refuse("create configmap Not_A_Name", "Invalid");
    master.refuse("get nothing", "doesn't have a resource type");
}

#[test]
fn nobody_gets_in_without_a_certificate() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let text = fs::read_to_string(master.kubeconfig()).expect("a kubeconfig");
    let (head, _) = text.split_once("    client-certificate-data").expect("a certificate");
    let (_, contexts) = text.split_once("contexts:").expect("contexts");
    let path = master.folder().join("nobody.kubeconfig");
    fs::write(&path, format!("{head}    token: made-up\ncontexts:{contexts}")).expect("written");
    let path = path.to_str().expect("a path in UTF-8");
    for command in ["get pods", "get secrets -A", "get --raw /metrics", "get --raw /apis"] {
        master.refuse(&format!("{command} --kubeconfig {path}"), "logged in");
    }
    master.check(&format!("get --raw /livez --kubeconfig {path}"), "ok");
}

#[test]
fn acknowledged_writes_outlive_a_crash() {
    if kubectl_missing() {
        return;
    }
    let mut master = Master::start();
    master.check("create configmap kept --from-literal=a=b", "created");
    master.check("create service clusterip fixed --tcp=80", "created");
    master.crash_and_restart();
    master.check("get configmap kept -o jsonpath={.data.a}", "b");
    master.check("get service fixed", "10.43.");
    master.check("create configmap after", "created");
}

#[test]
fn tokens_are_made_listed_and_deleted() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let token = master.bramble(&["token", "create", "--ttl", "2h"]).expect("a token");
    assert!(token.starts_with("BR1") && token.contains("::"), "{token}");
    let id = token.split("::").nth(1).and_then(|rest| rest.split('.').next()).expect("an id");
    assert!(master.bramble(&["token", "list"]).expect("a list").contains(id));
    // The secret is nowhere in what the API serves.
    master.check("get secrets -A -o name", "");
    master.bramble(&["token", "delete", id]).expect("deleted");
    let error = master.bramble(&["token", "delete", id]).expect_err("gone");
    assert!(error.contains("there is no token"), "{error}");
}

#[test]
fn second_master_on_the_same_port_says_so() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut second = spawn(folder.path(), &master.address());
    assert!(!second.wait().expect("it ends").success());
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("is another master or API server running?"), "{log}");
}
