//! Rows 14, 24 and 25: the API under load, with no node in the cluster.
//!
//! The load generator runs on the same machine and takes its part of the processor.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{Api, Following};
use crate::bench::load::{self, CONFIG_MAPS, CONNECTIONS, PODS, Request};
use crate::bench::processes::written;
use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::bench::statistics::{Samples, bytes, float, median_rate, milliseconds};
use crate::cluster::Cluster;
use crate::memory::pss_mb;
use crate::state::{items, text};
use crate::wait::{now, pause};

/// Number of this cluster's LAN.
const NUMBER: u8 = 53;
const ROUNDS: usize = 3;
/// Objects per round.
const OBJECTS: usize = 1_000;
/// Requests of which only the median is wanted.
const SINGLE: usize = 300;
const LISTS: usize = 50;
const WATCHERS: usize = 100;
const WRITES: usize = 300;
/// Between two writes of row 24, so that each is alone: all watchers have theirs by then.
const BETWEEN_WRITES: Duration = Duration::from_millis(40);
/// After this the store has written what it put off.
const WRITE_BACK: Duration = Duration::from_secs(3);

/// Measures those of rows 14, 24 and 25 that are wanted.
#[must_use]
pub fn measure(wanted: &[u8]) -> Vec<Figure> {
    let mut figures = Vec::new();
    if wanted.contains(&14) || wanted.contains(&25) {
        figures.extend(Figure::several(&[14, 25], Place::Namespaces, throughput()));
    }
    if wanted.contains(&24) {
        figures.push(Figure::new(24, Place::Namespaces, many_watchers()));
    }
    figures
}

/// Rows 14 and 25.
fn throughput() -> Result<Vec<String>> {
    let mut cluster = Cluster::start(NUMBER)?;
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    let master = cluster.master().processes_with("server")?;

    progress("ConfigMaps over 16 connections");
    let (mut map_rates, mut map_times, mut card) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let before = written(&master);
        let created = load::send(&api, CONNECTIONS, OBJECTS, |index| {
            Request::create(CONFIG_MAPS, &load::config_map(&format!("map-{round}-{index}")))
        })?;
        pause(WRITE_BACK);
        card.push(float(written(&master).saturating_sub(before)) / float(u64::try_from(OBJECTS)?));
        map_rates.push(created.rate);
        map_times.push(milliseconds(created.latency.percentile(99)));
    }
    progress("pods over 16 connections");
    let mut pod_rates = Vec::new();
    for round in 0..ROUNDS {
        let created = load::send(&api, CONNECTIONS, OBJECTS, |index| {
            Request::create(PODS, &load::homeless_pod(&format!("pod-{round}-{index}")))
        })?;
        pod_rates.push(created.rate);
        // The last thousand stays, to be listed.
        if round + 1 < ROUNDS {
            load::send(&api, CONNECTIONS, OBJECTS, |index| {
                Request::delete(PODS, &format!("pod-{round}-{index}"))
            })?;
        }
    }
    pause(WRITE_BACK);
    let memory = pss_mb(&master);

    progress("lists, gets and creates one at a time");
    let list = api.connect()?.get(PODS)?;
    ensure!(items(&list).len() == OBJECTS, "the list has {} pods", items(&list).len());
    let last = ROUNDS - 1;
    let lists = load::send(&api, 1, LISTS, |_| get(PODS))?;
    let gets = load::send(&api, 1, SINGLE, |index| get(&format!("{PODS}/pod-{last}-{index}")))?;
    let singles = load::send(&api, 1, SINGLE, |index| {
        Request::create(CONFIG_MAPS, &load::config_map(&format!("single-{index}")))
    })?;
    cluster.master_mut().cut_power()?;
    card.sort_unstable_by(f64::total_cmp);
    let median = card.get(card.len() / 2).copied().unwrap_or_default();
    let spread = format!(
        "{} to {}",
        bytes(card.first().copied().unwrap_or_default()),
        bytes(card.last().copied().unwrap_or_default())
    );
    Ok(vec![
        format!(
            "{CONNECTIONS} connections: ConfigMaps {} with p99 {}, pods {}; one: list of \
             {OBJECTS} pods {}, get {}, ConfigMap create {}; master {memory:.1} MB (PSS) \
             after {} ConfigMaps and {OBJECTS} pods",
            median_rate(&map_rates),
            map_times.join(", "),
            median_rate(&pod_rates),
            lists.latency.p50(),
            gets.latency.p50(),
            singles.latency.p50_p99(),
            ROUNDS * OBJECTS
        ),
        format!("{} ({spread}, n={ROUNDS} rounds of {OBJECTS})", bytes(median)),
    ])
}

fn get(path: &str) -> Request {
    Request { method: "GET", path: path.into(), body: None }
}

/// Row 24.
fn many_watchers() -> Result<String> {
    progress("a hundred watchers");
    let mut cluster = Cluster::start(NUMBER)?;
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    let watchers: Vec<Following> =
        (0..WATCHERS).map(|_| api.follow(CONFIG_MAPS)).collect::<Result<_>>()?;
    let mut connection = api.connect()?;
    let mut sent = BTreeMap::new();
    for index in 0..WRITES {
        let name = format!("watched-{index}");
        let body = load::config_map(&name).to_string();
        sent.insert(name, now());
        connection.must("POST", CONFIG_MAPS, Some(body.as_bytes()))?;
        pause(BETWEEN_WRITES);
    }
    let mut times = Vec::with_capacity(WRITES * WATCHERS);
    for (number, watcher) in watchers.iter().enumerate() {
        for _ in 0..WRITES {
            let (came, event) = watcher
                .next(Duration::from_secs(10))
                .with_context(|| format!("watcher {number} lacks an event"))?;
            let name = text(&event, "/object/metadata/name");
            let sent = sent.get(name).with_context(|| format!("a strange event: {event}"))?;
            times.push(came.saturating_duration_since(*sent));
        }
    }
    drop(watchers);
    let sync = sync_time(&cluster.master_data().join("sync-time"))?.p50();
    cluster.master_mut().cut_power()?;
    let samples = times.len();
    Ok(format!(
        "{} from sending the write to each watcher's event (n={samples}; {WRITES} writes one at a \
         time; the watchers share this machine, whose disk takes {sync} to sync one page)",
        Samples::new(times).p50_p99()
    ))
}

/// What the disk alone takes to make one page durable.
fn sync_time(path: &Path) -> Result<Samples> {
    let file = File::create(path)?;
    let mut times = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        let start = now();
        file.write_all_at(&[1; 4096], u64::try_from(index % 64)? * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(Samples::new(times))
}
