//! Flashed cards become a cluster, and the cluster lives through accidents: power, a hang, a
//! cable, the master. One cluster tells all of it, one story after the other.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]
#![allow(clippy::print_stdout, reason = "figures for who reads the report")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bramble_tests::isolation;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::probe::ask;
use bramble_tests::qemu::cluster::{MASTER, QemuCluster};
use bramble_tests::qemu::faults::{Hang, hang};
use bramble_tests::qemu::lag::HostLag;
use bramble_tests::qemu::machine::PowerEvent;
use bramble_tests::qemu::model::Model;
use bramble_tests::qemu::pod_log::{PodLog, ran_twice};
use bramble_tests::qemu::{PATIENCE, image};
use bramble_tests::seed::Seed;
use bramble_tests::skip_unless_boards_can_run;
use bramble_tests::state::{condition, items, pod_phase, pods_ready, text};
use bramble_tests::wait::now;

/// A port of this machine at which pods report.
const LOG_PORT: u16 = 7777;
/// Port of the Service on every board.
const NODE_PORT: u16 = 30080;
/// The agents with a watchdog, and the Pi.
const AGENTS: [&str; 3] = ["pi-2", "pi-3", "pi-4"];
/// Words sent after this time came from a pod that still ran: a board's death takes no longer.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[test]
fn flashed_boards_live_through_accidents() {
    skip_unless_boards_can_run!();
    let lag = HostLag::start();
    let mut story = blank_cards_become_a_ready_cluster();
    pods_reach_only_what_was_passed_to_them(&story);
    board_with_a_pod_loses_power(&mut story);
    // No board is lost twice before it has to take a new pod: one that is lost twice within a
    // minute gets none for a while.
    hung_board_is_reset_and_comes_back_clean(&mut story, "pi-3", Hang::Stop);
    cable_is_pulled_and_plugged(&mut story);
    hung_board_is_reset_and_comes_back_clean(&mut story, "pi-3", Hang::Spin);
    master_loses_power_and_forgets_nothing(&mut story);
    println!("timers beside it were late: {}", lag.stop().unwrap());
    story.cluster.stop_and_check().unwrap();
}

/// What the stories share.
struct Story {
    cluster: QemuCluster,
    kubectl: Kubectl,
    log: PodLog,
    seed: Seed,
}

/// Scenario 1: one master and three agents, from blank cards to four nodes that are Ready.
fn blank_cards_become_a_ready_cluster() -> Story {
    let root = image::sources().unwrap();
    let image = image::card_image(root).unwrap();
    let models = [Model::Virt, Model::Virt, Model::Virt, Model::Raspi3b];
    let mut cluster = QemuCluster::flash(41, &image, &models).unwrap();
    let busybox = image::board_busybox(root).unwrap();
    cluster.push_hello(&busybox, "hello-arm64:1").unwrap();
    let log = SocketAddrV4::new(cluster.lan().host_address(), LOG_PORT);
    let log = PodLog::listen(log.into()).unwrap();

    let start = now();
    cluster.power_on().unwrap();
    cluster.wait_until_ready(models.len(), PATIENCE).unwrap();
    say("power on to 4 Ready", start.elapsed());
    for board in cluster.boards() {
        let (lines, wear) = (board.console().text().lines().count(), board.disk().wear());
        println!(
            "  {}: {} kB and {} flushes to its card, {lines} lines on its console",
            board.spec().name,
            wear.bytes / 1000,
            wear.flushes,
        );
        let slots: Vec<_> = board.events().into_iter().map(|(_, event)| event).collect();
        assert_eq!(slots, [PowerEvent::Started { slot: "a".into(), trial: false }]);
    }
    let table = cluster.bramble("get nodes").unwrap().text;
    println!("{table}");
    let masters = table.lines().filter(|line| line.split_whitespace().nth(2) == Some("master"));
    assert!(masters.map(|line| line.split_whitespace().next()).eq([Some(MASTER)]), "{table}");
    let kubectl = cluster.kubectl().unwrap();
    Story { cluster, kubectl, log, seed: Seed::from_env() }
}

/// Beside scenario 1: an ordinary pod can make the node of its board's card, but neither read nor
/// write it, unless it was passed on purpose; it sees its own cgroup and cannot change it.
fn pods_reach_only_what_was_passed_to_them(story: &Story) {
    for (board, card) in [("pi-2", "vda"), ("pi-4", "mmcblk0")] {
        let name = format!("reach-{board}");
        let image = "registry.test/hello-arm64:1";
        story.kubectl.apply(&isolation::pod(&name, board, image, card)).unwrap();
        let ended = || pod_phase(&story.kubectl, &name, "Succeeded");
        story.cluster.wait_until(&format!("{name} has ended"), PATIENCE, ended).unwrap();
        let said = |container| story.kubectl.run(&["logs", &name, "-c", container]).unwrap();
        isolation::check(&name, &said("plain"), &said("passed")).unwrap();
        story.kubectl.run(&["delete", "pod", &name]).unwrap();
    }
}

/// Scenario 2: three pods behind a Service; the board of one of them loses power. Its endpoint
/// goes, another pod takes its place, and the board comes back by itself.
fn board_with_a_pod_loses_power(story: &mut Story) {
    let victim = "pi-2";
    for agent in AGENTS {
        story.kubectl.run(&["label", "node", agent, "place=agent"]).unwrap();
    }
    story.kubectl.apply(&manifest(story.log.address())).unwrap();
    let took = story.wait_for_pods(3);
    say("image pulled, three pods Ready", took);
    println!("{}", story.cluster.bramble("get pods -o wide").unwrap().text);
    assert!(!story.pods_on(victim).is_empty(), "no pod on {victim}");
    story.node_ports_answer(&AGENTS);
    let service = story.kubectl.json(&["get", "service", "web"]).unwrap();
    let ask = format!("wget -q -O - http://{}/", text(&service, "/spec/clusterIP"));
    let console = story.cluster.board("pi-4").unwrap().console();
    console.wait_for_shell(PATIENCE).unwrap();
    let answer = console.run_ok(&ask, Duration::from_secs(30)).unwrap();
    assert!(answer.contains("hello from web-"), "{answer}");

    let cut = now();
    story.cluster.board_mut(victim).unwrap().cut_power(&mut story.seed).unwrap();
    story.wait_until_out(victim, cut);
    story.wait_for_pods(3);
    assert_eq!(story.pods_on(victim), [""; 0]);
    say("  power cut to three pods Ready elsewhere", cut.elapsed());
    story.node_ports_answer(&["pi-3", "pi-4"]);

    let on = story.cluster.board_mut(victim).unwrap().power_on().unwrap();
    story.cluster.wait_until_ready(4, PATIENCE).unwrap();
    say("  power on to Ready again", on.elapsed());
    story.wait_until_clean(victim);
}

/// Scenario 3: a board hangs while its pods go on. Its watchdog resets it, its pods run
/// elsewhere, and it comes back without them.
fn hung_board_is_reset_and_comes_back_clean(story: &mut Story, victim: &str, how: Hang) {
    // Enough pods for every board, whatever happened before.
    story.kubectl.run(&["scale", "deployment", "web", "--replicas=5"]).unwrap();
    story.wait_for_pods(5);
    let old = story.pods_on(victim);
    assert!(!old.is_empty(), "no pod on {victim}");
    let begin = now();
    story
        .cluster
        .wait_until("every pod is heard", PATIENCE, || {
            let silent = old.iter().find(|pod| story.log.heard_from(pod, begin).is_empty());
            Ok(silent.cloned())
        })
        .unwrap();

    let board = story.cluster.board(victim).unwrap();
    board.console().wait_for_shell(PATIENCE).unwrap();
    let since = now();
    hang(board.console(), how).unwrap();
    let hung = now();
    assert!(board.wait_for_reset(since, Duration::from_secs(60)).unwrap(), "not by its watchdog");
    let reset = now();
    say(&format!("{how:?} of {victim} to its watchdog's reset"), reset - hung);
    let still: usize = old
        .iter()
        .map(|pod| {
            let lines = story.log.heard_from(pod, hung);
            lines.iter().filter(|line| line.time < reset).count()
        })
        .sum();
    println!("  its pods were heard {still} times in between");
    story.wait_until_out(victim, hung);
    story.wait_for_pods(5);
    let moved = story.pods_on(victim).iter().all(|pod| !old.contains(pod));
    assert!(moved, "a pod of {victim} was not replaced");
    say("  hang to its pods Ready elsewhere", hung.elapsed());

    story.cluster.wait_until_ready(4, PATIENCE).unwrap();
    say("  reset to Ready again", reset.elapsed());
    story.wait_until_clean(victim);
    for pod in &old {
        let late = story.log.heard_from(pod, reset + LAST_WORDS);
        assert_eq!(late, [], "{pod} ran on after the reset of its board");
    }
    let lines = story.log.lines();
    println!("  the log outside has {} lines", lines.len());
    assert_eq!(ran_twice(&lines), []);
    story.kubectl.run(&["scale", "deployment", "web", "--replicas=3"]).unwrap();
    story.wait_for_pods(3);
}

/// Scenario 4: a cable is pulled and soon plugged in again. The node is Unknown and out of the
/// endpoints meanwhile; a pod that nobody replaces is not restarted, and what was replaced goes.
fn cable_is_pulled_and_plugged(story: &mut Story) {
    let victim = "pi-2";
    story.kubectl.apply(&kept_pod(victim, story.log.address())).unwrap();
    story
        .cluster
        .wait_until("the pod without a controller is Ready", PATIENCE, || {
            pods_ready(&story.kubectl, "app=kept", 1)
        })
        .unwrap();
    story.wait_for_endpoint(victim);
    let before = story.containers("app=kept");

    let pulled = now();
    story.cluster.board(victim).unwrap().pull_cable().unwrap();
    story.wait_until_out(victim, pulled);
    let node = story.kubectl.json(&["get", "node", victim]).unwrap();
    assert!(node.to_string().contains("node.kubernetes.io/unreachable"), "{node}");
    let plugged = now();
    story.cluster.board(victim).unwrap().plug_cable().unwrap();
    story.cluster.wait_until_ready(4, PATIENCE).unwrap();
    say("  plugged in to Ready again", plugged.elapsed());
    story.wait_for_endpoint(victim);
    say("  plugged in to its endpoint again", plugged.elapsed());
    story.wait_for_pods(3);
    story.wait_until_clean(victim);
    assert_eq!(story.containers("app=kept"), before, "the pod was restarted");
    story.kubectl.run(&["delete", "pod", "kept", "--grace-period=1"]).unwrap();
}

/// Scenario 5: the master's board loses power while it is written to. Everything that it had
/// acknowledged is there when it is back, and the agents' pods have not noticed.
fn master_loses_power_and_forgets_nothing(story: &mut Story) {
    story
        .cluster
        .wait_until("only pods that stay", PATIENCE, || {
            let pods = story.containers("app=web").len();
            Ok((pods != 3).then(|| format!("{pods} pods")))
        })
        .unwrap();
    let before = story.containers("app=web");
    let writer = Writer::start(story.kubectl.clone(), story.cluster.folder());
    story
        .cluster
        .wait_until("acknowledged writes", PATIENCE, || {
            let count = writer.acknowledged().len();
            Ok((count < 50).then(|| count.to_string()))
        })
        .unwrap();
    // In the middle of a write; whoever is answered afterwards was promised too much.
    let bytes = story.seed.below(64 << 10);
    let disk = story.cluster.board(MASTER).unwrap().disk().clone();
    disk.plan_cut(bytes, &mut story.seed);
    story
        .cluster
        .wait_until("the card loses power", PATIENCE, || {
            Ok(disk.powered().then(|| "it has power".to_owned()))
        })
        .unwrap();
    let (lost, unflushed) =
        story.cluster.board_mut(MASTER).unwrap().cut_power(&mut story.seed).unwrap();
    println!("the master lost power; its card lost {lost} of {unflushed} unflushed sectors");
    let dark = now();
    while dark.elapsed() < Duration::from_secs(10) {
        story.node_ports_answer(&AGENTS);
    }

    let kept = writer.acknowledged().len();
    let on = story.cluster.board_mut(MASTER).unwrap().power_on().unwrap();
    story
        .cluster
        .wait_until("writes are acknowledged again", PATIENCE, || {
            story.node_ports_answer(&AGENTS);
            let count = writer.acknowledged().len();
            Ok((count <= kept).then(|| format!("{count} acknowledged, as before")))
        })
        .unwrap();
    say("  power on to the next acknowledged write", on.elapsed());
    story.cluster.wait_until_ready(4, PATIENCE).unwrap();
    say("  power on to 4 Ready", on.elapsed());
    let acknowledged = writer.stop();
    let there = story.kubectl.run(&["get", "configmaps", "-o", "name"]).unwrap();
    let there: Vec<&str> = there.lines().collect();
    let missing: Vec<&String> =
        acknowledged.iter().filter(|name| !there.contains(&name.as_str())).collect();
    assert_eq!(missing, [""; 0], "acknowledged writes are lost");
    println!("  all {} acknowledged writes are there", acknowledged.len());
    story.wait_for_pods(3);
    story.node_ports_answer(&AGENTS);
    assert_eq!(story.containers("app=web"), before, "a pod was restarted or replaced");
    assert_eq!(ran_twice(&story.log.lines()), []);
    println!("{}", story.cluster.bramble("get pods -o wide").unwrap().text);
}

impl Story {
    /// Waits until the Deployment has this many pods, all Ready.
    fn wait_for_pods(&self, count: usize) -> Duration {
        let pods = || pods_ready(&self.kubectl, "app=web", count);
        self.cluster.wait_until(&format!("{count} pods Ready"), PATIENCE, pods).unwrap()
    }

    /// Names of the Deployment's pods that a node has and keeps.
    fn pods_on(&self, node: &str) -> Vec<String> {
        let pods = self.kubectl.json(&["get", "pods", "-l", "app=web"]).unwrap();
        let here = items(&pods).iter().filter(|pod| {
            text(pod, "/spec/nodeName") == node
                && pod.pointer("/metadata/deletionTimestamp").is_none()
        });
        here.map(|pod| text(pod, "/metadata/name").to_owned()).collect()
    }

    /// Containers of all pods with a label, by pod: identity and number of restarts.
    fn containers(&self, label: &str) -> BTreeMap<String, (String, u64)> {
        let pods = self.kubectl.json(&["get", "pods", "-l", label]).unwrap();
        let of_pod = |pod| {
            let status = |field| format!("/status/containerStatuses/0/{field}");
            let restarts = serde_json::Value::pointer(pod, &status("restartCount"));
            let restarts = restarts.and_then(serde_json::Value::as_u64).unwrap();
            let container = text(pod, &status("containerID")).to_owned();
            assert!(!container.is_empty(), "{pod}");
            (text(pod, "/metadata/name").to_owned(), (container, restarts))
        };
        items(&pods).iter().map(of_pod).collect()
    }

    /// Nodes that the Service sends to.
    fn endpoints(&self) -> anyhow::Result<String> {
        let ready = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].nodeName}";
        self.kubectl.run(&["get", "endpointslices", "-o", ready])
    }

    fn wait_for_endpoint(&self, node: &str) {
        self.cluster
            .wait_until(&format!("an endpoint on {node}"), PATIENCE, || {
                let seen = self.endpoints()?;
                Ok((!seen.contains(node)).then_some(seen))
            })
            .unwrap();
    }

    /// Waits until a node is Unknown and nothing is sent to it, and says how long after `since`.
    fn wait_until_out(&self, node: &str, since: Instant) {
        self.cluster
            .wait_until(&format!("no endpoint on {node}"), PATIENCE, || {
                let seen = self.endpoints()?;
                Ok(seen.contains(node).then_some(seen))
            })
            .unwrap();
        say(&format!("{node} out of the endpoints"), since.elapsed());
        self.cluster
            .wait_until(&format!("{node} is Unknown"), PATIENCE, || {
                let seen = self.kubectl.json(&["get", "node", node])?;
                let ready = condition(&seen, "Ready");
                Ok((ready != "Unknown").then(|| format!("Ready is {ready}")))
            })
            .unwrap();
    }

    /// Waits until the containers on a board are those of the pods that are bound to it, looked
    /// at from its console, and nothing of it is ending any more.
    fn wait_until_clean(&self, node: &str) {
        let console = self.cluster.board(node).unwrap().console();
        console.wait_for_shell(PATIENCE).unwrap();
        let bound = format!("spec.nodeName={node}");
        self.cluster
            .wait_until(&format!("no old container on {node}"), PATIENCE, || {
                let running = console.run_ok(CONTAINERS, Duration::from_secs(60))?;
                let pods = ["get", "pods", "--field-selector", &bound, "-o", "name"];
                let pods = self.kubectl.run(&pods)?;
                let clean = running.trim().parse() == Ok(pods.lines().count());
                Ok((!clean).then(|| format!("{running} containers of {pods}")))
            })
            .unwrap();
    }

    /// Asks the Service at these boards until each has answered.
    fn node_ports_answer(&self, boards: &[&str]) {
        for board in boards {
            let address = SocketAddrV4::new(self.cluster.address(board).unwrap(), NODE_PORT);
            self.cluster
                .wait_until(&format!("{board} answers"), Duration::from_secs(60), || {
                    let answer = ask(address.into())?;
                    Ok((!answer.starts_with("hello from ")).then_some(answer))
                })
                .unwrap();
        }
    }
}

/// Counts containers of the stories' pods: processes with their script, by process namespace.
const CONTAINERS: &str = "for p in $(grep -la 'outside-lo[g]' /proc/[0-9]*/cmdline); do \
                          readlink ${p%/cmdline}/ns/pid; done | sort -u | wc -l";

/// What a pod does: a web server that says who it is, and a word to the log outside each second.
fn script(log: SocketAddr) -> String {
    format!(
        "set outside-log; mkdir -p /tmp/www; echo \"hello from $(hostname)\" > \
         /tmp/www/index.html; httpd -p 80 -h /tmp/www; i=0; while sleep 0.7; do i=$((i+1)); \
         echo \"$(hostname) $i\" | busybox timeout 2 nc -w 1 {} {}; done",
        log.ip(),
        log.port()
    )
}

fn pod_spec(log: SocketAddr) -> serde_json::Value {
    serde_json::json!({
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": { "place": "agent" },
        "containers": [{
            "name": "web",
            "image": "registry.test/hello-arm64:1",
            "command": ["sh", "-c", script(log)],
            "ports": [{ "containerPort": 80 }],
            "readinessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 1 },
            "resources": { "requests": { "cpu": "50m", "memory": "8Mi" } },
        }],
    })
}

/// A Deployment and a Service; not on the master, which loses power, too.
fn manifest(log: SocketAddr) -> String {
    let deployment = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web", "serves": "web" } },
                "spec": pod_spec(log),
            },
        },
    });
    let service = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web" },
        "spec": {
            "type": "NodePort",
            "selector": { "serves": "web" },
            "ports": [{ "port": 80, "targetPort": 80, "nodePort": NODE_PORT }],
        },
    });
    format!("{deployment}\n---\n{service}\n")
}

/// A pod without a controller behind the same Service, on one board.
fn kept_pod(node: &str, log: SocketAddr) -> String {
    let mut spec = pod_spec(log);
    let selector = serde_json::json!({ "kubernetes.io/hostname": node });
    spec.as_object_mut().unwrap().insert("nodeSelector".into(), selector);
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "kept", "labels": { "app": "kept", "serves": "web" } },
        "spec": spec,
    })
    .to_string()
}

/// Somebody who creates ConfigMaps all the time and remembers which were acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

/// ConfigMaps of one run of kubectl: many, as its start takes longer than a write.
const WRITES: usize = 10;

impl Writer {
    fn start(kubectl: Kubectl, folder: &Path) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, log) = (Arc::clone(&stop), Arc::<Mutex<Vec<String>>>::clone(&acknowledged));
        let file = folder.join("writes.yaml");
        let thread = thread::spawn(move || {
            for first in (0..).step_by(WRITES) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let objects: Vec<String> = (first..first + WRITES).map(config_map).collect();
                std::fs::write(&file, objects.join("\n---\n")).unwrap();
                let file = file.to_string_lossy();
                let words = ["create", "-f", &file, "-o", "name", "--validate=false"];
                let words = [&words[..], &["--request-timeout=2s"]].concat();
                // Whether it fails or not: what it names was acknowledged.
                let output = kubectl.output(&words).unwrap();
                let names = String::from_utf8(output.stdout).unwrap();
                let names = names.lines().map(str::to_owned);
                log.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            }
        });
        Self { stop, acknowledged, thread }
    }

    fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it and returns what was acknowledged.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn config_map(number: usize) -> String {
    let name = format!("write-{number}");
    let data = serde_json::json!({ "number": number.to_string() });
    let metadata = serde_json::json!({ "name": name });
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data,
    })
    .to_string()
}

/// A figure of the report; all are those of emulated boards.
fn say(what: &str, took: Duration) {
    println!("{what}: {:.1} s, emulated", took.as_secs_f64());
}
