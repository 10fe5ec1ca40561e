//! The scheduler as a whole: choice of nodes, assumed pods, reports and over-commitment.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod neighbours;
mod preemption;
mod volumes;

const NOW: Timestamp = Timestamp(1_000_000);

struct World {
    snapshot: Snapshot,
    scheduler: Scheduler,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let mut snapshot = Snapshot::new();
        snapshot.synced = true;
        Self { snapshot, scheduler: Scheduler::new(), revision: 0 }
    }

    fn put(&mut self, key: &str, object: &Value) {
        self.revision += 1;
        let bytes = serde_json::to_vec(object).unwrap();
        let changed = self.snapshot.apply(key, Some(&bytes), self.revision).unwrap();
        self.scheduler.update(&self.snapshot, &changed);
    }

    fn remove(&mut self, key: &str) {
        self.revision += 1;
        let changed = self.snapshot.apply(key, None, self.revision).unwrap();
        self.scheduler.update(&self.snapshot, &changed);
    }

    fn node(&mut self, name: &str, cpu: &str) {
        let allocatable = json!({"cpu": cpu, "memory": "1Gi", "pods": "110"});
        let metadata = json!({"name": name, "uid": name});
        let node = json!({"metadata": metadata, "status": {"allocatable": allocatable}});
        self.put(&format!("/core/nodes/_/{name}"), &node);
    }

    fn pod(&mut self, name: &str, cpu: &str, node: Option<&str>) {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "s", "controller": true});
        let requests = json!({"cpu": cpu});
        let pod = json!({
            "metadata": {"name": name, "namespace": "d", "uid": name, "ownerReferences": [owner]},
            "spec": {"nodeName": node, "containers": [{"resources": {"requests": requests}}]},
        });
        self.put(&format!("/core/pods/d/{name}"), &pod);
    }

    fn run(&mut self) -> Vec<Action> {
        self.scheduler.reconcile(&self.snapshot, NOW)
    }

    fn bindings(&mut self) -> Vec<(String, String)> {
        let bound = |action| {
            let Action::Bind { target, node, .. } = action else { return None };
            Some((target.name.to_string(), node.to_string()))
        };
        self.run().into_iter().filter_map(bound).collect()
    }

    /// What events say, without what they say about preemption.
    fn messages(&mut self) -> Vec<String> {
        let message = |action| {
            let Action::Event { message, .. } = action else { return None };
            Some(message.split(" preemption: ").next().unwrap_or_default().to_owned())
        };
        self.run().into_iter().filter_map(message).collect()
    }
}

#[test]
fn pods_of_one_owner_are_spread() {
    let mut world = World::new();
    for node in ["a", "b", "c"] {
        world.node(node, "4");
    }
    for pod in ["1", "2", "3"] {
        world.pod(pod, "100m", None);
    }
    let mut nodes: Vec<_> = world.bindings().into_iter().map(|(_, node)| node).collect();
    nodes.sort();
    assert_eq!(nodes, ["a", "b", "c"]);
}

#[test]
fn an_assumed_pod_is_not_decided_twice_and_holds_its_room() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "800m", None);
    assert_eq!(world.bindings().len(), 1);
    world.pod("2", "800m", None);
    assert_eq!(world.messages(), ["0/1 nodes are available: 1 Insufficient cpu."]);
}

#[test]
fn a_refused_binding_is_decided_again() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "800m", None);
    assert_eq!(world.bindings().len(), 1);
    // The pod changed in another way, so the binding was decided on an old version.
    world.pod("1", "800m", None);
    assert_eq!(world.bindings().len(), 1);
    world.scheduler.forget("1");
    assert_eq!(world.bindings().len(), 1);
    let deadline = world.scheduler.next_deadline().unwrap();
    assert_eq!(world.scheduler.reconcile(&world.snapshot, deadline).len(), 2);
}

#[test]
fn reasons_are_counted_as_upstream_does() {
    let mut world = World::new();
    for node in ["a", "b", "c"] {
        world.node(node, "1");
    }
    let node = json!({"metadata": {"name": "c"}, "spec": {"unschedulable": true}});
    world.put("/core/nodes/_/c", &node);
    world.pod("1", "2", None);
    let wanted = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.";
    assert_eq!(world.messages(), [wanted]);
}

#[test]
fn without_nodes_the_report_says_so() {
    let mut world = World::new();
    world.pod("1", "1", None);
    assert_eq!(world.messages(), ["no nodes available to schedule pods"]);
}

#[test]
fn a_report_is_not_repeated_until_it_changes() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "2", None);
    let actions = world.run();
    let Some(Action::SetConditions { conditions, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!(world.run(), [], "nothing has changed");
    let pod = json!({
        "metadata": {"name": "1", "namespace": "d", "uid": "1"},
        "spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]},
        "status": {"conditions": conditions},
    });
    world.put("/core/pods/d/1", &pod);
    world.node("a", "1500m");
    assert_eq!(world.run(), [], "it would say the same");
    world.node("b", "1");
    assert_eq!(world.messages(), ["0/2 nodes are available: 2 Insufficient cpu."]);
    world.node("b", "2");
    assert_eq!(world.bindings(), [("1".to_owned(), "b".to_owned())]);
}

#[test]
fn room_of_a_removed_or_ended_pod_is_given_again() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "1", Some("a"));
    world.pod("2", "1", None);
    assert_eq!(world.bindings(), []);
    world.remove("/core/pods/d/1");
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn a_gated_pod_waits_and_says_so() {
    let mut world = World::new();
    world.node("a", "1");
    let spec = json!({"schedulingGates": [{"name": "g"}]});
    world.put("/core/pods/d/1", &json!({"metadata": {"uid": "1"}, "spec": spec}));
    let actions = world.run();
    let [Action::SetConditions { conditions, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(conditions[0].reason.as_deref(), Some("SchedulingGated"));
}

#[test]
fn the_more_important_pod_gets_the_last_room() {
    let mut world = World::new();
    world.node("a", "1");
    for (name, priority) in [("1", 0), ("2", 10)] {
        let containers = json!([{"resources": {"requests": {"cpu": "1"}}}]);
        let spec = json!({"priority": priority, "containers": containers});
        let object = json!({"metadata": {"uid": name}, "spec": spec});
        world.put(&format!("/core/pods/d/{name}"), &object);
    }
    assert_eq!(world.bindings(), [("2".to_owned(), "a".to_owned())]);
}

#[test]
fn pods_of_another_scheduler_are_left_alone() {
    let mut world = World::new();
    world.node("a", "1");
    let spec = json!({"schedulerName": "mine"});
    world.put("/core/pods/d/1", &json!({"metadata": {"uid": "1"}, "spec": spec}));
    assert_eq!(world.run(), []);
}

#[test]
fn a_toleration_added_to_a_refused_pod_is_followed_at_once() {
    let mut world = World::new();
    let taint = json!({"key": "a", "effect": "NoSchedule"});
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "110"});
    let node = json!({"metadata": {"name": "a"}, "spec": {"taints": [taint]}, "status": {"allocatable": allocatable}});
    world.put("/core/nodes/_/a", &node);
    let pod = |tolerations: Value| {
        let metadata = json!({"name": "1", "namespace": "d", "uid": "1"});
        json!({"metadata": metadata, "spec": {"tolerations": tolerations}})
    };
    world.put("/core/pods/d/1", &pod(json!([])));
    let wanted = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
    assert_eq!(world.messages(), [wanted]);
    world.put("/core/pods/d/1", &pod(json!([{"key": "a", "operator": "Exists"}])));
    assert_eq!(world.bindings(), [("1".to_owned(), "a".to_owned())]);
}

#[test]
fn only_a_change_that_could_help_wakes_a_refused_pod() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "1", Some("a"));
    world.pod("2", "500m", None);
    assert_eq!(world.messages().len(), 1);
    let ready = |world: &World| world.scheduler.queue.ready("2", NOW);
    // Labels are nothing that room was refused for.
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "110"});
    let metadata = json!({"name": "a", "uid": "a", "labels": {"x": "y"}});
    let node = json!({"metadata": metadata, "status": {"allocatable": allocatable}});
    world.put("/core/nodes/_/a", &node);
    assert!(!ready(&world));
    // It gets smaller, but there is not enough room yet.
    world.pod("1", "800m", Some("a"));
    assert!(!ready(&world));
    world.pod("1", "500m", Some("a"));
    assert!(ready(&world));
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn a_pod_that_is_woken_in_vain_waits_longer_each_time() {
    let mut world = World::new();
    world.node("a", "1");
    world.pod("1", "2", None);
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let _ = world.scheduler.reconcile(&world.snapshot, now);
        assert!(
            !world.scheduler.queue.ready("1", Timestamp(now.0 + queue::UNSCHEDULABLE_MAX_MS - 1))
        );
        world.scheduler.queue.wake_all();
        let due = world.scheduler.next_deadline().unwrap();
        waits.push(due.0 - now.0);
        now = due;
    }
    assert_eq!(waits, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
}

#[derive(Clone, Debug)]
enum Step {
    Pod(u8, u16),
    Remove(u8),
    Node(u8, u16),
    Bind,
    Rebuild,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..12, 100_u16..900).prop_map(|(pod, cpu)| Step::Pod(pod, cpu)),
        (0_u8..12).prop_map(Step::Remove),
        (0_u8..3, 1000_u16..3000).prop_map(|(node, cpu)| Step::Node(node, cpu)),
        Just(Step::Bind),
        Just(Step::Rebuild),
    ]
}

proptest! {
    #[test]
    fn no_node_is_ever_over_committed(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for node in 0..3 {
            world.node(&format!("n{node}"), "1");
        }
        let mut next = 0;
        let mut live: BTreeMap<u8, (String, u16)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pod(slot, cpu) if !live.contains_key(&slot) => {
                    next += 1;
                    world.pod(&format!("p{next}"), &format!("{cpu}m"), None);
                    live.insert(slot, (format!("p{next}"), cpu));
                }
                Step::Pod(..) => {}
                Step::Remove(slot) => {
                    if let Some((name, _)) = live.remove(&slot) {
                        world.remove(&format!("/core/pods/d/{name}"));
                    }
                }
                // Only growth: a node that shrinks may well be over-committed.
                Step::Node(node, cpu) => {
                    let name = format!("n{node}");
                    let present = world.snapshot.node(&name).unwrap().allocatable.cpu_milli;
                    let cpu = present.max(i64::from(cpu));
                    world.node(&name, &format!("{cpu}m"));
                }
                Step::Bind => {
                    for (pod, node) in world.bindings() {
                        let cpu = live.values().find(|(name, _)| *name == pod).unwrap().1;
                        world.pod(&pod, &format!("{cpu}m"), Some(&node));
                    }
                }
                Step::Rebuild => world.scheduler.rebuild(&world.snapshot),
            }
            for node in world.snapshot.nodes().values() {
                let pods = world.snapshot.pods_on(&node.meta.name);
                let used: i64 = pods.map(|pod| pod.requests.cpu_milli).sum();
                prop_assert!(used <= node.allocatable.cpu_milli);
            }
            for info in world.scheduler.cluster.nodes() {
                let name = &info.node.meta.name;
                let held = world.scheduler.placements.values().filter(|it| it.node == *name);
                let held: i64 = held.map(|it| it.pod.requests.cpu_milli).sum();
                prop_assert_eq!(info.requested.cpu_milli, held, "sums follow the pods");
            }
        }
    }
}
