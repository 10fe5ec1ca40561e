//! Every deadline wakes the control loop, and none is kept secret.
//!
//! Nothing happens in these worlds but that time passes: until the deadline that was told the
//! controllers must want nothing, and from it on something.

use embassy_time::{Duration, Instant};
use serde_json::json;

use super::model::{CA, Model, NOW};
use super::*;
use crate::membership::{Arrival, Membership};
use bramble_shared::ids::{BootId, Incarnation, NodeId};

const NODE: &str = "/core/nodes/_/pi-1";
const POD: &str = "/core/pods/d/web";

/// A cluster that nobody touches.
struct Quiet {
    model: Model,
    membership: Membership,
    /// Membership's clock at `NOW`.
    start: Instant,
}

impl Quiet {
    fn new() -> Self {
        let mut model = Model::new();
        let ready = json!({"type": "Ready", "status": "True"});
        model.put(NODE, json!({"spec": {}, "status": {"conditions": [ready]}}));
        let mut membership = Membership::new(0);
        let start = Instant::from_secs(1_000);
        for node in 0..2 {
            membership.add(NodeId(node), &format!("pi-{node}"), false, false, start);
        }
        let mut quiet = Self { model, membership, start };
        quiet.beat(0, 1);
        quiet.beat(1, 1);
        quiet
    }

    /// A heartbeat of a node at the start.
    fn beat(&mut self, node: u16, sequence: u64) {
        let (boot, incarnation) = (BootId([1; 16]), Incarnation(1));
        let arrival = Arrival { boot, incarnation, sequence };
        self.membership.handle_heartbeat(NodeId(node), arrival, self.start);
    }

    fn outcome(&self, ms: i64) -> Outcome {
        let at = self.start + Duration::from_millis(u64::try_from(ms).unwrap());
        let world = World {
            snapshot: self.model.snapshot(),
            contacts: &self.membership.contacts(at),
            power: &BTreeMap::new(),
            root_ca: CA,
            now: Timestamp(NOW.0 + ms),
        };
        reconcile(&world)
    }

    /// Does all that is to be done now, and then looks at every moment up to the deadline.
    fn check(mut self, deadline_ms: i64) {
        for _ in 0..20 {
            let actions = self.outcome(0).actions;
            self.model.execute(actions);
        }
        assert_eq!(self.outcome(0).actions, [], "settled");
        let told = self.outcome(0).next_deadline.map(|at| at.0 - NOW.0);
        let told = told.expect("there is a deadline");
        assert!((deadline_ms..=deadline_ms + 1).contains(&told), "{told} ms, not {deadline_ms}");
        for ms in (0..deadline_ms).step_by(97).chain([deadline_ms - 1]) {
            assert_eq!(self.outcome(ms).actions, [], "nobody was told of {ms} ms");
        }
        assert_ne!(self.outcome(told).actions, [], "it has to be done at its deadline");
    }
}

#[test]
fn a_hold_for_flapping_ends() {
    let mut quiet = Quiet::new();
    let begin = quiet.start;
    // Node 1 dies and returns twice, the last time just now; node 0 is heard all the time.
    for ms in (50..=9_000).step_by(50) {
        quiet.start = begin + Duration::from_millis(ms);
        quiet.beat(0, 1 + ms);
        if !(2_000..4_000).contains(&ms) && !(6_000..9_000).contains(&ms) {
            quiet.beat(1, 1 + ms);
        }
        quiet.membership.handle_timeout(quiet.start);
    }
    let held = quiet.membership.contacts(quiet.start).changes_in.unwrap();
    quiet.check(i64::try_from(held.as_millis()).unwrap());
}

#[test]
fn a_doubt_about_our_own_network_ends() {
    let mut quiet = Quiet::new();
    quiet.membership.add(NodeId(2), "pi-2", false, false, quiet.start);
    quiet.membership.add(NodeId(3), "pi-3", false, false, quiet.start);
    let tolerant_of_nothing = json!({"spec": {"nodeName": "pi-1"}, "status": {"phase": "Running"}});
    quiet.model.put(POD, tolerant_of_nothing);
    let begin = quiet.start;
    quiet.beat(2, 1);
    quiet.beat(3, 1);
    for step in 1..=20 {
        quiet.start = begin + Duration::from_millis(step * 50);
        quiet.beat(3, 1 + step);
        quiet.membership.handle_timeout(quiet.start);
    }
    let left = quiet.membership.contacts(quiet.start).changes_in.unwrap();
    assert!(!quiet.membership.may_replace(quiet.start));
    quiet.check(i64::try_from(left.as_millis()).unwrap());
}

#[test]
fn a_toleration_ends() {
    let mut quiet = Quiet::new();
    let taint = json!({"key": "mine", "effect": "NoExecute", "timeAdded": NOW});
    quiet.model.merge(NODE, &json!({"spec": {"taints": [taint]}}));
    let toleration = json!({"key": "mine", "operator": "Exists", "tolerationSeconds": 20});
    let spec = json!({"nodeName": "pi-1", "tolerations": [toleration]});
    quiet.model.put(POD, json!({"spec": spec, "status": {"phase": "Running"}}));
    quiet.check(20_000);
}

fn deployment(min_ready_seconds: i32) -> serde_json::Value {
    let labels = json!({"app": "web"});
    let template = json!({
        "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a"}]},
    });
    json!({"spec": {
        "replicas": 1, "selector": {"matchLabels": labels}, "template": template,
        "minReadySeconds": min_ready_seconds,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }})
}

#[test]
fn a_roll_out_without_progress_is_late() {
    let mut quiet = Quiet::new();
    quiet.model.put("/apps/deployments/d/web", deployment(0));
    quiet.check(600_000);
}

#[test]
fn a_pod_is_ready_for_long_enough() {
    let mut quiet = Quiet::new();
    quiet.model.put("/apps/deployments/d/web", deployment(30));
    for _ in 0..20 {
        let actions = quiet.outcome(0).actions;
        quiet.model.execute(actions);
    }
    let pod = quiet.model.snapshot().pods().values().next().unwrap().meta.name.clone();
    quiet.model.make_ready(&format!("/core/pods/d/{pod}"), "pi-1");
    quiet.check(30_000);
}
