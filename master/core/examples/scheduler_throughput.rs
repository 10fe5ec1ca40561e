//! Prints how many pods a second the scheduler places on 1,000 nodes: plain ones, or with the
//! argument `neighbours` such that have required anti-affinity and topology spread each.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use bramble_master_core::action::Action;
use bramble_master_core::scheduler::Scheduler;
use bramble_master_core::snapshot::Snapshot;
use bramble_master_core::view::pod::PodView;
use bramble_master_core::view::timestamp::Timestamp;
use serde_json::{Value, json};

const NODES: u64 = 1_000;
const ZONES: u64 = 10;
const PLAIN: usize = 20_000;
const WITH_NEIGHBOURS: usize = 10_000;
const OWNERS: usize = 100;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() -> Result<(), Box<dyn Error>> {
    let neighbours = std::env::args().any(|argument| argument == "neighbours");
    let mut snapshot = Snapshot::new();
    for number in 1..=NODES {
        let name = format!("pi-{number:04}");
        let zone = format!("zone-{}", number % ZONES);
        let labels = json!({"kubernetes.io/arch": "arm64", "kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": zone});
        let node = json!({
            "metadata": {"name": name, "uid": name, "labels": labels},
            "status": {"allocatable": {"cpu": "4", "memory": "3900Mi", "pods": "110"}},
        });
        let key = format!("/core/nodes/_/{name}");
        snapshot.apply(&key, Some(&serde_json::to_vec(&node)?), number)?;
    }
    snapshot.synced = true;
    let mut scheduler = Scheduler::new();
    scheduler.rebuild(&snapshot);
    let count = if neighbours { WITH_NEIGHBOURS } else { PLAIN };
    let pods = (0..count).map(|number| pod(number, neighbours)).collect::<Result<Vec<_>, _>>()?;
    let start = std::time::Instant::now();
    let actions = scheduler.schedule_batch(&snapshot, &pods, Timestamp(0));
    let seconds = start.elapsed().as_secs_f64();
    let placed = actions.iter().filter(|action| matches!(action, Action::Bind { .. })).count();
    let rate = f64::from(u32::try_from(placed)?) / seconds;
    writeln!(std::io::stdout(), "placed {placed} pods on {NODES} nodes: {rate:.0} pods/s")?;
    Ok(())
}

fn pod(number: usize, neighbours: bool) -> Result<Arc<PodView>, serde_json::Error> {
    let set = format!("set-{}", number % OWNERS);
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": set, "controller": true,
    });
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    let mut spec = json!({"containers": [{"resources": {"requests": requests}}]});
    if neighbours {
        let like = json!({"matchLabels": {"app": set}});
        let term = json!({"labelSelector": like, "topologyKey": "kubernetes.io/hostname"});
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
        let constraint = json!({"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": like});
        if let Value::Object(fields) = &mut spec {
            fields.insert("affinity".to_owned(), json!({"podAntiAffinity": required}));
            fields.insert("topologySpreadConstraints".to_owned(), json!([constraint]));
        }
    }
    let pod = json!({
        "metadata": {"name": format!("p-{number}"), "namespace": "default",
            "uid": format!("uid-{number}"), "labels": {"app": set}, "ownerReferences": [owner]},
        "spec": spec,
    });
    serde_json::from_value(pod).map(Arc::new)
}
