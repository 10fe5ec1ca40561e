//! Rows 2, 3, 10 and 12: one node, so that its agent shares no page of memory with another agent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::api::{Api, Connection, Following};
use crate::bench::load::{self, CONNECTIONS, PODS, Request};
use crate::bench::processes::beside_workload;
use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::bench::statistics::Samples;
use crate::board::Board;
use crate::cluster::Cluster;
use crate::memory::pss_mb;
use crate::state::text;
use crate::wait::{now, pause};

/// Number of this cluster's LAN.
const NUMBER: u8 = 52;
const NODE: &str = "n1";
/// Pods of row 2's second figure and of row 3.
const SOME_PODS: u8 = 30;
/// Pods of row 12.
const MANY_PODS: usize = 100;
/// Creates of row 10; a p99 needs as many.
const CREATES: usize = 300;
const SETTLE: Duration = Duration::from_secs(20);
const BOUND: Duration = Duration::from_secs(60);

/// Measures those of rows 2, 3, 10 and 12 that are wanted.
#[must_use]
pub fn measure(wanted: &[u8]) -> Vec<Figure> {
    let rows: Vec<u8> = [2, 3, 10, 12].into_iter().filter(|row| wanted.contains(row)).collect();
    progress("one node");
    let (mut cluster, api) = match start() {
        Ok(started) => started,
        Err(error) => {
            return rows.iter().map(|row| Figure::not_measured(*row, &error)).collect();
        }
    };
    let mut figures = Vec::new();
    if rows.contains(&2) || rows.contains(&3) {
        let values = memory(&cluster, &api).with_context(|| logs(&cluster));
        figures.extend(Figure::several(&[2, 3], Place::Namespaces, values));
    }
    if rows.contains(&12) {
        let value = many_at_once(&api).with_context(|| logs(&cluster));
        figures.push(Figure::new(12, Place::Namespaces, value));
    }
    if rows.contains(&10) {
        let value = one_by_one(&api).with_context(|| logs(&cluster));
        figures.push(Figure::new(10, Place::Namespaces, value));
    }
    // Whether something is left behind is a test's matter; a figure does not depend on it.
    let _ = cluster.master_mut().cut_power();
    figures
}

/// Starts a master and one node that has the image.
fn start() -> Result<(Cluster, Api)> {
    let mut cluster = Cluster::start(NUMBER)?;
    cluster.add_agent(NODE)?;
    cluster.wait_until_ready()?;
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    let events = api.follow(PODS)?;
    let mut connection = api.connect()?;
    create(&mut connection, "first")?;
    running(&events, "first").with_context(|| logs(&cluster))?;
    delete(&mut connection, &events, "first").with_context(|| logs(&cluster))?;
    Ok((cluster, api))
}

/// Rows 2 and 3.
fn memory(cluster: &Cluster, api: &Api) -> Result<Vec<String>> {
    progress("memory of an agent with no pod, then with thirty");
    pause(SETTLE);
    let idle = agent_mb(cluster)?;
    let events = api.follow(PODS)?;
    let mut connection = api.connect()?;
    let names: Vec<String> = (0..SOME_PODS).map(|index| format!("some-{index}")).collect();
    for name in &names {
        create(&mut connection, name)?;
    }
    let mut waiting = names.clone();
    all_running(&events, &mut waiting)?;
    pause(SETTLE);
    let loaded = agent_mb(cluster)?;
    // A server may close a connection on which nothing happened for so long.
    let mut connection = api.connect()?;
    for name in &names {
        delete(&mut connection, &events, name)?;
    }
    let per_pod = (loaded - idle) / f64::from(SOME_PODS);
    Ok(vec![
        format!("{idle:.1} MB with no pod; {loaded:.1} MB with {SOME_PODS} (all its processes)"),
        format!("{per_pod:.2} MB: what all processes of the agent grew by, over {SOME_PODS} pods"),
    ])
}

/// Row 12.
fn many_at_once(api: &Api) -> Result<String> {
    progress("a hundred pods at once");
    let events = api.follow(PODS)?;
    let names: Vec<String> = (0..MANY_PODS).map(|index| format!("many-{index}")).collect();
    let start = now();
    let created = load::send(api, CONNECTIONS, MANY_PODS, |index| {
        let name = names.get(index).map_or("", String::as_str);
        Request::create(PODS, &load::pod(name, None))
    })?;
    let mut waiting = names.clone();
    let result = all_running(&events, &mut waiting);
    let took = start.elapsed().as_secs_f64();
    let left = waiting.len();
    load::send(api, CONNECTIONS, MANY_PODS, |index| {
        Request::delete(PODS, names.get(index).map_or("", String::as_str))
    })?;
    result.with_context(|| format!("{left} of {MANY_PODS} pods did not become Running"))?;
    for _ in 0..MANY_PODS {
        events.wait_for(BOUND, |event| is(event, "DELETED")).context("a pod did not go")?;
    }
    Ok(format!("{took:.2} s, creates through the API included (their {})", created.latency.p50()))
}

/// Row 10.
fn one_by_one(api: &Api) -> Result<String> {
    progress("three hundred pods, one after the other");
    let events = api.follow(PODS)?;
    let mut connection = api.connect()?;
    let mut times = Vec::with_capacity(CREATES);
    for index in 0..CREATES {
        let name = format!("one-{index}");
        let start = now();
        create(&mut connection, &name)?;
        times.push(running(&events, &name)?.saturating_duration_since(start));
        delete(&mut connection, &events, &name)?;
    }
    let times = Samples::new(times);
    Ok(format!("{} (n={CREATES}, one at a time; until a watch shows Running)", times.p50_p99()))
}

fn agent_mb(cluster: &Cluster) -> Result<f64> {
    Ok(pss_mb(&beside_workload(cluster.agent(NODE)?)?))
}

fn create(connection: &mut Connection, name: &str) -> Result<()> {
    connection.must("POST", PODS, Some(load::pod(name, None).to_string().as_bytes()))
}

/// Waits for a pod's first event with the phase Running and returns when it came.
fn running(events: &Following, name: &str) -> Result<Instant> {
    events
        .wait_for(BOUND, |event| is_running(event) && named(event) == name)
        .with_context(|| format!("pod `{name}` did not become Running"))
}

fn delete(connection: &mut Connection, events: &Following, name: &str) -> Result<()> {
    connection.must("DELETE", &format!("{PODS}/{name}"), None)?;
    events
        .wait_for(BOUND, |event| is(event, "DELETED") && named(event) == name)
        .map(drop)
        .with_context(|| format!("pod `{name}` did not go"))
}

/// Takes the names of pods that become Running out of `waiting` until none is left.
fn all_running(events: &Following, waiting: &mut Vec<String>) -> Result<()> {
    let start = now();
    while !waiting.is_empty() {
        let (_, event) = events.next(BOUND.saturating_sub(start.elapsed()))?;
        if is_running(&event) {
            waiting.retain(|name| name != named(&event));
        }
    }
    Ok(())
}

fn is(event: &Value, kind: &str) -> bool {
    text(event, "/type") == kind
}

fn is_running(event: &Value) -> bool {
    !is(event, "DELETED") && text(event, "/object/status/phase") == "Running"
}

fn named(event: &Value) -> &str {
    text(event, "/object/metadata/name")
}

fn logs(cluster: &Cluster) -> String {
    let agents: String = cluster.agents().iter().map(Board::logs).collect();
    cluster.master().logs() + &agents
}
