//! Prints how many pods a second the scheduler places on 1,000 nodes.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use bramble_master_core::action::Action;
use bramble_master_core::scheduler::Scheduler;
use bramble_master_core::snapshot::Snapshot;
use bramble_master_core::view::pod::PodView;
use bramble_master_core::view::timestamp::Timestamp;
use serde_json::json;

const NODES: u64 = 1_000;
const PODS: usize = 20_000;
const OWNERS: usize = 100;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut snapshot = Snapshot::new();
    for number in 1..=NODES {
        let name = format!("pi-{number:04}");
        let node = json!({
            "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/arch": "arm64"}},
            "status": {"allocatable": {"cpu": "4", "memory": "3900Mi", "pods": "110"}},
        });
        let key = format!("/core/nodes/_/{name}");
        snapshot.apply(&key, Some(&serde_json::to_vec(&node)?), number)?;
    }
    snapshot.synced = true;
    let mut scheduler = Scheduler::new();
    scheduler.rebuild(&snapshot);
    let mut pods = Vec::with_capacity(PODS);
    for number in 0..PODS {
        let owner = format!("set-{}", number % OWNERS);
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "name": owner, "uid": owner, "controller": true,
        });
        let requests = json!({"cpu": "100m", "memory": "64Mi"});
        let pod: PodView = serde_json::from_value(json!({
            "metadata": {"name": format!("p-{number}"), "namespace": "default",
                "uid": format!("uid-{number}"), "ownerReferences": [owner]},
            "spec": {"containers": [{"resources": {"requests": requests}}]},
        }))?;
        pods.push(Arc::new(pod));
    }
    let start = std::time::Instant::now();
    let actions = scheduler.schedule_batch(&snapshot, &pods, Timestamp(0));
    let seconds = start.elapsed().as_secs_f64();
    let placed = actions.iter().filter(|action| matches!(action, Action::Bind { .. })).count();
    let rate = f64::from(u32::try_from(placed)?) / seconds;
    writeln!(std::io::stdout(), "placed {placed} pods on {NODES} nodes: {rate:.0} pods/s")?;
    Ok(())
}
