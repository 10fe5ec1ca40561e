//! One taken-over node: it has its certificate and its key, and says what it likes.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bramble_shared::link::{LINK_ALPN, ToMaster};

use super::node_link::NodeLink;
use super::node_messages::{event, hello, ready};
use super::stage::{NAMESPACE, SPARE};
use super::tokens::serial_of;
use super::{Attack, Stage};
use crate::bench::processes::written;
use crate::board::Board;
use crate::client_identity::ClientIdentity;
use crate::state::{condition, items, text};
use crate::wait::{now, pause};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "node/events",
        must: "events of 3.9 MB, 160 times, fill neither memory nor heartbeats",
        core: true,
        restarts_master: false,
        run: events,
    },
    Attack {
        name: "node/wide-statuses",
        must: "a status with 50,000 containers is not stored",
        core: true,
        restarts_master: false,
        run: wide_statuses,
    },
    Attack {
        name: "node/status-texts",
        must: "status texts write no hundreds of megabytes to the card",
        core: true,
        restarts_master: false,
        run: status_texts,
    },
    Attack {
        name: "node/links-without-hello",
        must: "512 links that say nothing keep no other node out",
        core: true,
        restarts_master: false,
        run: links_without_hello,
    },
    Attack {
        name: "node/unfinished-hellos",
        must: "400 hellos that never end do not fill the master's memory",
        core: true,
        restarts_master: false,
        run: unfinished_hellos,
    },
    Attack {
        name: "node/foreign-addresses",
        must: "a node's pods are at addresses of its own range, in status and EndpointSlices",
        core: true,
        restarts_master: false,
        run: foreign_addresses,
    },
    Attack {
        name: "node/clone",
        must: "the same certificate on two boots at once is quarantined, and says how to go on",
        core: true,
        restarts_master: false,
        run: clone,
    },
];

/// Name of the pod that is bound to the node.
const POD: &str = "victim";
/// Most bytes that a minute of one node's words may cost the master's card.
const WRITTEN_MAX: u64 = 32 * 1024 * 1024;
/// Time for others to get a link.
const LINK: Duration = Duration::from_secs(15);

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: victim, namespace: abuse}
spec: {selector: {app: victim}, ports: [{port: 80}]}
";

impl Stage {
    /// A node link with a board's certificate, from the attacker's place.
    pub(super) fn node_link(&self, board: &Board) -> Result<NodeLink> {
        let identity = ClientIdentity::of_node(&board.card.join("data"))?;
        self.node_link_as(&identity)
    }

    fn node_link_as(&self, identity: &ClientIdentity) -> Result<NodeLink> {
        let api = self.api_of(identity, &[LINK_ALPN])?.with_timeout(Duration::from_secs(5));
        let socket = self.attacker().connect(api.address(), Duration::from_secs(5))?;
        NodeLink::dial(&api, socket)
    }

    /// A taken-over node that is linked, and a pod that is bound to it: its uid.
    fn evil_node(&mut self) -> Result<(Board, NodeLink, String)> {
        let board = self.evil_board()?;
        let mut link = self.node_link(&board)?;
        link.welcome(&hello(&board, 1))?;
        self.run_script(POD, &board.name, "sleep 1000")?;
        self.kubectl().run(&["label", "pod", POD, "-n", NAMESPACE, "app=victim"])?;
        let pod = self.kubectl().json(&["get", "pod", POD, "-n", NAMESPACE])?;
        let uid = text(&pod, "/metadata/uid").to_owned();
        link.pump(Duration::from_millis(500))?;
        link.forget();
        Ok((board, link, uid))
    }

    /// Takes the node away again, and the pod that nobody would end.
    fn remove_evil_node(&self, board: &Board) -> Result<()> {
        let flags = ["-n", NAMESPACE, "--grace-period=0", "--force", "--ignore-not-found"];
        self.kubectl().run(&[&["delete", "pod", POD], &flags[..]].concat())?;
        self.kubectl().run(&["delete", "node", &board.name, "--ignore-not-found"]).map(drop)
    }
}

fn events(stage: &mut Stage) -> Result<String> {
    let (board, mut link, uid) = stage.evil_node()?;
    let text = "x".repeat(3_900_000);
    let mut said = 0;
    for number in 0..160 {
        let reason = format!("R{number}");
        if link.say(&ToMaster::Event(event(POD, &uid, reason, text.clone()))).is_err() {
            break;
        }
        said += 1;
    }
    // Small ones are as many as fit into some seconds; a link that was ended is dialled again.
    let mut link = stage.node_link(&board)?;
    link.welcome(&hello(&board, 1))?;
    link.forget();
    let start = now();
    let mut small = 0;
    let time = stage.count(Duration::from_secs(2), Duration::from_secs(10));
    while start.elapsed() < time {
        let reason = format!("S{small}");
        if link.say(&ToMaster::Event(event(POD, &uid, reason, "y".repeat(900)))).is_err() {
            break;
        }
        small += 1;
    }
    pause(Duration::from_secs(2));
    let list = stage.mallory_connected()?.get("/api/v1/namespaces/abuse/events")?;
    let (count, len) = (items(&list).len(), list.to_string().len());
    stage.remove_evil_node(&board)?;
    ensure!(len < 16 * 1024 * 1024, "{count} events of {len} bytes are kept");
    Ok(format!("{said} large and {small} small taken, {count} kept"))
}

fn wide_statuses(stage: &mut Stage) -> Result<String> {
    let (board, mut link, uid) = stage.evil_node()?;
    let mut said = 0;
    for containers in [50_000, 5_000, 500] {
        let status = ready(POD, &uid, Ipv4Addr::new(10, 42, 0, 2), containers, "");
        for _ in 0..stage.count(10, 40) {
            if link.say(&ToMaster::Pod(Box::new(status.clone()))).is_err() {
                // It was too much for the link; the next size is tried over a new one.
                link = stage.node_link(&board)?;
                link.welcome(&hello(&board, 1))?;
                link.forget();
                break;
            }
            said += 1;
        }
    }
    pause(Duration::from_secs(2));
    let pod = stage.kubectl().json(&["get", "pod", POD, "-n", NAMESPACE])?;
    let stored = pod.pointer("/status/containerStatuses").and_then(|list| list.as_array());
    let stored = stored.map_or(0, Vec::len);
    stage.remove_evil_node(&board)?;
    ensure!(stored <= 1, "{stored} container statuses of a pod of one container are stored");
    Ok(format!("{said} taken, {stored} containers stored"))
}

fn status_texts(stage: &mut Stage) -> Result<String> {
    let (board, mut link, uid) = stage.evil_node()?;
    let processes = stage.master_processes()?;
    let before = written(&processes);
    let start = now();
    let mut said = 0_usize;
    let time = stage.count(Duration::from_secs(4), Duration::from_secs(15));
    while start.elapsed() < time {
        let text = format!("{said}").repeat(1_000_000 / said.to_string().len());
        let status = ready(POD, &uid, Ipv4Addr::new(10, 42, 0, 2), 1, &text);
        if link.say(&ToMaster::Pod(Box::new(status))).is_err() {
            break;
        }
        said += 1;
    }
    pause(Duration::from_secs(2));
    let cost = written(&processes).saturating_sub(before);
    stage.remove_evil_node(&board)?;
    ensure!(cost <= WRITTEN_MAX, "{} MB written to the card by {said} statuses", cost >> 20);
    Ok(format!("{said} statuses taken, {} KB written", cost >> 10))
}

fn links_without_hello(stage: &mut Stage) -> Result<String> {
    let board = stage.evil_board()?;
    let mut held = Vec::new();
    for _ in 0..600 {
        // A refusal is what should happen at some point.
        match stage.node_link(&board) {
            Ok(link) => held.push(link),
            Err(_) => break,
        }
    }
    stage.restart_link("n2")?;
    stage.link_works(LINK)?;
    // Another board's first link comes through, too.
    let other = stage.evil_board()?;
    let welcome = stage.node_link(&other).and_then(|mut link| link.welcome(&hello(&other, 1)));
    welcome.context("another node finds no place")?;
    stage.remove_evil_node(&other)?;
    Ok(format!("{} links let in", held.len()))
}

fn unfinished_hellos(stage: &mut Stage) -> Result<String> {
    let board = stage.evil_board()?;
    // A frame that says 4 MB and is one byte short of it.
    let mut frame = (4_u32 * 1024 * 1024 - 4).to_le_bytes().to_vec();
    frame.resize(4 * 1024 * 1024 - 1, 1);
    let mut held = Vec::new();
    let start = now();
    for _ in 0..400 {
        if start.elapsed() > Duration::from_secs(25) {
            break;
        }
        let Ok(mut link) = stage.node_link(&board) else { break };
        if link.send(&frame).is_ok() {
            held.push(link);
        }
    }
    stage.link_works(LINK)?;
    Ok(format!("{} unfinished hellos taken whole", held.len()))
}

fn foreign_addresses(stage: &mut Stage) -> Result<String> {
    stage.kubectl().apply(SERVICE)?;
    let (board, mut link, uid) = stage.evil_node()?;
    let other = stage.kubectl().json(&["get", "pods", "-l", "app=bystander"])?;
    let other = items(&other).first().map(|pod| text(pod, "/status/podIP").to_owned());
    let other: Ipv4Addr = other.context("no bystander")?.parse()?;
    let master = stage.cluster().master().address;
    let mut believed = Vec::new();
    for ip in
        [master, Ipv4Addr::LOCALHOST, other, Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(10, 43, 0, 1)]
    {
        // A refusal may end the link, which is fair.
        if link.say(&ToMaster::Pod(Box::new(ready(POD, &uid, ip, 1, "")))).is_err() {
            link = stage.node_link(&board)?;
            link.welcome(&hello(&board, 1))?;
            link.forget();
        }
        pause(Duration::from_millis(700));
        let pod = stage.kubectl().run(&["get", "pod", POD, "-n", NAMESPACE, "-o", "json"])?;
        let slices =
            stage.kubectl().run(&["get", "endpointslices", "-n", NAMESPACE, "-o", "json"])?;
        let quoted = format!("\"{ip}\"");
        if pod.contains(&quoted) || slices.contains(&quoted) {
            believed.push(ip.to_string());
        }
    }
    // Its own address is another's: the master's, another node's.
    let mut claimed = Vec::new();
    for ip in [master, stage.cluster().agent("n1")?.address] {
        let mut lie = hello(&board, 1);
        lie.facts.address = ip;
        let welcome = stage.node_link(&board).and_then(|mut link| link.welcome(&lie));
        let node = stage.kubectl().run(&["get", "node", &board.name, "-o", "json"])?;
        if welcome.is_ok() && node.contains(&format!("\"{ip}\"")) {
            claimed.push(ip.to_string());
        }
    }
    stage.remove_evil_node(&board)?;
    ensure!(
        believed.is_empty(),
        "pods at foreign addresses were believed: {}",
        believed.join(", ")
    );
    ensure!(claimed.is_empty(), "the node has the address of another: {}", claimed.join(", "));
    Ok(String::new())
}

/// The spare node's certificate, used from the attacker's place while the real board lives.
fn clone(stage: &mut Stage) -> Result<String> {
    let identity = ClientIdentity::of_node(&stage.cluster().agent(SPARE)?.card.join("data"))?;
    let serial = serial_of(stage, SPARE)?;
    let mut welcomes = 0;
    for round in 0..16_u8 {
        let mut copy = hello(stage.cluster().agent(SPARE)?, 100 + round);
        copy.serial.clone_from(&serial);
        let welcome = stage.node_link_as(&identity).and_then(|mut link| {
            let welcome = link.welcome(&copy);
            // It stays for a moment, as a board would.
            let _ = link.pump(Duration::from_millis(300));
            welcome
        });
        welcomes += usize::from(welcome.is_ok());
        pause(Duration::from_millis(300));
    }
    let node = stage.kubectl().json(&["get", "node", SPARE])?;
    let described = stage.kubectl().run(&["describe", "node", SPARE])?;
    let told = described.to_lowercase().contains("quarantine") || described.contains("Clone");
    if welcomes > 2 {
        bail!("a clone with new boots was believed {welcomes} of 16 times");
    }
    ensure!(told, "nothing at the node says that it was cloned: {described}");
    ensure!(condition(&node, "Ready") != "True", "the real board is trusted still");
    Ok(format!("believed {welcomes} times"))
}
