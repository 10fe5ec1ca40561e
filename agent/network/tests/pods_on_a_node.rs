//! Two pods on one node, in a network namespace that the test makes for itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]
#![expect(clippy::print_stdout, reason = "a skipped test says why")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramble_network::{Lost, NodeNetwork, NodeNetworkConfig, Route};
use bramble_shared::link::Ipv4Range;
use nix::sched::{CloneFlags, setns, unshare};

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 9);

#[test]
fn pods_reach_each_other_directly_and_through_a_service() {
    on_a_node(|network| {
        Box::pin(async move {
            let (a, b) = (Ipv4Addr::new(10, 42, 1, 2), Ipv4Addr::new(10, 42, 1, 3));
            let pod_a = network.add_pod("a", a).await.unwrap();
            let pod_b = network.add_pod("b", b).await.unwrap();
            serve(&pod_b, "hello from b");
            network.apply_rules(&rules_to(b)).await.unwrap();

            assert_eq!(ask(&pod_a, b), "hello from b");
            assert_eq!(ask(&pod_a, CLUSTER_IP), "hello from b");
            assert_eq!(ask(&pod_b, CLUSTER_IP), "hello from b", "a pod reaches itself");
        })
    });
}

#[test]
fn pods_do_not_reach_what_listens_on_the_nodes_loopback_only() {
    on_a_node(|network| {
        Box::pin(async move {
            let pod = network.add_pod("a", Ipv4Addr::new(10, 42, 1, 2)).await.unwrap();
            // Even if its routes send it there, as root in a pod with NET_ADMIN could have them.
            let setting = std::fs::read_to_string("/proc/sys/net/ipv4/conf/brtest/route_localnet");
            assert_eq!(setting.unwrap().trim(), "0");
            drop(pod);
        })
    });
}

#[test]
fn a_node_without_a_default_route_reaches_a_service() {
    on_a_node(|network| {
        Box::pin(async move {
            let b = Ipv4Addr::new(10, 42, 1, 3);
            let pod_b = network.add_pod("b", b).await.unwrap();
            serve(&pod_b, "hello from b");
            let in_output = "chain out_node { type nat hook output priority -100;";
            let rules = rules_to(b).replacen(
                "table ip bramble {",
                &format!("table ip bramble {{ {in_output} ip daddr {CLUSTER_IP} tcp dport 80 dnat to {b}:80; }}"),
                1,
            );
            network.apply_rules(&rules).await.unwrap();
            // Routes to other nodes come and go; this one stays.
            network.set_routes(&BTreeSet::new()).await.unwrap();
            assert_eq!(ask(Path::new("/proc/thread-self/ns/net"), CLUSTER_IP), "hello from b");
        })
    });
}

#[test]
fn adding_a_pod_twice_changes_nothing_and_removing_leaves_nothing() {
    on_a_node(|network| {
        Box::pin(async move {
            let ip = Ipv4Addr::new(10, 42, 1, 2);
            let first = network.add_pod("a", ip).await.unwrap();
            assert_eq!(network.add_pod("a", ip).await.unwrap(), first);
            assert_eq!(network.pods(), ["a"]);
            network.remove_pod("a").await.unwrap();
            network.remove_pod("a").await.unwrap();
            assert!(network.pods().is_empty());
            assert!(!first.exists());
            assert_eq!(links(), ["brtest", "lo"]);
        })
    });
}

#[test]
fn routes_are_made_exactly_as_wanted_and_foreign_ones_are_kept() {
    on_a_node(|network| {
        Box::pin(async move {
            let via = Ipv4Addr::new(10, 42, 1, 200);
            let to = |third| Route {
                range: Ipv4Range { network: Ipv4Addr::new(10, 42, third, 0), prefix_len: 24 },
                via,
            };
            network.set_routes(&BTreeSet::from([to(2), to(3)])).await.unwrap();
            assert_eq!(routed(), ["10.42.2.0", "10.42.3.0"]);
            network.set_routes(&BTreeSet::from([to(3), to(4)])).await.unwrap();
            assert_eq!(routed(), ["10.42.3.0", "10.42.4.0"]);
        })
    });
}

#[test]
fn connections_to_a_removed_endpoint_are_dropped() {
    on_a_node(|network| {
        Box::pin(async move {
            let (a, b) = (Ipv4Addr::new(10, 42, 1, 2), Ipv4Addr::new(10, 42, 1, 3));
            let pod_a = network.add_pod("a", a).await.unwrap();
            let pod_b = network.add_pod("b", b).await.unwrap();
            serve(&pod_b, "hello");
            network.apply_rules(&rules_to(b)).await.unwrap();
            assert_eq!(ask(&pod_a, CLUSTER_IP), "hello");
            let lost = |ip| Lost { ips: BTreeSet::from([ip]), ..Lost::default() };
            let nobody = lost(Ipv4Addr::new(10, 42, 1, 99));
            assert_eq!(network.drop_connections_to(nobody).await.unwrap(), 0);
            assert!(network.drop_connections_to(lost(b)).await.unwrap() > 0);
            assert_eq!(network.drop_connections_to(lost(b)).await.unwrap(), 0);
        })
    });
}

#[test]
fn refused_rules_are_an_error_in_nfts_words() {
    on_a_node(|network| {
        Box::pin(async move {
            let error = network.apply_rules("table ip bramble { nonsense }").await.unwrap_err();
            assert!(error.to_string().contains("nonsense"), "{error}");
        })
    });
}

type Story<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a story on a thread with a network namespace of its own, and checks what it leaves.
fn on_a_node(story: impl for<'a> FnOnce(&'a NodeNetwork) -> Story<'a> + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return;
    }
    let run_dir = tempfile::tempdir().unwrap();
    let path = run_dir.path().to_path_buf();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let network = NodeNetwork::open(NodeNetworkConfig {
                bridge: "brtest".into(),
                pod_range: Ipv4Range { network: Ipv4Addr::new(10, 42, 1, 0), prefix_len: 24 },
                service_range: Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 16 },
                run_dir: path,
            })
            .await
            .unwrap();
            story(&network).await;
            network.destroy().await.unwrap();
            assert_eq!(links(), ["lo"]);
        });
    })
    .join()
    .unwrap();
    let left = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!left.contains(run_dir.path().to_str().unwrap()), "a mount is left");
}

fn rules_to(endpoint: Ipv4Addr) -> String {
    format!(
        "table ip bramble {{
            chain in {{ type nat hook prerouting priority dstnat;
                ip daddr {CLUSTER_IP} tcp dport 80 dnat to {endpoint}:80; }}
            chain out {{ type nat hook postrouting priority srcnat;
                ct status dnat ip saddr {endpoint} ip daddr {endpoint} masquerade; }}
        }}"
    )
}

/// Answers three connections on port 80 inside a pod's namespace, on a thread.
fn serve(namespace: &Path, answer: &'static str) {
    let namespace = namespace.to_path_buf();
    let (ready, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        enter(&namespace);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming().take(3) {
            stream.unwrap().write_all(answer.as_bytes()).unwrap();
        }
    });
    wait.recv().unwrap();
}

fn ask(namespace: &Path, ip: Ipv4Addr) -> String {
    let namespace = namespace.to_path_buf();
    std::thread::spawn(move || {
        enter(&namespace);
        let address = SocketAddrV4::new(ip, 80).into();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .join()
    .unwrap()
}

fn enter(namespace: &Path) {
    setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
}

/// Links of this thread's namespace.
fn links() -> Vec<String> {
    let table = std::fs::read_to_string(PathBuf::from("/proc/thread-self/net/dev")).unwrap();
    let mut names: Vec<String> = table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect();
    names.sort();
    names
}

/// Destinations of this thread's namespace that have a gateway.
fn routed() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
    let mut found: Vec<String> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (to, via) = (fields.next()?, fields.next()?);
            let to = u32::from_str_radix(to, 16).ok()?;
            (via != "00000000").then(|| Ipv4Addr::from(to.to_ne_bytes()).to_string())
        })
        .collect();
    found.sort();
    found
}
