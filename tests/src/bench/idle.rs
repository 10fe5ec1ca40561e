//! Rows 1, 4 and 5: ten nodes with thirty pods that log nothing, and no client but the agents.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::api::Api;
use crate::bench::load::{self, CONNECTIONS, PODS, Request};
use crate::bench::processes::{beside_workload, cpu_times, written};
use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::bench::statistics::{bytes, float, thousands};
use crate::cluster::Cluster;
use crate::memory::pss_mb;
use crate::state;
use crate::wait::{now, pause};

/// Number of this cluster's LAN.
const NUMBER: u8 = 51;
const NODES: usize = 10;
const RUNNING: usize = 30;
const STORED: usize = 1_000;
/// From the last change to the first look.
const SETTLE: Duration = Duration::from_secs(20);
/// What nodes report reaches the disk up to a minute later; after this it has.
const WRITE_BACK: Duration = Duration::from_secs(60);
const CPU_WINDOW: Duration = Duration::from_secs(30);
const WRITE_WINDOW: Duration = Duration::from_secs(60);

/// Measures rows 1, 4 and 5.
#[must_use]
pub fn measure() -> Vec<Figure> {
    Figure::several(&[1, 4, 5], Place::Namespaces, measure_all())
}

fn measure_all() -> Result<Vec<String>> {
    progress("ten nodes and thirty pods");
    let mut cluster = Cluster::start(NUMBER)?;
    for number in 1..=NODES {
        cluster.add_agent(&format!("n{number}"))?;
    }
    cluster.wait_until_ready()?;
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    load::send(&api, 1, RUNNING, |index| {
        Request::create(PODS, &load::pod(&format!("idle-{index}"), None))
    })?;
    let kubectl = cluster.kubectl()?;
    cluster.wait_until("30 pods Running", Duration::from_secs(90), || {
        state::pods_ready(&kubectl, "app=bench", RUNNING)
    })?;
    pause(SETTLE);

    let master = cluster.master().processes_with("server")?;
    let agents: Vec<Vec<u32>> =
        cluster.agents().iter().map(beside_workload).collect::<Result<_>>()?;
    let idle_mb = pss_mb(&master);
    pause(WRITE_BACK);
    progress("idle for a minute: CPU and writes");
    let revision = store_revision(&api)?;
    let start = now();
    let (master_cpu, agents_cpu) = (cpu_times(&master), cpu_times(&agents.concat()));
    let (master_bytes, agents_bytes) = (written(&master), written(&agents.concat()));
    pause(CPU_WINDOW);
    let window = start.elapsed().as_secs_f64();
    let master_cpu = (cpu_times(&master) - master_cpu).as_secs_f64() / window * 100.0;
    let agents_cpu = (cpu_times(&agents.concat()) - agents_cpu).as_secs_f64() / window * 100.0;
    pause(WRITE_WINDOW.saturating_sub(start.elapsed()));
    let window = start.elapsed().as_secs_f64();
    let master_bytes = written(&master).saturating_sub(master_bytes);
    let agents_bytes = written(&agents.concat()).saturating_sub(agents_bytes);
    let revisions = store_revision(&api)? - revision;

    progress("a thousand more pods");
    load::send(&api, CONNECTIONS, STORED, |index| {
        Request::create(PODS, &load::homeless_pod(&format!("homeless-{index}")))
    })?;
    pause(SETTLE);
    let full_mb = pss_mb(&cluster.master().processes_with("server")?);
    let count = float(u64::try_from(NODES)?);
    let per_day = float(master_bytes + agents_bytes) / count * 86_400.0 / window;
    cluster.stop_and_check()?;
    Ok(vec![
        format!(
            "{idle_mb:.1} MB with {RUNNING} pods; {full_mb:.1} MB with {STORED} pods more, which \
             stay Pending (no node suits them)"
        ),
        format!(
            "{master_cpu:.2} % of a core of this machine (all processes of one agent: {:.2} %)",
            agents_cpu / count
        ),
        format!(
            "{}: in {window:.0} s the master wrote {}, the {NODES} agents {} in all; the store's \
             revision, which writes to memory alone raise too, grew by {}",
            bytes(per_day),
            bytes(float(master_bytes)),
            bytes(float(agents_bytes)),
            thousands(revisions)
        ),
    ])
}

/// The store's revision, which every write raises, whether it goes to the disk or not.
fn store_revision(api: &Api) -> Result<f64> {
    let (_, metrics) = api.connect()?.request("GET", "/metrics", None)?;
    String::from_utf8_lossy(&metrics)
        .lines()
        .find_map(|line| line.strip_prefix("bramble_store_revision ")?.trim().parse().ok())
        .context("`/metrics` has no bramble_store_revision")
}
