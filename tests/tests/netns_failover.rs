//! Boards that lose power, their cable, or one of our processes.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::probe::ask;
use bramble_tests::programs::text_of;
use bramble_tests::seed::Seed;
use bramble_tests::state::{self, items, text};
use bramble_tests::{board, skip_unless};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const WEB: &str = include_str!("../../examples/web.yaml");

#[test]
fn pods_leave_a_node_that_loses_power_and_it_comes_back_clean() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = web_cluster(11, 3);
    let kubectl = cluster.kubectl().unwrap();
    let service = SocketAddrV4::new(cluster.agent("n1").unwrap().address, 30080);

    cluster.agent_mut("n2").unwrap().cut_power().unwrap();

    cluster
        .wait_until("no endpoint on the dead node", Duration::from_secs(10), || {
            let ready = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].nodeName}";
            let slices = kubectl.run(&["get", "endpointslices", "-o", ready])?;
            Ok(slices.contains("n2").then_some(slices))
        })
        .unwrap();
    cluster
        .wait_until("three pods elsewhere", Duration::from_secs(20), || {
            state::pods_ready(&kubectl, "app=web", 3)
        })
        .unwrap();
    let node = kubectl.json(&["get", "node", "n2"]).unwrap();
    assert_eq!(state::condition(&node, "Ready"), "Unknown");
    assert!(node.to_string().contains("node.kubernetes.io/unreachable"), "{node}");
    for _ in 0..30 {
        ask(service.into()).unwrap();
    }

    cluster.start_agent("n2").unwrap();
    cluster.wait_until_ready().unwrap();
    cluster
        .wait_until("nothing stays Terminating", Duration::from_secs(30), || {
            let pods = kubectl.json(&["get", "pods", "-A"])?;
            let ending = items(&pods)
                .iter()
                .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some())
                .count();
            Ok((ending > 0).then(|| format!("{ending} pods")))
        })
        .unwrap();
    assert_eq!(state::pods_ready(&kubectl, "app=web", 3).unwrap(), None);
    let stale = cluster.agent("n2").unwrap().processes_with("httpd").unwrap();
    let here = pods_on(&kubectl, "n2");
    assert_eq!(stale.len(), here, "containers on n2 are the pods bound to it");
    cluster.stop_and_check().unwrap();
}

#[test]
fn board_that_reboots_runs_its_pods_again() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(15).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    // Pods without a controller wait for their board.
    for name in ["a", "b", "c"] {
        kubectl.run(&["run", name, "--image=registry.local/hello:1", "--labels=app=kept"]).unwrap();
    }
    let ready = || state::pods_ready(&kubectl, "app=kept", 3);
    cluster.wait_until("three pods", Duration::from_secs(30), ready).unwrap();

    cluster.agent_mut("n1").unwrap().cut_power().unwrap();
    cluster
        .wait_until("the pods are not ready", Duration::from_secs(10), || {
            let seen = state::pods_ready(&kubectl, "app=kept", 0)?.unwrap_or_default();
            Ok((!seen.starts_with("0 ready of 3")).then_some(seen))
        })
        .unwrap();
    cluster.start_agent("n1").unwrap();
    cluster.wait_until("three pods again", Duration::from_secs(30), ready).unwrap();
    let running = cluster.agent("n1").unwrap().processes_with("httpd -f").unwrap();
    assert_eq!(running.len(), 3, "each pod runs once");
    let pods = kubectl.json(&["get", "pods", "-l", "app=kept"]).unwrap();
    for pod in items(&pods) {
        let ip = text(pod, "/status/podIP");
        assert_eq!(
            cluster.agent("n1").unwrap().ask(ip, 80).unwrap(),
            format!("hello from {}", text(pod, "/metadata/name"))
        );
    }
    cluster.stop_and_check().unwrap();
}

#[test]
fn pulled_cable_moves_pods_and_the_surplus_goes_when_it_is_plugged_in_again() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let cluster = web_cluster(12, 2);
    let kubectl = cluster.kubectl().unwrap();

    cluster.lan().pull_cable("n2").unwrap();
    cluster
        .wait_until("all pods on n1", Duration::from_secs(20), || {
            state::pods_ready(&kubectl, "app=web", 3)?;
            let on_n1 = pods_on(&kubectl, "n1");
            Ok((on_n1 != 3).then(|| format!("{on_n1} on n1")))
        })
        .unwrap();

    cluster.lan().plug_cable("n2").unwrap();
    cluster.wait_until_ready().unwrap();
    cluster
        .wait_until("the old containers on n2 are gone", Duration::from_secs(60), || {
            let running = cluster.agent("n2")?.processes_with("httpd")?.len();
            let bound = pods_on(&kubectl, "n2");
            Ok((running != bound).then(|| format!("{running} running, {bound} bound")))
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn killing_any_of_our_processes_costs_no_container() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = web_cluster(13, 2);
    let kubectl = cluster.kubectl().unwrap();
    let before = containers(&cluster);
    assert_eq!(before.len(), 3);

    for part in ["agent", "runtime", "fence", "log-writer"] {
        let board = cluster.agent("n1").unwrap();
        let old = child_of(board, part);
        kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
        cluster
            .wait_until(&format!("a new {part} runs"), Duration::from_secs(20), || {
                let new = children_of(board, part);
                Ok((new.is_empty() || new == [old]).then(|| format!("{new:?}")))
            })
            .unwrap();
        cluster.wait_until_ready().unwrap();
        assert_eq!(containers(&cluster), before, "after kill -9 of {part}");
    }

    // The supervisor itself: on a board it is restarted by init or systemd, here by hand.
    let board = cluster.agent("n1").unwrap();
    for pid in board.processes_with("bramble-agent run").unwrap() {
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    }
    cluster.start_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    assert_eq!(containers(&cluster), before, "after kill -9 of the supervisor");

    let server = cluster.master().processes_with("server").unwrap();
    for pid in server {
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    }
    cluster.start_master().unwrap();
    cluster.wait_until_ready().unwrap();
    assert_eq!(containers(&cluster), before, "after kill -9 of the master");
    let pods = kubectl.json(&["get", "pods", "-l", "app=web"]).unwrap();
    for pod in items(&pods) {
        let restarts = pod.pointer("/status/containerStatuses/0/restartCount").unwrap();
        assert_eq!(restarts, 0, "{}", text(pod, "/metadata/name"));
    }

    // And it still works: a new pod runs, an old one can be deleted.
    kubectl.run(&["scale", "deployment", "web", "--replicas=4"]).unwrap();
    cluster
        .wait_until("a fourth pod", Duration::from_secs(20), || {
            state::pods_ready(&kubectl, "app=web", 4)
        })
        .unwrap();
    kubectl.run(&["delete", "deployment", "web"]).unwrap();
    cluster
        .wait_until("no container is left", Duration::from_secs(60), || {
            let left = containers(&cluster);
            Ok((!left.is_empty()).then(|| format!("{left:?}")))
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn kills_at_any_moment_of_scaling_leave_a_cluster_that_heals() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = web_cluster(16, 2);
    let kubectl = cluster.kubectl().unwrap();
    let mut random = Seed::from_env_or(1);
    for round in 0..12 {
        let replicas = format!("--replicas={}", random.below(6));
        kubectl.run(&["scale", "deployment", "web", &replicas]).unwrap();
        bramble_tests::wait::pause(Duration::from_millis(random.below(400)));
        let victim = ["agent", "runtime", "fence", "log-writer", "server"]
            .get(usize::try_from(random.below(5)).unwrap())
            .copied()
            .unwrap();
        println!("round {round}: {replicas}, kill -9 of {victim}");
        let board =
            if victim == "server" { cluster.master() } else { cluster.agent("n1").unwrap() };
        let victims = if victim == "server" {
            board.processes_with("bramble server").unwrap()
        } else {
            children_of(board, victim).into_iter().map(|pid| pid.try_into().unwrap()).collect()
        };
        for pid in victims {
            // A child of the runtime may have ended by itself in between.
            let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
        }
        if victim == "server" {
            cluster.start_master().unwrap();
        }
    }
    kubectl.run(&["scale", "deployment", "web", "--replicas=3"]).unwrap();
    cluster
        .wait_until("three pods", Duration::from_secs(60), || {
            state::pods_ready(&kubectl, "app=web", 3)
        })
        .unwrap();
    cluster
        .wait_until("just their containers", Duration::from_secs(60), || {
            let running = containers(&cluster).len();
            Ok((running != 3).then(|| format!("{running} containers")))
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

#[test]
fn pods_go_on_while_the_master_is_down() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = web_cluster(14, 2);
    let before = containers(&cluster);
    let service = SocketAddrV4::new(cluster.agent("n2").unwrap().address, 30080);

    cluster.master_mut().cut_power().unwrap();
    for _ in 0..50 {
        ask(service.into()).unwrap();
        bramble_tests::wait::pause(Duration::from_millis(100));
    }
    assert_eq!(containers(&cluster), before);

    cluster.start_master().unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    cluster
        .wait_until("three pods", Duration::from_secs(20), || {
            state::pods_ready(&kubectl, "app=web", 3)
        })
        .unwrap();
    assert_eq!(containers(&cluster), before, "no pod was restarted or moved");
    cluster.stop_and_check().unwrap();
}

#[test]
fn figures_of_a_boards_link_are_shown_while_it_is_there() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(17).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.add_agent("n2").unwrap();
    cluster.wait_until_ready().unwrap();
    let patience = Duration::from_secs(20);
    cluster
        .wait_until("both boards have a round trip, a loss and an uptime", patience, || {
            let table = cluster.bramble(&["node", "list"])?;
            let complete = |node: &str| {
                cell(&table, node, "LIVE") == "yes"
                    && cell(&table, node, "RTT").ends_with(" ms")
                    && percent(&table, node).is_some_and(|percent| percent < 5)
                    && cell(&table, node, "BOOT").ends_with(['s', 'm', 'h'])
            };
            let all = ["n1", "n2"].into_iter().all(complete);
            Ok((!all).then_some(table))
        })
        .unwrap();

    // Every fourth heartbeat of one board: never so many in a row that it would count as dead.
    let address = cluster.agent("n1").unwrap().address;
    let rules = format!(
        "table ip lossy {{ chain input {{ type filter hook input priority 0; \
         ip saddr {address} udp dport 6443 numgen inc mod 4 == 0 drop; }}; }}"
    );
    nft(&cluster, &[&rules]).unwrap();
    cluster
        .wait_until("the loss of n1 is shown", Duration::from_secs(60), || {
            let table = cluster.bramble(&["node", "list"])?;
            let lossy = percent(&table, "n1").is_some_and(|percent| (8..=30).contains(&percent));
            Ok((!lossy).then_some(table))
        })
        .unwrap();
    let table = cluster.bramble(&["node", "list"]).unwrap();
    println!("{table}");
    assert_eq!(cell(&table, "n1", "LIVE"), "yes", "{table}");
    assert!(percent(&table, "n2").is_some_and(|percent| percent < 5), "{table}");
    nft(&cluster, &["delete table ip lossy"]).unwrap();

    cluster.lan().pull_cable("n2").unwrap();
    cluster
        .wait_until("nothing is told of a board that is not there", patience, || {
            let table = cluster.bramble(&["node", "list"])?;
            let silent = ["RTT", "LOSS", "BOOT"].map(|heading| cell(&table, "n2", heading));
            let gone = cell(&table, "n2", "LIVE") == "no" && silent == ["-", "-", "-"];
            Ok((!gone).then_some(table))
        })
        .unwrap();
    let wide = cluster.bramble(&["node", "list", "-o", "wide"]).unwrap();
    println!("{wide}");
    assert_eq!(cell(&wide, "n1", "ADDRESS"), address.to_string(), "{wide}");
    cluster.stop_and_check().unwrap();
}

#[test]
fn a_hot_board_with_a_weak_supply_says_so() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(18).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let told = || {
        let node = kubectl.json(&["get", "node", "n1"])?;
        anyhow::Ok(state::condition(&node, "UnderVoltage").to_owned())
    };
    let condition = |wanted: &str| {
        let status = told()?;
        Ok((status != wanted).then_some(status))
    };
    assert_eq!(told().unwrap(), "", "no sensor, no condition");

    // Sensors as a Pi's kernel shows them, seen by this board only.
    let board = cluster.agent_mut("n1").unwrap();
    board.cut_power().unwrap();
    board.power_on().unwrap();
    let sensors = "mount -t tmpfs tmpfs /sys/class && cd /sys/class && \
                   mkdir -p thermal/thermal_zone0 hwmon/hwmon0 && \
                   echo 51234 > thermal/thermal_zone0/temp && \
                   echo rpi_volt > hwmon/hwmon0/name && echo 0 > hwmon/hwmon0/in0_lcrit_alarm";
    shell(&cluster, sensors).unwrap();
    cluster.start_agent("n1").unwrap();
    let shown = |power: &str| {
        let table = cluster.bramble(&["node", "list"])?;
        let told = ["LIVE", "TEMP", "POWER"].map(|heading| cell(&table, "n1", heading));
        Ok((told != ["yes", "51 C", power]).then_some(table))
    };
    let patience = Duration::from_secs(30);
    cluster.wait_until("its power is well", patience, || shown("ok")).unwrap();
    cluster.wait_until("the condition says so", patience, || condition("False")).unwrap();

    shell(&cluster, "echo 1 > /sys/class/hwmon/hwmon0/in0_lcrit_alarm").unwrap();
    cluster.wait_until("its supply is weak", patience, || shown("under-voltage")).unwrap();
    cluster.wait_until("the condition says so", patience, || condition("True")).unwrap();
    cluster
        .wait_until("an event says how to mend it", patience, || {
            let described = kubectl.run(&["describe", "node", "n1"])?;
            let told = described.contains("use a stronger power supply")
                && described.contains("SupplyTooWeak");
            Ok((!told).then_some(described))
        })
        .unwrap();
    cluster.stop_and_check().unwrap();
}

/// Runs a line of shell on the board `n1`.
fn shell(cluster: &Cluster, line: &str) -> anyhow::Result<()> {
    let args = ["-c", line];
    let output = cluster.agent("n1")?.command(Path::new("sh"), &args).output()?;
    text_of("sh", &args, &output).map(drop)
}

/// One cell of a table; nothing if there is none.
fn cell(table: &str, row: &str, heading: &str) -> String {
    let mut lines = table.lines().map(columns);
    let column = lines.next().and_then(|it| it.iter().position(|text| *text == heading));
    let row = lines.find(|cells| cells.first() == Some(&row)).unwrap_or_default();
    column.and_then(|column| row.get(column)).map_or_else(String::new, |text| (*text).to_owned())
}

/// Columns are at least three spaces apart; cells may have single ones.
fn columns(line: &str) -> Vec<&str> {
    line.split("   ").map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// The loss of a node's heartbeats.
fn percent(table: &str, node: &str) -> Option<u32> {
    match cell(table, node, "LOSS").strip_suffix(" %")? {
        "<1" => Some(0),
        percent => percent.parse().ok(),
    }
}

/// Changes the packet rules of the master's board.
fn nft(cluster: &Cluster, args: &[&str]) -> anyhow::Result<()> {
    let output = cluster.master().command(Path::new("nft"), args).output()?;
    text_of("nft", args, &output).map(drop)
}

fn web_cluster(number: u8, agents: usize) -> Cluster {
    let mut cluster = Cluster::start(number).unwrap();
    for index in 1..=agents {
        cluster.add_agent(&format!("n{index}")).unwrap();
    }
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(WEB).unwrap();
    cluster
        .wait_until("three pods", Duration::from_secs(60), || {
            state::pods_ready(&kubectl, "app=web", 3)
        })
        .unwrap();
    cluster
}

/// Ids of the web servers' processes by board: equal before and after means that none restarted.
fn containers(cluster: &Cluster) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for board in cluster.agents() {
        for pid in board.processes_with("httpd -f").unwrap() {
            found.insert(pid, board.name.clone());
        }
    }
    found
}

/// Ids of the agent's children that do this job on a board.
fn children_of(board: &board::Board, part: &str) -> Vec<i32> {
    let pids = board.processes().unwrap();
    pids.into_iter()
        .filter(|pid| {
            let line = board::command_line(*pid);
            let mut words = line.split(' ');
            words.next().is_some_and(|program| program.contains("bramble-"))
                && words.next() == Some(part)
        })
        .map(|pid| pid.try_into().unwrap())
        .collect()
}

fn child_of(board: &board::Board, part: &str) -> i32 {
    let found = children_of(board, part);
    assert_eq!(found.len(), 1, "one {part} runs, found {found:?}");
    *found.first().unwrap()
}

fn pods_on(kubectl: &Kubectl, node: &str) -> usize {
    let field = format!("spec.nodeName={node}");
    let pods = kubectl.json(&["get", "pods", "-l", "app=web", "--field-selector", &field]).unwrap();
    items(&pods).iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()).count()
}
