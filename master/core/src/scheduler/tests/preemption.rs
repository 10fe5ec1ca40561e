//! Important pods for which others have to go.

use super::*;

impl World {
    fn important(&mut self, name: &str, priority: i32, cpu: &str, node: Option<&str>, more: Value) {
        let requests = json!({"cpu": cpu});
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "priority": priority,
                "containers": [{"resources": {"requests": requests}}]},
        });
        merge(&mut pod, more);
        self.put(&format!("/core/pods/d/{name}"), &pod);
    }

    /// What a run wants: `evict a`, `nominate 1 n`, `bind 1 n`, and what is said of refusals.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other actions are not looked at")]
    fn wants(&mut self) -> Vec<String> {
        let text = |action| match action {
            Action::Evict { target, .. } => Some(format!("evict {}", target.name)),
            Action::Nominate { target, node, .. } => {
                Some(format!("nominate {} {}", target.name, node.as_deref().unwrap_or("nowhere")))
            }
            Action::Bind { target, node, .. } => Some(format!("bind {} {node}", target.name)),
            Action::Event { reason: "FailedScheduling", message, .. } => Some(message),
            _ => None,
        };
        self.run().into_iter().filter_map(text).collect()
    }
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return *into = from };
    for (key, value) in from {
        merge(&mut into[key], value);
    }
}

const SHORT: &str = "0/1 nodes are available: 1 Insufficient cpu.";

#[test]
fn a_less_important_pod_is_evicted_and_the_place_kept() {
    let mut world = World::new();
    world.node("n", "1");
    world.important("low", 0, "1", Some("n"), json!({}));
    world.important("high", 10, "1", None, json!({}));
    let actions = world.run();
    let evicted = actions.iter().find_map(|action| {
        let Action::Evict { target, reason, message, .. } = action else { return None };
        Some((&*target.name, *reason, &**message))
    });
    let message = "default-scheduler: preempting to accommodate a higher priority pod";
    assert_eq!(evicted, Some(("low", "PreemptionByScheduler", message)));
    let told = actions.iter().find_map(|action| {
        let Action::Event { involved, reason: "Preempted", message, .. } = action else {
            return None;
        };
        Some((&*involved.name, &**message))
    });
    assert_eq!(told, Some(("low", "Preempted by pod high on node n")));
    assert!(actions.iter().any(|action| matches!(action, Action::Nominate { node: Some(_), .. })));
    // The victim is going; another pod comes that the room would do for.
    world.important("low", 0, "1", Some("n"), json!({"metadata": {"deletionTimestamp": NOW}}));
    world.important("middle", 5, "1", None, json!({}));
    let wanted = format!("{SHORT} preemption: 0/1 nodes are available: 1 Insufficient cpu.");
    assert_eq!(world.wants(), [wanted]);
    world.remove("/core/pods/d/low");
    assert_eq!(world.wants()[0], "bind high n");
}

#[test]
fn nobody_else_is_evicted_while_victims_are_going() {
    let mut world = World::new();
    world.node("n", "2");
    world.important("a", 0, "1", Some("n"), json!({}));
    world.important("b", 0, "1", Some("n"), json!({}));
    world.important("high", 10, "1", None, json!({}));
    let first = world.wants();
    assert_eq!(first.iter().filter(|it| it.starts_with("evict")).count(), 1, "{first:?}");
    // Woken for another reason, before the eviction is seen.
    world.scheduler.queue.wake_all();
    let waits =
        format!("{SHORT} preemption: not eligible due to a terminating pod on the nominated node.");
    assert_eq!(world.wants(), ["nominate high n".to_owned(), waits]);
    // It failed: the next look may choose again.
    let victim = first.iter().find_map(|it| it.strip_prefix("evict ")).unwrap();
    world.scheduler.not_evicted(victim);
    assert_eq!(world.wants()[0], format!("evict {victim}"));
}

#[test]
fn who_cannot_or_may_not_says_so() {
    let check = |priority: i32, cpu: &str, more: Value, wanted: &str| {
        let mut world = World::new();
        world.node("n", "1");
        world.important("other", 10, "1", Some("n"), json!({}));
        world.important("pod", priority, cpu, None, more);
        assert_eq!(world.wants(), [format!("{SHORT} preemption: {wanted}")]);
    };
    let nobody = "0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    check(10, "1", json!({}), nobody);
    let hopeless = "0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    check(20, "2", json!({}), hopeless);
    let never = json!({"spec": {"preemptionPolicy": "Never"}});
    check(20, "1", never, "not eligible due to preemptionPolicy=Never.");
}

#[test]
fn the_least_harm_is_done() {
    let mut world = World::new();
    for node in ["a", "b", "c"] {
        world.node(node, "1");
    }
    world.important("a1", 3, "1", Some("a"), json!({}));
    world.important("b1", 2, "500m", Some("b"), json!({}));
    world.important("b2", 2, "500m", Some("b"), json!({}));
    world.important("c1", 2, "600m", Some("c"), json!({}));
    world.important("c2", 1, "400m", Some("c"), json!({}));
    world.important("high", 10, "1", None, json!({}));
    let wants = world.wants();
    assert_eq!(wants[..3], ["evict c1", "evict c2", "nominate high c"], "{wants:?}");
}

#[test]
fn no_more_pods_go_than_must_and_the_more_important_stay() {
    let mut world = World::new();
    world.node("n", "3");
    world.important("a", 1, "1", Some("n"), json!({}));
    world.important("b", 2, "1", Some("n"), json!({}));
    world.important("c", 3, "1", Some("n"), json!({}));
    world.important("high", 10, "2", None, json!({}));
    let evicted: Vec<_> = world.wants().into_iter().filter(|it| it.starts_with("evict")).collect();
    assert_eq!(evicted, ["evict b", "evict a"]);
}

#[test]
fn a_budget_is_kept_where_others_can_go() {
    let check = |allowed: i64, wanted: &str| {
        let mut world = World::new();
        world.node("n", "2");
        world.important("kept", 1, "1", Some("n"), json!({}));
        world.important("other", 2, "1", Some("n"), json!({}));
        let budget = json!({
            "metadata": {"name": "b", "namespace": "d", "uid": "b"},
            "spec": {"selector": {"matchLabels": {"app": "kept"}}},
            "status": {"disruptionsAllowed": allowed},
        });
        world.put("/policy/poddisruptionbudgets/d/b", &budget);
        world.important("high", 10, "1", None, json!({}));
        assert_eq!(world.wants()[0], wanted);
    };
    check(1, "evict kept");
    check(0, "evict other");
}

#[test]
fn pods_that_are_not_borne_can_be_made_to_go() {
    let mut world = World::new();
    world.node("n", "4");
    let labels = json!({"kubernetes.io/hostname": "n"});
    let allocatable = json!({"cpu": "4", "memory": "1Gi", "pods": "110"});
    let node = json!({"metadata": {"name": "n", "uid": "n", "labels": labels}, "status": {"allocatable": allocatable}});
    world.put("/core/nodes/_/n", &node);
    let term = json!({"labelSelector": {"matchLabels": {"app": "low"}}, "topologyKey": "kubernetes.io/hostname"});
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
    world.important("low", 0, "1", Some("n"), json!({}));
    world.important("stays", 0, "1", Some("n"), json!({}));
    let away = json!({"spec": {"affinity": {"podAntiAffinity": required}}});
    world.important("high", 10, "1", None, away);
    assert_eq!(world.wants()[..2], ["evict low", "nominate high n"]);
}

#[test]
fn a_less_important_pod_loses_the_room_that_was_made_for_it() {
    let mut world = World::new();
    world.node("n", "1");
    world.important("low", 0, "1", Some("n"), json!({}));
    world.important("middle", 5, "1", None, json!({}));
    assert_eq!(world.wants()[..2], ["evict low", "nominate middle n"]);
    world.important("high", 10, "1", None, json!({}));
    let wants = world.wants();
    assert!(wants.contains(&"nominate middle nowhere".to_owned()), "{wants:?}");
    assert!(wants.contains(&"nominate high n".to_owned()), "{wants:?}");
    world.remove("/core/pods/d/low");
    assert!(world.wants().contains(&"bind high n".to_owned()));
}

proptest! {
    /// Whatever is asked while room is sought, the counts are as before.
    #[test]
    fn seeking_room_leaves_no_trace(pods in prop::collection::vec((0_i32..4, 100_u16..900, 0_usize..3), 1..20)) {
        let mut world = World::new();
        for node in ["n0", "n1", "n2"] {
            world.node(node, "1");
        }
        for ((priority, cpu, node), number) in pods.into_iter().zip(0..) {
            let node = (number % 2 == 0).then(|| format!("n{node}"));
            world.important(&format!("p{number}"), priority, &format!("{cpu}m"), node.as_deref(), json!({}));
            let _ = world.run();
            for info in world.scheduler.cluster.nodes() {
                let held: i64 = info.pods().map(|pod| pod.requests.cpu_milli).sum();
                prop_assert_eq!(info.requested.cpu_milli, held);
            }
        }
    }
}
