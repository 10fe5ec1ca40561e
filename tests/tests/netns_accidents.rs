//! Bad input and accidents: each has a clear error where its user looks for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::process::{Command, Output};
use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::programs::binary_folder;
use bramble_tests::state::{self, text};
use bramble_tests::{image, isolation, skip_unless};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn pods_that_cannot_run_say_why() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = one_node(31);
    let kubectl = cluster.kubectl().unwrap();
    let foreign = if image::architecture() == "amd64" { "arm64" } else { "amd64" };
    let layout = cluster.folder().join("foreign");
    image::write_hello(&layout, &image::busybox().unwrap(), foreign).unwrap();
    cluster.registry().push(&layout, "foreign:1").unwrap();

    let pull_failed = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"];
    for (name, image, command, reasons, words) in [
        ("absent", "registry.local/absent:1", "", &pull_failed[..], "not found"),
        ("foreign", "registry.local/foreign:1", "", &pull_failed, "platform"),
        ("malformed", "registry.local/UPPER//x", "", &["InvalidImageName"], "image"),
        ("nowhere", "10.77.31.253:9/x:1", "", &pull_failed, ""),
        (
            "nocommand",
            "registry.local/hello:1",
            "nope",
            &["StartError", "RunContainerError", "ContainerCannotRun", "CrashLoopBackOff"],
            "nope",
        ),
    ] {
        let image = format!("--image={image}");
        let mut args = vec!["run", name, &image];
        if !command.is_empty() {
            args.extend(["--command", "--", command]);
        }
        if name == "malformed" {
            // kubectl itself would refuse to run it.
            let pod = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: \"registry.local/UPPER//x\"}}]}}\n"
            );
            kubectl.apply(&pod).unwrap();
        } else {
            kubectl.run(&args).unwrap();
        }
        cluster
            .wait_until(&format!("{name} says why"), SOON, || {
                state::container_reason(&kubectl, name, reasons)
            })
            .unwrap();
        let described = kubectl.run(&["describe", "pod", name]).unwrap();
        assert!(described.contains(words), "no `{words}` in {described}");
    }

    // What is mended outside heals by itself.
    cluster.registry().stop().unwrap();
    kubectl
        .run(&["run", "patient", "--image=registry.local/hello:1", "--image-pull-policy=Always"])
        .unwrap();
    cluster
        .wait_until("the registry's absence is told", SOON, || {
            state::container_reason(&kubectl, "patient", &pull_failed)
        })
        .unwrap();
    cluster.registry().restart().unwrap();
    cluster
        .wait_until("it runs", Duration::from_secs(60), || {
            state::pod_phase(&kubectl, "patient", "Running")
        })
        .unwrap();
    kubectl.run(&["delete", "pods", "--all", "--grace-period=0", "--force"]).unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn containers_that_end_are_treated_by_their_restart_policy() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let cluster = one_node(32);
    let kubectl = cluster.kubectl().unwrap();
    kubectl
        .run(&["run", "crash", "--image=registry.local/hello:1", "--", "sh", "-c", "exit 3"])
        .unwrap();
    kubectl
        .run(&[
            "run",
            "once",
            "--restart=Never",
            "--image=registry.local/hello:1",
            "--",
            "sh",
            "-c",
            "exit 4",
        ])
        .unwrap();
    kubectl
        .run(&[
            "run",
            "fine",
            "--restart=OnFailure",
            "--image=registry.local/hello:1",
            "--",
            "true",
        ])
        .unwrap();
    kubectl
        .apply(
            "apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: registry.local/hello:1
    command: [sh, -c, 'x=a; while true; do x=$x$x; done']
    resources: {limits: {memory: 32Mi}}
",
        )
        .unwrap();
    cluster
        .wait_until("crash backs off", SOON, || {
            state::container_reason(&kubectl, "crash", &["CrashLoopBackOff"])
        })
        .unwrap();
    cluster
        .wait_until("once failed", SOON, || state::pod_phase(&kubectl, "once", "Failed"))
        .unwrap();
    cluster
        .wait_until("fine succeeded", SOON, || state::pod_phase(&kubectl, "fine", "Succeeded"))
        .unwrap();
    cluster
        .wait_until("greedy failed", SOON, || state::pod_phase(&kubectl, "greedy", "Failed"))
        .unwrap();
    let code = |name: &str| {
        let pod = kubectl.json(&["get", "pod", name]).unwrap();
        let pointer = "/status/containerStatuses/0/state/terminated";
        (
            pod.pointer(pointer).unwrap()["exitCode"].clone(),
            text(&pod, &format!("{pointer}/reason")).to_owned(),
        )
    };
    assert_eq!(code("once"), (4.into(), "Error".to_owned()));
    assert_eq!(code("fine"), (0.into(), "Completed".to_owned()));
    assert_eq!(code("greedy"), (137.into(), "OOMKilled".to_owned()));
    cluster.stop_and_check().unwrap();
}

#[test]
fn pods_reach_only_what_was_passed_to_them() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let disk = "loop0";
    skip_unless!(std::fs::File::open("/dev/loop0").is_ok(), "no /dev/loop0 that could be passed");
    let cluster = one_node(36);
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(&isolation::pod("reach", "n1", "registry.local/hello:1", disk)).unwrap();
    let ended = || state::pod_phase(&kubectl, "reach", "Succeeded");
    cluster.wait_until("the pod has ended", SOON, ended).unwrap();
    let said = |container| kubectl.run(&["logs", "reach", "-c", container]).unwrap();
    isolation::check("reach", &said("plain"), &said("passed")).unwrap();
    kubectl.run(&["delete", "pod", "reach"]).unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn manifests_that_are_not_valid_are_refused_in_upstreams_words() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let cluster = Cluster::start(33).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let pod =
        |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec: {spec}\n");
    for (manifest, words) in [
        (pod("{containers: [{name: a, image: b, colour: red}]}"), "unknown field"),
        (pod("{containers: 7}"), ""),
        (
            pod("{containers: [{name: a, image: b, resources: {limits: {memory: lots}}}]}"),
            "quantit",
        ),
        (pod("{containers: []}"), "Required value"),
        (pod("{containers: [{name: A_B, image: b}]}"), "RFC 1123"),
        (
            pod(
                "{containers: [{name: a, image: b, volumeMounts: [{name: other, mountPath: /x}]}]}",
            ),
            "Not found",
        ),
    ] {
        let refused = apply_refused(&kubectl, &manifest);
        assert!(refused.contains(words), "no `{words}` in {refused}");
    }
    kubectl.run(&["create", "configmap", "c", "--from-literal=a=1"]).unwrap();
    let old = kubectl.json(&["get", "configmap", "c"]).unwrap();
    kubectl.run(&["label", "configmap", "c", "x=y"]).unwrap();
    let path = cluster.folder().join("old.json");
    std::fs::write(&path, old.to_string()).unwrap();
    let refused = kubectl.refused(&["replace", "-f", &path.to_string_lossy()]).unwrap();
    assert!(refused.contains("the object has been modified"), "{refused}");
    assert!(kubectl.refused(&["create", "configmap", "c"]).unwrap().contains("already exists"));
    cluster.stop_and_check().unwrap();
}

#[test]
fn boards_that_may_not_join_are_told_why() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(34).unwrap();
    cluster.add_agent("n1").unwrap();
    let token = cluster.token(&[]).unwrap();

    let wrong_secret = format!("{}{}", &token[..token.len() - 4], "0000");
    assert_refused(&join(&cluster, &wrong_secret, "n7"), "token");

    let (hash, rest) = token.split_once("::").unwrap();
    let other_hash: String =
        hash.chars().rev().take(8).map(|c| if c == 'a' || c == 'A' { 'B' } else { 'A' }).collect();
    let wrong_ca = format!("{}{other_hash}::{rest}", &hash[..hash.len() - 8]);
    assert_refused(&join(&cluster, &wrong_ca, "n7"), "does not belong to the token's cluster");

    let expired = cluster.token(&["--ttl", "1s"]).unwrap();
    bramble_tests::wait::pause(Duration::from_millis(1500));
    assert_refused(&join(&cluster, &expired, "n7"), "expired");

    assert_refused(&join(&cluster, "BR1nonsense", "n7"), "token");

    let used = cluster.token(&[]).unwrap();
    assert!(join(&cluster, &used, "n8").status.success());
    assert_refused(&join(&cluster, &used, "n9"), "used");
    assert!(!cluster.kubectl().unwrap().run(&["get", "nodes"]).unwrap().contains("n7"));
    cluster.stop_and_check().unwrap();
}

#[test]
fn a_master_that_cannot_start_says_why() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(35).unwrap();
    let data = cluster.master_data();

    let second = cluster.folder().join("second").to_string_lossy().into_owned();
    let refused = cluster.bramble(&["server", "--data-dir", &second]).unwrap_err();
    assert!(format!("{refused:#}").contains("in use"), "{refused:#}");

    cluster.kubectl().unwrap().run(&["create", "configmap", "kept", "--from-literal=a=1"]).unwrap();
    cluster.master_mut().cut_power().unwrap();
    cluster.master_mut().power_on().unwrap();
    let store = data.join("cluster/store.log");
    let good = std::fs::read(&store).unwrap();
    let data_flag = data.to_string_lossy().into_owned();
    for bad in [Vec::new(), b"not a store".to_vec(), vec![0x55; good.len()]] {
        std::fs::write(&store, &bad).unwrap();
        let refused = cluster.bramble(&["server", "--data-dir", &data_flag]).unwrap_err();
        let words = format!("{refused:#}");
        assert!(words.contains("store"), "{words}");
        assert_eq!(std::fs::read(&store).unwrap(), bad, "a damaged store is not touched");
    }
    std::fs::remove_file(&store).unwrap();
    let refused = cluster.bramble(&["server", "--data-dir", &data_flag]).unwrap_err();
    assert!(format!("{refused:#}").contains("store"), "{refused:#}");

    std::fs::write(&store, good).unwrap();
    cluster.start_master().unwrap();
    cluster.kubectl().unwrap().run(&["get", "configmap", "kept"]).unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn agent_without_root_says_so() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root to become another user");
    let agent = binary_folder().unwrap().join("bramble-agent");
    // The folder of the binaries may not be open to everybody.
    let copy = std::env::temp_dir().join("bramble-agent-for-everybody");
    std::fs::copy(agent, &copy).unwrap();
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let refused = Command::new("setpriv").args(user).arg(&copy).arg("run").output().unwrap();
    std::fs::remove_file(&copy).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("root"), "{said}");
}

fn one_node(number: u8) -> Cluster {
    let mut cluster = Cluster::start(number).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    cluster
}

fn apply_refused(kubectl: &Kubectl, manifest: &str) -> String {
    format!("{:#}", kubectl.apply(manifest).unwrap_err())
}

/// Tries to join a further board from n1's place in the network.
fn join(cluster: &Cluster, token: &str, name: &str) -> Output {
    let board = cluster.agent("n1").unwrap();
    let data = cluster.folder().join(format!("data-{name}")).to_string_lossy().into_owned();
    let server = format!("{}:6443", cluster.master().address);
    let args =
        ["join", token, "--no-service", "--server", &server, "--node", name, "--data-dir", &data];
    board.command(&cluster.agent_program(), &args).output().unwrap()
}

fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "the join succeeded");
    assert!(said.contains(words), "no `{words}` in: {said}");
    assert!(!said.contains("panicked"), "{said}");
}
