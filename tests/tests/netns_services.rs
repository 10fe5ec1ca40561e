//! Names and Services as pods and clients in the LAN meet them, on one shared cluster.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::place::Place;
use bramble_tests::programs::run;
use bramble_tests::skip_unless;
use bramble_tests::state::{self, text};
use bramble_tests::wait::now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOON: Duration = Duration::from_secs(30);
/// What marks the pod from whose inside names are looked up.
const ASKER: &str = "sleep 5353";

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  nodeName: n1
  containers: [{name: a, image: \"registry.local/hello:1\", command: [sleep, \"5353\"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: n2
  containers: [{name: a, image: \"registry.local/hello:1\"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.43.0.80
  selector: {app: web}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  nodeName: n2
  hostname: db-0
  subdomain: db
  containers: [{name: a, image: \"registry.local/hello:1\"}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: same}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: away}
spec: {type: ExternalName, externalName: www.example.com}
";

#[test]
fn names_and_services() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(41).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.add_agent("n2").unwrap();
    let resolver_at = Ipv4Addr::new(10, 77, 41, 53);
    let resolver = Resolver::start(&Place::new(cluster.lan(), "dns", resolver_at, 1).unwrap());
    for board in ["n1", "n2"] {
        use_resolver(&cluster, board, resolver_at);
    }
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(MANIFEST).unwrap();
    for pod in ["asker", "web", "db"] {
        cluster
            .wait_until(&format!("{pod} runs"), SOON, || state::pod_phase(&kubectl, pod, "Running"))
            .unwrap();
    }
    names_of_the_cluster(&cluster, &kubectl);
    names_of_others(&cluster, &resolver);
    strangers_are_not_answered(&cluster);
    the_api_is_reached(&cluster);
    clients_of_udp_follow_the_living(&cluster, &kubectl);
    names_without_the_master(&mut cluster);
    drop(resolver);
    cluster.stop_and_check().unwrap();
}

fn names_of_the_cluster(cluster: &Cluster, kubectl: &Kubectl) {
    let db = kubectl.json(&["get", "pod", "db"]).unwrap();
    let db_ip = text(&db, "/status/podIP").to_owned();
    for (name, wanted) in [
        ("web", "10.43.0.80"),
        ("web.default.svc.cluster.local", "10.43.0.80"),
        ("kubernetes", "10.43.0.1"),
        ("kube-dns.kube-system.svc.cluster.local", "10.43.0.10"),
        ("db", db_ip.as_str()),
        ("db-0.db.default.svc.cluster.local", db_ip.as_str()),
        ("same", "10.43.0.80"),
    ] {
        answered(cluster, &[name], wanted);
    }
    let dashed = db_ip.replace('.', "-");
    answered(cluster, &[&format!("{dashed}.default.pod.cluster.local")], &db_ip);
    answered(cluster, &["10.43.0.80"], "web.default.svc.cluster.local");
    answered(cluster, &["-type=srv", "_http._tcp.web.default.svc.cluster.local"], "100 80 web");
    let service = kubectl.json(&["-n", "kube-system", "get", "service", "kube-dns"]).unwrap();
    assert_eq!(text(&service, "/spec/clusterIP"), "10.43.0.10");
    // The pod's own programs use them, too.
    for name in ["web", "web.default", "web.default.svc"] {
        let page = in_asker(cluster, &["wget", "-q", "-O", "-", &format!("http://{name}/")]);
        assert!(page.contains("hello from web"), "{name}: {page}");
    }
    let absent = in_asker(cluster, &["nslookup", "absent.default.svc.cluster.local"]);
    assert!(absent.contains("NXDOMAIN"), "{absent}");
}

fn names_of_others(cluster: &Cluster, resolver: &Resolver) {
    answered(cluster, &["www.example.com"], "192.0.2.53");
    let asked = resolver.asked();
    answered(cluster, &["www.example.com"], "192.0.2.53");
    assert_eq!(resolver.asked(), asked, "the second time it is remembered");
    answered(cluster, &["away"], "192.0.2.53");
}

/// A host in the LAN that sends packets for cluster DNS to a node gets no answer.
fn strangers_are_not_answered(cluster: &Cluster) {
    let node = cluster.agent("n1").unwrap().address.to_string();
    let stranger = cluster.master();
    let route = ["route", "replace", "10.43.0.10/32", "via", &node];
    assert!(stranger.command(Path::new("ip"), &route).status().unwrap().success());
    let lookup = ["timeout", "6", "busybox", "nslookup", "kubernetes.default.svc.cluster.local"];
    let lookup = [&lookup[..], &["10.43.0.10"]].concat();
    let output = stranger.command(Path::new(lookup[0]), &lookup[1..]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!words.contains("10.43.0.1\n"), "{words}");
    let route = ["route", "delete", "10.43.0.10/32"];
    assert!(stranger.command(Path::new("ip"), &route).status().unwrap().success());
}

fn the_api_is_reached(cluster: &Cluster) {
    let pids = cluster.agent("n1").unwrap().processes_with(ASKER).unwrap();
    let line = "exec 3<>/dev/tcp/10.43.0.1/443";
    let pid = pids[0].to_string();
    run("nsenter", &["--target", &pid, "--net", "timeout", "3", "bash", "-c", line]).unwrap();
}

/// A client that always sends from the same port is answered by another pod once its own goes,
/// and refused once there is none.
fn clients_of_udp_follow_the_living(cluster: &Cluster, kubectl: &Kubectl) {
    let pod = |name: &str, sleep: u16| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: echo}}}}\n\
             spec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: a\n    \
             image: registry.local/hello:1\n    command: [sleep, \"{sleep}\"]\n---\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec:\n  type: NodePort\n  \
                   selector: {app: echo}\n  ports: [{protocol: UDP, port: 53, targetPort: 5300, \
                   nodePort: 30053}]\n";
    kubectl.apply(&[pod("echo-a", 5301).as_str(), service].concat()).unwrap();
    cluster
        .wait_until("the first runs", SOON, || state::pod_phase(kubectl, "echo-a", "Running"))
        .unwrap();
    let first = echo_in_pod(cluster, "sleep 5301");
    let place = Place::new(cluster.lan(), "client", Ipv4Addr::new(10, 77, 41, 60), 1).unwrap();
    let node = SocketAddr::from((cluster.agent("n1").unwrap().address, 30053));
    let client = place.udp(node).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let answered = |bound: Duration| {
        let begun = now();
        cluster.wait_until("the client is answered", bound, || Ok(silence(&client))).unwrap();
        begun.elapsed()
    };
    answered(SOON);
    kubectl.apply(&pod("echo-b", 5302)).unwrap();
    cluster.wait_until("both run", SOON, || state::pods_ready(kubectl, "app=echo", 2)).unwrap();
    let second = echo_in_pod(cluster, "sleep 5302");
    kubectl.run(&["delete", "pod", "echo-a", "--wait=false"]).unwrap();
    cluster
        .wait_until("the first is gone", SOON, || state::pods_ready(kubectl, "app=echo", 1))
        .unwrap();
    let waited = answered(SOON);
    assert!(waited < Duration::from_millis(1500), "silent for {waited:?}");
    kubectl.run(&["delete", "pod", "echo-b"]).unwrap();
    cluster
        .wait_until("the client is refused", Duration::from_secs(5), || {
            let _ = client.send(b"x");
            let refused = client.recv(&mut [0; 9]).map_err(|error| error.kind());
            Ok((refused != Err(ErrorKind::ConnectionRefused)).then(|| format!("{refused:?}")))
        })
        .unwrap();
    kubectl.run(&["delete", "service", "echo"]).unwrap();
    drop((first, second));
}

/// Answers datagrams from inside of a pod's network, with what was sent, until it is dropped.
fn echo_in_pod(cluster: &Cluster, marker: &str) -> Helper {
    let pids = cluster.agents().iter().flat_map(|board| board.processes_with(marker).unwrap());
    let pid = pids.into_iter().next().unwrap();
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let (sender, socket) = std::sync::mpsc::channel();
    // A thread that has changed its namespace ends with what it was made for.
    std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        sender.send(UdpSocket::bind(("0.0.0.0", 5300)).unwrap()).unwrap();
    });
    let socket = socket.recv().unwrap();
    Helper::start(socket, |socket, packet, client| {
        let _ = socket.send_to(packet, client);
    })
}

/// A thread that answers datagrams until it is dropped.
struct Helper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    fn start(
        socket: UdpSocket,
        answer: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
    ) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 600];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((len, client)) = socket.recv_from(&mut packet) {
                    answer(&socket, &packet[..len], client);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn silence(client: &UdpSocket) -> Option<String> {
    let answer = client.send(b"x").and_then(|_| client.recv(&mut [0; 9]));
    answer.err().map(|error| error.to_string())
}

/// Names go on while the master is away, also with an agent that was started meanwhile.
fn names_without_the_master(cluster: &mut Cluster) {
    cluster.master_mut().cut_power().unwrap();
    answered(cluster, &["web"], "10.43.0.80");
    for pid in cluster.agent("n1").unwrap().processes_with("bramble-agent run").unwrap() {
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    }
    cluster.start_agent("n1").unwrap();
    cluster
        .wait_until("the next agent answers", SOON, || {
            let words = in_asker(cluster, &["nslookup", "web.default.svc.cluster.local"]);
            Ok((!words.contains("10.43.0.80")).then_some(words))
        })
        .unwrap();
    cluster.start_master().unwrap();
    cluster.wait_until_ready().unwrap();
}

#[track_caller]
fn answered(cluster: &Cluster, args: &[&str], wanted: &str) {
    cluster
        .wait_until(&format!("{args:?} is answered"), SOON, || {
            let words = in_asker(cluster, &[&["nslookup"], args].concat());
            Ok((!words.contains(wanted)).then_some(words))
        })
        .unwrap();
}

/// What a program says that runs inside of the asking pod.
fn in_asker(cluster: &Cluster, args: &[&str]) -> String {
    let pids = cluster.agent("n1").unwrap().processes_with(ASKER).unwrap();
    let Some(pid) = pids.first() else { return "the asking pod does not run".to_owned() };
    let pid = pid.to_string();
    let output = Command::new("nsenter")
        .args(["--target", &pid, "--mount", "--net", "--root", "--wd", "/bin/sh", "-c"])
        .args(["PATH=/bin exec \"$@\"", "sh"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn use_resolver(cluster: &Cluster, board: &str, resolver: Ipv4Addr) {
    let board = cluster.agent(board).unwrap();
    let file = board.card.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {resolver}\n")).unwrap();
    let file = file.to_string_lossy().into_owned();
    let mount = ["--bind", &file, "/etc/resolv.conf"];
    assert!(board.command(Path::new("mount"), &mount).status().unwrap().success());
}

/// A resolver in the LAN that knows one address for every name.
struct Resolver {
    asked: Arc<AtomicUsize>,
    _helper: Helper,
}

impl Resolver {
    fn start(place: &Place) -> Self {
        let address = place.addresses()[0];
        let socket = place.inside(|| UdpSocket::bind((address, 53))).unwrap().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let helper = Helper::start(socket, move |socket, packet, client| {
            // The name ends at its empty label; type and class follow.
            let name_len = packet[12..].iter().position(|byte| *byte == 0).unwrap_or(0);
            let end = 12 + name_len + 5;
            let wants_address = packet[end - 3] == 1;
            // A "no" without a start of authority may not be remembered, and is asked for again.
            counter.fetch_add(usize::from(wants_address), Ordering::Relaxed);
            let mut answer = packet[..end].to_vec();
            let counts = [0x81, 0x80, 0, 1, 0, wants_address.into(), 0, 0, 0, 0];
            answer[2..12].copy_from_slice(&counts);
            if wants_address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 20, 0, 4, 192, 0, 2, 53]);
            }
            let _ = socket.send_to(&answer, client);
        });
        Self { asked, _helper: helper }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
