//! What a Kubernetes user does in the first hour, with real kubectl and with `bramble`.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::programs::run;
use bramble_tests::skip_unless;
use bramble_tests::state::{self, text};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn first_hour_of_a_kubernetes_user() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(21).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.add_agent("n2").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();

    assert!(kubectl.run(&["cluster-info"]).unwrap().contains("is running at"));
    let version = kubectl.run(&["version"]).unwrap();
    assert!(version.contains("Server Version: v1.36"), "{version}");
    let nodes = kubectl.run(&["get", "nodes", "-o", "wide"]).unwrap();
    assert!(nodes.starts_with("NAME"), "{nodes}");
    assert!(nodes.contains("n1") && nodes.contains("Ready"), "{nodes}");

    // A pod of its own.
    kubectl
        .run(&[
            "run",
            "hello",
            "--image=registry.local/hello:1",
            "--",
            "sh",
            "-c",
            "echo one; echo two; sleep 1000",
        ])
        .unwrap();
    cluster
        .wait_until("hello runs", SOON, || state::pod_phase(&kubectl, "hello", "Running"))
        .unwrap();
    cluster
        .wait_until("its log is there", SOON, || {
            let log = kubectl.run(&["logs", "hello"])?;
            Ok((log != "one\ntwo\n").then_some(log))
        })
        .unwrap();
    assert_eq!(kubectl.run(&["logs", "hello", "--tail=1"]).unwrap(), "two\n");
    let mut following = kubectl
        .command(&["logs", "-f", "hello"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let words = kubectl.run(&["describe", "pod", "hello"]).unwrap();
    for word in ["Scheduled", "Pulled", "Started", "registry.local/hello:1"] {
        assert!(words.contains(word), "no `{word}` in {words}");
    }
    let wide = kubectl.run(&["get", "pods", "-o", "wide"]).unwrap();
    assert!(wide.contains("10.42."), "{wide}");
    kubectl.run(&["delete", "pod", "hello", "--grace-period=1"]).unwrap();
    assert!(kubectl.refused(&["get", "pod", "hello"]).unwrap().contains("not found"));
    // What follows a log ends with the container.
    assert!(following.wait().unwrap().success());

    // A Deployment with a Service.
    kubectl
        .run(&[
            "create",
            "deployment",
            "web",
            "--image=registry.local/hello:1",
            "--replicas=2",
            "--port=80",
        ])
        .unwrap();
    cluster.wait_until("two pods", SOON, || state::pods_ready(&kubectl, "app=web", 2)).unwrap();
    kubectl.run(&["expose", "deployment", "web", "--port=80"]).unwrap();
    let service = kubectl.json(&["get", "service", "web"]).unwrap();
    let ip = text(&service, "/spec/clusterIP").to_owned();
    for board in ["n1", "n2"] {
        cluster
            .wait_until("the Service answers", SOON, || {
                let answer = cluster.agent(board)?.ask(&ip, 80)?;
                Ok((!answer.starts_with("hello from web-")).then_some(answer))
            })
            .unwrap();
    }
    kubectl.run(&["scale", "deployment", "web", "--replicas=4"]).unwrap();
    cluster.wait_until("four pods", SOON, || state::pods_ready(&kubectl, "app=web", 4)).unwrap();
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=30s"]).unwrap();
    kubectl.run(&["set", "env", "deployment/web", "COLOUR=green"]).unwrap();
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=60s"]).unwrap();
    let history = kubectl.run(&["rollout", "history", "deployment/web"]).unwrap();
    assert!(history.contains('2'), "{history}");
    kubectl.run(&["describe", "deployment", "web"]).unwrap();
    kubectl.run(&["describe", "node", "n1"]).unwrap();

    // Out of the way of one board.
    kubectl.run(&["cordon", "n1"]).unwrap();
    kubectl.run(&["drain", "n1", "--ignore-daemonsets", "--timeout=60s"]).unwrap();
    cluster
        .wait_until("four pods on n2", SOON, || state::pods_ready(&kubectl, "app=web", 4))
        .unwrap();
    let on_n1 = kubectl
        .run(&["get", "pods", "--field-selector", "spec.nodeName=n1", "-o", "name"])
        .unwrap();
    assert_eq!(on_n1, "");
    kubectl.run(&["uncordon", "n1"]).unwrap();

    // A namespace goes with all that is in it.
    kubectl.run(&["create", "namespace", "garden"]).unwrap();
    kubectl
        .run(&["-n", "garden", "create", "configmap", "tools", "--from-literal=spade=1"])
        .unwrap();
    kubectl.run(&["-n", "garden", "run", "rose", "--image=registry.local/hello:1"]).unwrap();
    kubectl.run(&["delete", "namespace", "garden", "--timeout=60s"]).unwrap();
    kubectl.run(&["delete", "deployment,service", "web"]).unwrap();
    cluster
        .wait_until("no pods are left", Duration::from_secs(60), || {
            state::pods_ready(&kubectl, "app=web", 0)
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn bramble_does_what_kubectl_does() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(22).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let manifest = cluster.folder().join("web.yaml");
    std::fs::write(&manifest, include_str!("../../examples/web.yaml")).unwrap();
    let manifest = manifest.to_string_lossy().into_owned();

    assert!(cluster.bramble(&["get", "nodes"]).unwrap().contains("n1"));
    cluster.bramble(&["apply", "-f", &manifest]).unwrap();
    cluster.wait_until("three pods", SOON, || state::pods_ready(&kubectl, "app=web", 3)).unwrap();
    for (args, wanted) in [
        (&["get", "pods", "-o", "wide"][..], "Running"),
        (&["get", "deployments", "-A"], "3/3"),
        (&["get", "pods", "-l", "app=web", "-o", "name"], "pod/web-"),
        (&["describe", "deployment", "web"], "web"),
        (&["describe", "node", "n1"], "Ready"),
        (&["cluster-info"], "running at"),
        (&["version"], "0.1.0"),
        (&["node", "list"], "n1"),
    ] {
        let printed = cluster.bramble(args).unwrap();
        assert!(printed.contains(wanted), "`bramble {}` printed {printed}", args.join(" "));
    }
    cluster
        .bramble(&[
            "run",
            "talk",
            "--image=registry.local/hello:1",
            "--",
            "sh",
            "-c",
            "echo spoken; sleep 1000",
        ])
        .unwrap();
    cluster
        .wait_until("its log", SOON, || {
            let log = cluster.bramble(&["logs", "talk"])?;
            Ok((log != "spoken\n").then_some(log))
        })
        .unwrap();
    cluster.bramble(&["scale", "deployment", "web", "--replicas=1"]).unwrap();
    cluster
        .wait_until("one pod", Duration::from_secs(60), || {
            state::pods_ready(&kubectl, "app=web", 1)
        })
        .unwrap();
    cluster.bramble(&["cordon", "n1"]).unwrap();
    assert!(kubectl.run(&["get", "node", "n1"]).unwrap().contains("SchedulingDisabled"));
    cluster.bramble(&["uncordon", "n1"]).unwrap();
    cluster.bramble(&["delete", "-f", &manifest]).unwrap();
    cluster.bramble(&["delete", "pod", "talk", "--grace-period=0", "--force"]).unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn pods_get_their_configuration() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(23).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl
        .run(&[
            "create",
            "configmap",
            "settings",
            "--from-literal=colour=green",
            "--from-literal=file=content",
        ])
        .unwrap();
    kubectl
        .run(&["create", "secret", "generic", "hidden", "--from-literal=password=s3cret"])
        .unwrap();
    kubectl
        .apply(
            "apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {app: reader}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: registry.local/hello:1
    command: [sh, -c, 'echo $COLOUR $PASSWORD $NODE; cat /settings/file; echo; cat /hidden/password; echo; echo kept > /scratch/x; cat /scratch/x; hostname']
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: hidden, key: password}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: hidden, mountPath: /hidden, readOnly: true}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: hidden, secret: {secretName: hidden}}
  - {name: scratch, emptyDir: {}}
",
        )
        .unwrap();
    cluster
        .wait_until("it succeeds", SOON, || state::pod_phase(&kubectl, "reader", "Succeeded"))
        .unwrap();
    cluster
        .wait_until("its log", SOON, || {
            let log = kubectl.run(&["logs", "reader"])?;
            let reached = log.starts_with("green s3cret n1\n")
                && log.ends_with("content\ns3cret\nkept\nreader\n");
            Ok((!reached).then_some(log))
        })
        .unwrap();

    // A missing ConfigMap is said in words, and the pod starts by itself once it is there.
    kubectl
        .apply(
            "apiVersion: v1
kind: Pod
metadata: {name: waiting}
spec:
  containers:
  - name: main
    image: registry.local/hello:1
    envFrom: [{configMapRef: {name: later}}]
",
        )
        .unwrap();
    cluster
        .wait_until("the reason is told", SOON, || {
            state::container_reason(&kubectl, "waiting", &["CreateContainerConfigError"])
        })
        .unwrap();
    kubectl.run(&["create", "configmap", "later", "--from-literal=A=b"]).unwrap();
    cluster
        .wait_until("it runs", SOON, || state::pod_phase(&kubectl, "waiting", "Running"))
        .unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn one_machine_alone_is_a_cluster() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(24).unwrap();
    cluster.add_agent_on_master().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    cluster.wait_until("the node is Ready", SOON, || state::nodes_ready(&kubectl, 1)).unwrap();
    kubectl.apply(include_str!("../../examples/web.yaml")).unwrap();
    cluster.wait_until("three pods", SOON, || state::pods_ready(&kubectl, "app=web", 3)).unwrap();
    let address = cluster.master().address.to_string();
    // The node hears of its ready pods a moment later than we do.
    cluster
        .wait_until("the Service answers", SOON, || {
            let answer = cluster.master().ask(&address, 30080);
            let greets = answer.as_ref().is_ok_and(|text| text.starts_with("hello from web-"));
            Ok((!greets).then(|| format!("{answer:?}")))
        })
        .unwrap();

    // An image that no registry has.
    let archive = cluster.folder().join("carried.tar");
    let layout = cluster.folder().join("hello");
    let from = format!("oci:{}:hello:1", layout.display());
    let to = format!("oci-archive:{}:example.test/carried:1", archive.display());
    run("skopeo", &["copy", "--quiet", &from, &to]).unwrap();
    let config = cluster.master().card.join("agent.toml").to_string_lossy().into_owned();
    let archive = archive.to_string_lossy().into_owned();
    cluster.bramble(&["image", "--config", &config, "import", &archive]).unwrap();
    let listed = cluster.bramble(&["image", "--config", &config, "list"]).unwrap();
    assert!(listed.contains("example.test/carried"), "{listed}");
    kubectl.run(&["run", "carried", "--image=example.test/carried:1"]).unwrap();
    cluster
        .wait_until("it runs", SOON, || state::pod_phase(&kubectl, "carried", "Running"))
        .unwrap();
    cluster.stop_and_check().unwrap();
}

/// What `kubectl get -o yaml` prints for several objects, and what people keep in one file.
const LIST: &str = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: settings, labels: {app: listed}}
  data: {colour: green}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: listed, labels: {app: listed}}
  spec:
    replicas: 1
    selector: {matchLabels: {app: listed}}
    template:
      metadata: {labels: {app: listed}}
      spec:
        containers:
        - {name: main, image: 'registry.local/hello:1', ports: [{containerPort: 80}]}
";

#[test]
fn lists_are_applied_and_fields_explained() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(25).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let path = cluster.folder().join("list.yaml");
    let file = path.to_string_lossy().into_owned();
    let write = |text: &str| std::fs::write(&path, text).unwrap();

    write(LIST);
    let created = kubectl.run(&["apply", "-f", &file]).unwrap();
    assert_eq!(created, "configmap/settings created\ndeployment.apps/listed created\n");
    cluster.wait_until("its pod", SOON, || state::pods_ready(&kubectl, "app=listed", 1)).unwrap();
    let again = kubectl.run(&["apply", "-f", &file]).unwrap();
    assert_eq!(again, "configmap/settings unchanged\ndeployment.apps/listed unchanged\n");

    // What was printed can be applied again, here with a change.
    let printed =
        kubectl.run(&["get", "configmaps,deployments", "-l", "app=listed", "-o", "yaml"]).unwrap();
    assert!(printed.contains("kind: List"), "{printed}");
    write(&printed.replace("replicas: 1", "replicas: 2").replace("colour: green", "colour: blue"));
    kubectl.run(&["apply", "-f", &file]).unwrap();
    cluster.wait_until("two pods", SOON, || state::pods_ready(&kubectl, "app=listed", 2)).unwrap();
    let settings = kubectl.json(&["get", "configmap", "settings"]).unwrap();
    assert_eq!(text(&settings, "/data/colour"), "blue");

    // A mistake is told: by kubectl itself, and by the master if kubectl is told not to look.
    write(&LIST.replace("replicas", "replicaz"));
    let refused = kubectl.refused(&["apply", "-f", &file]).unwrap();
    assert!(
        refused.contains("unknown field \"replicaz\" in io.k8s.api.apps.v1.DeploymentSpec"),
        "{refused}"
    );
    let warned = kubectl.output(&["apply", "--validate=warn", "-f", &file]).unwrap();
    let warning = String::from_utf8_lossy(&warned.stderr);
    assert!(warning.contains("unknown field \"spec.replicaz\""), "{warning}");

    kubectl.run(&["delete", "-f", &file]).unwrap();
    assert!(kubectl.refused(&["get", "deployment", "listed"]).unwrap().contains("not found"));
    assert!(kubectl.refused(&["get", "configmap", "settings"]).unwrap().contains("not found"));
    write(LIST);
    kubectl.run(&["create", "-f", &file]).unwrap();
    kubectl.run(&["delete", "-f", &file]).unwrap();

    // Fields and their types, as the master has them.
    for (field, wanted) in [
        ("pod.spec.containers.image", "FIELD: image <string>"),
        ("pod.spec.containers.resources.limits", "FIELD: limits <map[string]Quantity>"),
        ("deploy.spec.strategy.rollingUpdate.maxSurge", "FIELD: maxSurge <IntOrString>"),
        ("service.spec.ports", "FIELD: ports <[]ServicePort>"),
    ] {
        let words = kubectl.run(&["explain", field]).unwrap();
        assert!(words.contains(wanted), "{words}");
    }
    let tree = kubectl.run(&["explain", "deploy.spec", "--recursive"]).unwrap();
    // As kubectl prints it against upstream's documents.
    let containers = "containers\t<[]Container> -required-";
    for line in ["replicas\t<integer>", containers, "imagePullPolicy\t<string>"] {
        assert!(tree.lines().any(|found| found.trim() == line), "no `{line}` in {tree}");
    }
    let unknown = kubectl.refused(&["explain", "pod.spec.nothing"]).unwrap();
    assert!(unknown.contains("field \"nothing\" does not exist"), "{unknown}");
    cluster.stop_and_check().unwrap();
}
