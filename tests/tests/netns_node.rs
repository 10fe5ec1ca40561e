//! What a kubelet does for a pod, with real kubectl: probes, hooks, files that follow their sources,
//! sidecars.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::path::Path;
use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::skip_unless;
use bramble_tests::state::{self, condition, items, text};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// One after another in one cluster: its start costs more than a scene.
#[test]
fn node_looks_after_its_pods_as_a_kubelet_does() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(42).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    files_follow_their_sources(&cluster, &kubectl);
    token_in_a_volume_is_the_accounts(&cluster, &kubectl);
    probes_decide_about_start_readiness_and_restart(&cluster, &kubectl);
    readiness_gate_is_met_by_somebody_else(&cluster, &kubectl);
    hooks_run_after_the_start_and_before_the_end(&cluster, &kubectl);
    sidecar_is_up_before_what_comes_after_it(&cluster, &kubectl);
    an_ephemeral_container_looks_at_a_running_one(&cluster, &kubectl);
    resources_change_while_a_container_runs(&cluster, &kubectl);
    a_mount_is_at_a_path_that_is_made_of_variables(&cluster, &kubectl);
    let pods = ["delete", "pods", "--all", "--grace-period=1"];
    kubectl.run(&pods).unwrap();
    cluster.stop_and_check().unwrap();
}

/// A pod of the test image; `spec` is YAML in one line, after the name.
fn pod(name: &str, containers: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{terminationGracePeriodSeconds: 5, containers: [{containers}]{rest}}}\n"
    )
}

/// A container that runs a script.
fn container(name: &str, script: &str, rest: &str) -> String {
    format!(
        "{{name: {name}, image: 'registry.local/hello:1', command: [sh, -c, '{script}']{rest}}}"
    )
}

fn logs(kubectl: &Kubectl, pod: &str) -> String {
    kubectl.run(&["logs", pod, "--tail=50"]).unwrap_or_default()
}

/// Messages of the events of a pod with this reason.
fn events(kubectl: &Kubectl, pod: &str, reason: &str) -> String {
    let selector = format!("involvedObject.name={pod},reason={reason}");
    let events = kubectl.json(&["get", "events", "--field-selector", &selector]).unwrap();
    items(&events).iter().map(|event| text(event, "/message").to_owned() + "\n").collect()
}

fn get(kubectl: &Kubectl, name: &str) -> Value {
    kubectl.json(&["get", "pod", name]).unwrap()
}

fn ready(kubectl: &Kubectl, name: &str) -> bool {
    condition(&get(kubectl, name), "Ready") == "True"
}

fn files_follow_their_sources(cluster: &Cluster, kubectl: &Kubectl) {
    kubectl.run(&["create", "configmap", "words", "--from-literal=a=one"]).unwrap();
    kubectl.run(&["create", "secret", "generic", "keys", "--from-literal=k=hidden"]).unwrap();
    let script = "cd /p; ls -l keys | head -c 10; echo; while :; do \
                  echo $(cat words) $(cat keys) $(cat labels) $(cat memory); sleep 0.2; done";
    let volume = ", volumes: [{name: p, projected: {defaultMode: 288, sources: [\
        {configMap: {name: words, items: [{key: a, path: words}]}}, \
        {configMap: {name: none, optional: true}}, \
        {secret: {name: keys, items: [{key: k, path: keys, mode: 256}]}}, \
        {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, \
            {path: memory, resourceFieldRef: {containerName: main, \
                resource: limits.memory, divisor: 1Mi}}]}}]}}]";
    let mounts = ", resources: {limits: {memory: 64Mi}}, volumeMounts: [{name: p, mountPath: /p}]";
    kubectl.apply(&pod("files", &container("main", script, mounts), volume)).unwrap();
    let says = |words: &'static str| {
        move || {
            let log = logs(kubectl, "files");
            Ok((!log.lines().any(|line| line == words)).then_some(log))
        }
    };
    let first = "one hidden app=\"files\" 64";
    cluster.wait_until("all sources are in one tree", SOON, says(first)).unwrap();
    kubectl.run(&["label", "pod", "files", "tier=x"]).unwrap();
    let labelled = "one hidden app=\"files\" tier=\"x\" 64";
    cluster.wait_until("labels are seen", SOON, says(labelled)).unwrap();
    kubectl.run(&["patch", "configmap", "words", "-p", "{\"data\":{\"a\":\"two\"}}"]).unwrap();
    let patched = "two hidden app=\"files\" tier=\"x\" 64";
    cluster.wait_until("new content is seen", SOON, says(patched)).unwrap();
}

fn token_in_a_volume_is_the_accounts(cluster: &Cluster, kubectl: &Kubectl) {
    let volume = ", volumes: [{name: t, projected: {sources: [\
        {serviceAccountToken: {path: token, expirationSeconds: 600}}]}}]";
    let mounts = ", volumeMounts: [{name: t, mountPath: /t, readOnly: true}]";
    let script = "cat /t/token; echo; exec sleep 1000";
    kubectl.apply(&pod("bearer", &container("main", script, mounts), volume)).unwrap();
    let signed = || {
        let log = logs(kubectl, "bearer");
        Ok((log.trim().split('.').count() != 3).then_some(log))
    };
    cluster.wait_until("the token is there", SOON, signed).unwrap();
    let review = format!(
        "apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nspec: {{token: {}}}\n",
        logs(kubectl, "bearer").trim()
    );
    let file = cluster.folder().join("review.yaml");
    std::fs::write(&file, review).unwrap();
    let file = file.to_string_lossy();
    let review = || kubectl.json(&["create", "--validate=false", "-f", &file]).unwrap();
    let seen = review();
    assert_eq!(seen.pointer("/status/authenticated"), Some(&Value::Bool(true)), "{seen}");
    assert_eq!(text(&seen, "/status/user/username"), "system:serviceaccount:default:default");
    kubectl.run(&["delete", "pod", "bearer", "--grace-period=1"]).unwrap();
    let seen = review();
    assert_ne!(seen.pointer("/status/authenticated"), Some(&Value::Bool(true)), "{seen}");
}

fn probes_decide_about_start_readiness_and_restart(cluster: &Cluster, kubectl: &Kubectl) {
    let script =
        "mkdir /w; sleep 2; touch /w/up; sleep 2; touch /w/ready; exec httpd -f -p 80 -h /w";
    let probes = ", ports: [{name: web, containerPort: 80}], \
        startupProbe: {exec: {command: [test, -e, /w/up]}, periodSeconds: 1, failureThreshold: 60}, \
        readinessProbe: {httpGet: {path: /ready, port: web}, periodSeconds: 1}";
    kubectl.apply(&pod("probed", &container("main", script, probes), "")).unwrap();
    cluster
        .wait_until("probed runs", SOON, || state::pod_phase(kubectl, "probed", "Running"))
        .unwrap();
    assert!(!ready(kubectl, "probed"), "nothing listens yet");
    let reached = || Ok((!ready(kubectl, "probed")).then(|| "not ready".to_owned()));
    cluster.wait_until("probed is ready", SOON, reached).unwrap();
    let seen = get(kubectl, "probed");
    assert_eq!(seen.pointer("/status/containerStatuses/0/started"), Some(&Value::Bool(true)));
    assert!(events(kubectl, "probed", "Unhealthy").contains("Startup probe failed"));

    let probe = ", livenessProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 2}";
    kubectl.apply(&pod("dying", &container("main", "exec sleep 1000", probe), "")).unwrap();
    let restarted = || {
        let seen = get(kubectl, "dying");
        let count =
            seen.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64);
        Ok((count.unwrap_or(0) == 0).then(|| "no restart".to_owned()))
    };
    cluster.wait_until("dying is restarted", SOON, restarted).unwrap();
    let unhealthy = events(kubectl, "dying", "Unhealthy");
    assert!(unhealthy.contains("Liveness probe failed: dial tcp 10.42."), "{unhealthy}");
    let killing = events(kubectl, "dying", "Killing");
    let words = "Container main failed liveness probe, will be restarted";
    assert!(killing.contains(words), "{killing}");
    kubectl.run(&["delete", "pod", "dying", "--grace-period=1"]).unwrap();
}

fn readiness_gate_is_met_by_somebody_else(cluster: &Cluster, kubectl: &Kubectl) {
    let gate = ", readinessGates: [{conditionType: example.com/up}]";
    kubectl.apply(&pod("gated", &container("main", "exec sleep 1000", ""), gate)).unwrap();
    let up = || {
        let seen = get(kubectl, "gated");
        Ok((condition(&seen, "ContainersReady") != "True").then(|| seen["status"].to_string()))
    };
    cluster.wait_until("its containers are ready", SOON, up).unwrap();
    assert!(!ready(kubectl, "gated"));
    let met = "{\"status\":{\"conditions\":[{\"type\":\"example.com/up\",\"status\":\"True\"}]}}";
    kubectl.run(&["patch", "pod", "gated", "--subresource=status", "-p", met]).unwrap();
    let reached = || Ok((!ready(kubectl, "gated")).then(|| "not ready".to_owned()));
    cluster.wait_until("gated is ready", SOON, reached).unwrap();
}

fn hooks_run_after_the_start_and_before_the_end(cluster: &Cluster, kubectl: &Kubectl) {
    let folder = cluster.folder().join("hooks");
    let volume = format!(
        ", volumes: [{{name: v, hostPath: {{path: \"{}\", type: DirectoryOrCreate}}}}]",
        folder.display()
    );
    let script = "trap \"echo term >> /v/log; exit\" TERM; echo start >> /v/log; \
                  while :; do sleep 0.1; done";
    let hooks = ", volumeMounts: [{name: v, mountPath: /v}], lifecycle: {\
        postStart: {exec: {command: [sh, -c, \"sleep 1; echo post >> /v/log\"]}}, \
        preStop: {exec: {command: [sh, -c, \"echo pre >> /v/log\"]}}}";
    let script = script.replace('"', "\\\"");
    let main = format!(
        "{{name: main, image: \"registry.local/hello:1\", command: [sh, -c, \"{script}\"]{hooks}}}"
    );
    kubectl.apply(&pod("hooked", &main, &volume)).unwrap();
    cluster
        .wait_until("hooked runs", SOON, || state::pod_phase(kubectl, "hooked", "Running"))
        .unwrap();
    let log = |folder: &Path| std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(log(&folder), "start\npost\n", "running means that the hook is done");
    kubectl.run(&["delete", "pod", "hooked"]).unwrap();
    assert_eq!(log(&folder), "start\npost\npre\nterm\n");

    let hook = ", lifecycle: {postStart: {exec: {command: [\"false\"]}}}";
    kubectl.apply(&pod("unhooked", &container("main", "exec sleep 1000", hook), "")).unwrap();
    let told = || {
        let told = events(kubectl, "unhooked", "FailedPostStartHook");
        Ok((!told.contains("PostStartHook failed")).then_some(told))
    };
    cluster.wait_until("a failed hook is told", SOON, told).unwrap();
    kubectl.run(&["delete", "pod", "unhooked", "--grace-period=1"]).unwrap();
}

fn sidecar_is_up_before_what_comes_after_it(cluster: &Cluster, kubectl: &Kubectl) {
    let mounts = ", volumeMounts: [{name: v, mountPath: /v}]";
    let script = "sleep 2; touch /v/up; trap exit TERM; while :; do sleep 0.1; done";
    let probe = format!(
        "{mounts}, restartPolicy: Always, startupProbe: {{exec: {{command: [test, -e, /v/up]}}, \
         periodSeconds: 1, failureThreshold: 60}}"
    );
    let side = container("side", script, &probe);
    let rest = format!(
        ", restartPolicy: Never, volumes: [{{name: v, emptyDir: {{}}}}], initContainers: [{side}]"
    );
    let main = container("main", "test -e /v/up && echo the sidecar was up", mounts);
    kubectl.apply(&pod("served", &main, &rest)).unwrap();
    cluster
        .wait_until("served ends", SOON, || state::pod_phase(kubectl, "served", "Succeeded"))
        .unwrap();
    assert_eq!(kubectl.run(&["logs", "served", "-c", "main"]).unwrap(), "the sidecar was up\n");
}

fn an_ephemeral_container_looks_at_a_running_one(cluster: &Cluster, kubectl: &Kubectl) {
    kubectl.apply(&pod("looked-at", &container("main", "sleep 4567", ""), "")).unwrap();
    cluster
        .wait_until("it runs", SOON, || state::pod_phase(kubectl, "looked-at", "Running"))
        .unwrap();
    let image = "--image=registry.local/hello:1";
    let script = "while :; do ps; sleep 1; done";
    let debug =
        ["debug", "looked-at", image, "-c", "eye", "--target=main", "--", "sh", "-c", script];
    kubectl.run(&debug).unwrap();
    cluster
        .wait_until("the other's process is seen", SOON, || {
            let said = kubectl.run(&["logs", "looked-at", "-c", "eye", "--tail=50"]);
            let said = said.unwrap_or_default();
            Ok((!said.contains("sleep 4567")).then_some(said))
        })
        .unwrap();
    let found = get(kubectl, "looked-at");
    let status = &found["status"]["ephemeralContainerStatuses"][0];
    assert!(status["state"]["running"].is_object(), "{status}");
    assert_eq!(found["metadata"]["generation"], 2);
    assert_eq!(
        kubectl.run(&["exec", "looked-at", "-c", "eye", "--", "echo", "hi"]).unwrap(),
        "hi\n"
    );
    let refused = kubectl.refused(&[
        "patch",
        "pod",
        "looked-at",
        "--subresource=ephemeralcontainers",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/spec/ephemeralContainers/0"}]"#,
    ]);
    assert!(refused.unwrap().contains("may not be removed"));
}

fn resources_change_while_a_container_runs(cluster: &Cluster, kubectl: &Kubectl) {
    let limits = ", resources: {limits: {cpu: 100m, memory: 64Mi}}";
    kubectl.apply(&pod("resized", &container("main", "sleep 100000", limits), "")).unwrap();
    let shown = |limit: &str| {
        let found = get(kubectl, "resized");
        text(&found, &format!("/status/containerStatuses/0/resources/limits/{limit}")).to_owned()
    };
    let wait = |limit: &str, expected: &str| {
        cluster
            .wait_until("the node has done so", SOON, || {
                let shown = shown(limit);
                Ok((shown != expected).then_some(shown))
            })
            .unwrap();
    };
    wait("cpu", "100m");
    let patch = |limits: &str| {
        let patch = format!(
            r#"{{"spec": {{"containers": [{{"name": "main", "resources": {{"limits": {limits}, "requests": {limits}}}}}]}}}}"#
        );
        let args = ["patch", "pod", "resized", "--subresource=resize", "-p", &patch];
        kubectl.output(&args).unwrap()
    };
    assert!(patch(r#"{"cpu": "200m", "memory": "96Mi"}"#).status.success());
    wait("cpu", "200m");
    wait("memory", "96Mi");
    let files = "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us \
                 /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
    let exec = ["exec", "resized", "--", "sh", "-c", &format!("{files}; true")];
    let inside = kubectl.run(&exec).unwrap();
    assert!(inside.starts_with("20000") && inside.contains("100663296"), "{inside}");
    let found = get(kubectl, "resized");
    assert_eq!(found["status"]["containerStatuses"][0]["restartCount"], 0);
    // A pod stays as well treated as it is.
    let refused = patch(r#"{"cpu": null}"#);
    assert!(!refused.status.success());
}

fn a_mount_is_at_a_path_that_is_made_of_variables(cluster: &Cluster, kubectl: &Kubectl) {
    let rest = ", env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, \
                {name: WHERE, valueFrom: {fieldRef: {fieldPath: \"metadata.annotations[''where'']\"}}}], \
                volumeMounts: [{name: v, mountPath: /deep, subPathExpr: $(WHERE)/$(POD)}, \
                {name: v, mountPath: /all}]";
    let volume = ", volumes: [{name: v, emptyDir: {}}]";
    let script = "echo hello > /deep/file; sleep 100000";
    let rest = rest.replace("''", "'");
    kubectl.apply(&pod("subpath", &container("main", script, &rest), volume)).unwrap();
    let reasons = ["CreateContainerConfigError"];
    cluster
        .wait_until("it cannot be made", SOON, || {
            state::container_reason(kubectl, "subpath", &reasons)
        })
        .unwrap();
    kubectl.run(&["annotate", "pod", "subpath", "where=here"]).unwrap();
    cluster
        .wait_until("it runs", SOON, || state::pod_phase(kubectl, "subpath", "Running"))
        .unwrap();
    let said = kubectl.run(&["exec", "subpath", "--", "cat", "/all/here/subpath/file"]).unwrap();
    assert_eq!(said, "hello\n");
}
