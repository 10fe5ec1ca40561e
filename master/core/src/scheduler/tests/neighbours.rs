//! Pods that want others near or away, and pods that are to be spread.

use super::*;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

impl World {
    /// A node in a zone, with its name as a label.
    fn zoned(&mut self, name: &str, zone: &str) {
        let allocatable = json!({"cpu": "4", "memory": "4Gi", "pods": "110"});
        let labels = json!({"kubernetes.io/hostname": name, "zone": zone});
        let node = json!({"metadata": {"name": name, "uid": name, "labels": labels},
            "status": {"allocatable": allocatable}});
        self.put(&format!("/core/nodes/_/{name}"), &node);
    }

    fn labelled(&mut self, name: &str, app: &str, node: Option<&str>, spec: Value) {
        self.in_namespace("d", name, app, node, spec);
    }

    fn in_namespace(
        &mut self,
        namespace: &str,
        name: &str,
        app: &str,
        node: Option<&str>,
        mut spec: Value,
    ) {
        spec["nodeName"] = json!(node);
        let metadata =
            json!({"name": name, "namespace": namespace, "uid": name, "labels": {"app": app}});
        let pod = json!({"metadata": metadata, "spec": spec});
        self.put(&format!("/core/pods/{namespace}/{name}"), &pod);
    }

    fn message(&mut self) -> String {
        self.messages().join("; ")
    }

    /// Binds what is found a node, as the shell does, and returns the nodes.
    fn bind(&mut self, app: &str, spec: &Value) -> Vec<String> {
        let bound = self.bindings();
        for (pod, node) in &bound {
            self.labelled(pod, app, Some(node), spec.clone());
        }
        bound.into_iter().map(|(_, node)| node).collect()
    }
}

fn term(app: &str, near: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": near})
}

fn near(terms: Value) -> Value {
    json!({"affinity": {"podAffinity": {REQUIRED: terms}}})
}

fn away(terms: Value) -> Value {
    json!({"affinity": {"podAntiAffinity": {REQUIRED: terms}}})
}

#[test]
fn pods_that_need_another_go_where_it_is() {
    let mut world = World::new();
    for (node, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
        world.zoned(node, zone);
    }
    world.labelled("1", "web", None, near(json!([term("db", "zone")])));
    assert_eq!(
        world.message(),
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    );
    world.labelled("db", "db", Some("c"), json!({}));
    assert_eq!(world.bindings(), [("1".to_owned(), "c".to_owned())]);
}

#[test]
fn the_first_of_pods_that_need_each_other_may_go_anywhere() {
    let mut world = World::new();
    for (node, zone) in [("a", "1"), ("b", "2")] {
        world.zoned(node, zone);
    }
    let spec = near(json!([term("web", "zone")]));
    for name in ["1", "2", "3"] {
        world.labelled(name, "web", None, spec.clone());
    }
    let nodes = world.bind("web", &spec);
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
}

#[test]
fn one_pod_must_be_what_all_terms_mean() {
    let mut world = World::new();
    world.zoned("a", "1");
    world.labelled("db", "db", Some("a"), json!({}));
    world.labelled("1", "web", None, near(json!([term("db", "zone"), term("cache", "zone")])));
    assert_eq!(world.bindings(), []);
}

#[test]
fn pods_that_do_not_bear_each_other_are_kept_apart() {
    let mut world = World::new();
    for node in ["a", "b"] {
        world.zoned(node, "1");
    }
    let spec = away(json!([term("web", "kubernetes.io/hostname")]));
    for name in ["1", "2", "3"] {
        world.labelled(name, "web", None, spec.clone());
    }
    let actions = world.run();
    let nodes: BTreeSet<_> = actions
        .iter()
        .filter_map(|it| if let Action::Bind { node, .. } = it { Some(&**node) } else { None })
        .collect();
    assert_eq!(nodes, BTreeSet::from(["a", "b"]));
    let told = actions.iter().find_map(|it| {
        let Action::Event { reason: "FailedScheduling", message, .. } = it else { return None };
        message.split(" preemption: ").next()
    });
    let wanted = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(told, Some(wanted));
}

#[test]
fn what_placed_pods_do_not_bear_stays_away_until_they_go() {
    let mut world = World::new();
    world.zoned("a", "1");
    world.labelled("db", "db", Some("a"), away(json!([term("web", "zone")])));
    world.labelled("1", "web", None, json!({}));
    let wanted =
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.";
    assert_eq!(world.message(), wanted);
    world.remove("/core/pods/d/db");
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn namespaces_are_the_pods_own_or_named_or_selected_and_may_change() {
    let mut world = World::new();
    world.zoned("a", "1");
    world.in_namespace("other", "db", "db", Some("a"), json!({}));
    world.labelled("own", "web", None, away(json!([term("db", "zone")])));
    assert_eq!(world.bindings().len(), 1, "it is in another namespace");
    let mut named = term("db", "zone");
    named["namespaces"] = json!(["other"]);
    world.labelled("named", "web", None, away(json!([named])));
    let mut selected = term("db", "zone");
    selected["namespaceSelector"] = json!({"matchLabels": {"team": "x"}});
    world.labelled("selected", "web", None, near(json!([selected])));
    assert_eq!(world.bindings(), []);
    let namespace = json!({"metadata": {"name": "other", "labels": {"team": "x"}}});
    world.put("/core/namespaces/_/other", &namespace);
    assert_eq!(world.bindings(), [("selected".to_owned(), "a".to_owned())]);
}

#[test]
fn label_keys_stand_for_the_pods_own_values() {
    let mut world = World::new();
    for node in ["a", "b"] {
        world.zoned(node, node);
    }
    let mut term = json!({"labelSelector": {}, "topologyKey": "zone"});
    term["matchLabelKeys"] = json!(["app"]);
    world.labelled("old", "one", Some("a"), json!({}));
    world.labelled("new", "two", None, away(json!([term.clone()])));
    world.labelled("same", "one", None, away(json!([term.clone()])));
    term["matchLabelKeys"] = json!([]);
    term["mismatchLabelKeys"] = json!(["app"]);
    world.labelled("unlike", "three", None, away(json!([term])));
    let bound: BTreeMap<String, String> = world.bindings().into_iter().collect();
    assert!(bound.contains_key("new"), "another app does not count");
    assert_eq!(bound.get("same").map(String::as_str), Some("b"));
    assert!(!bound.contains_key("unlike"), "{bound:?}");
}

#[test]
fn wishes_draw_and_push_and_those_of_placed_pods_count() {
    let wish = |half: &str, app: &str| {
        let weighted = json!([{"weight": 100, "podAffinityTerm": term(app, "zone")}]);
        json!({"affinity": {half: {PREFERRED: weighted}}})
    };
    let check = |placed: Value, pending: Value, wanted: &str| {
        let mut world = World::new();
        for node in ["a", "b"] {
            world.zoned(node, node);
        }
        world.labelled("db", "db", Some("a"), placed);
        world.labelled("1", "web", None, pending);
        assert_eq!(world.bindings(), [("1".to_owned(), wanted.to_owned())]);
    };
    check(json!({}), wish("podAffinity", "db"), "a");
    check(json!({}), wish("podAntiAffinity", "db"), "b");
    check(wish("podAffinity", "web"), json!({}), "a");
    check(wish("podAntiAffinity", "web"), json!({}), "b");
    check(near(json!([term("web", "zone")])), json!({}), "a");
}

fn spread(fields: Value) -> Value {
    let mut constraint = json!({
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    });
    constraint.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"topologySpreadConstraints": [constraint]})
}

#[test]
fn places_are_filled_evenly() {
    let mut world = World::new();
    for (node, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
        world.zoned(node, zone);
    }
    let spec = spread(json!({}));
    for name in ["1", "2", "3", "4"] {
        world.labelled(name, "web", None, spec.clone());
    }
    let nodes = world.bind("web", &spec);
    assert_eq!(nodes.iter().filter(|node| *node == "c").count(), 2, "{nodes:?}");
    assert_eq!(nodes.len(), 4);
}

#[test]
fn a_place_that_would_be_too_full_is_refused_and_a_node_without_place_too() {
    let mut world = World::new();
    world.zoned("a", "1");
    world.zoned("b", "2");
    world.node("c", "4");
    let cordoned = json!({"metadata": {"name": "b", "labels": {"zone": "2"}}, "spec": {"unschedulable": true}});
    world.put("/core/nodes/_/b", &cordoned);
    world.labelled("1", "web", Some("a"), json!({}));
    world.labelled("2", "web", None, spread(json!({})));
    assert_eq!(
        world.message(),
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, \
         1 node(s) didn't match pod topology spread constraints (missing required label), \
         1 node(s) were unschedulable."
    );
    // A pod that is going away does not count.
    let metadata = json!({"name": "1", "namespace": "d", "uid": "1", "labels": {"app": "web"}, "deletionTimestamp": NOW});
    world.put("/core/pods/d/1", &json!({"metadata": metadata, "spec": {"nodeName": "a"}}));
    assert_eq!(world.bindings(), [("2".to_owned(), "a".to_owned())]);
}

#[test]
fn excluded_nodes_make_no_place_unless_the_policy_says_so() {
    let check = |fields: Value, wanted: usize| {
        let mut world = World::new();
        world.zoned("a", "1");
        world.zoned("b", "2");
        world.labelled("1", "web", Some("a"), json!({}));
        let mut spec = spread(fields);
        spec["nodeSelector"] = json!({"zone": "1"});
        world.labelled("2", "web", None, spec);
        assert_eq!(world.bindings().len(), wanted);
    };
    check(json!({}), 1);
    check(json!({"nodeAffinityPolicy": "Ignore"}), 0);
    // With one place of two wanted, the emptiest counts as empty.
    check(json!({"minDomains": 2}), 0);
}

#[test]
fn taints_make_no_place_if_the_policy_says_so() {
    let check = |policy: &str, wanted: usize| {
        let mut world = World::new();
        world.zoned("a", "1");
        let taint = json!({"key": "x", "effect": "NoSchedule"});
        let tainted = json!({"metadata": {"name": "b", "labels": {"zone": "2"}}, "spec": {"taints": [taint]}});
        world.put("/core/nodes/_/b", &tainted);
        world.labelled("1", "web", Some("a"), json!({}));
        world.labelled("2", "web", None, spread(json!({"nodeTaintsPolicy": policy})));
        assert_eq!(world.bindings().len(), wanted);
    };
    check("Ignore", 0);
    check("Honor", 1);
}

#[test]
fn a_wish_to_be_spread_prefers_the_emptier_place_but_never_refuses() {
    let mut world = World::new();
    for (node, zone) in [("a", "1"), ("b", "2")] {
        world.zoned(node, zone);
    }
    let spec = spread(json!({"whenUnsatisfiable": "ScheduleAnyway"}));
    world.labelled("0", "web", Some("a"), json!({}));
    world.labelled("1", "web", None, spec.clone());
    assert_eq!(world.bind("web", &spec), ["b"]);
    let cordoned = json!({"metadata": {"name": "b", "labels": {"zone": "2"}}, "spec": {"unschedulable": true}});
    world.put("/core/nodes/_/b", &cordoned);
    world.labelled("2", "web", None, spec.clone());
    assert_eq!(world.bind("web", &spec), ["a"]);
}

#[test]
fn a_pod_that_names_its_node_asks_no_other() {
    let mut world = World::new();
    for node in ["a", "b", "c"] {
        world.node(node, "1");
    }
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["b"]});
    let terms = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
    let spec = json!({"affinity": {"nodeAffinity": {REQUIRED: terms}}});
    world.labelled("1", "agent", None, spec.clone());
    assert_eq!(world.bind("agent", &spec), ["b"]);
    let mut large = spec;
    large["containers"] = json!([{"resources": {"requests": {"cpu": "2"}}}]);
    world.labelled("2", "agent", None, large);
    assert_eq!(
        world.message(),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    );
}

/// Counts from nothing what the cluster counted as it went.
fn recounted(world: &World) -> Vec<(i64, Vec<i64>)> {
    let groups = world.scheduler.cluster.groups();
    let names = world.scheduler.cluster.namespaces();
    (0..groups.len())
        .filter_map(|id| groups.get(id))
        .map(|group| {
            let mut counts = vec![0; group.counts.len().max(3)];
            for placement in world.scheduler.placements.values() {
                let node = world.scheduler.cluster.index_of(&placement.node).unwrap();
                counts[node] += i64::from(group.matcher.matches(&placement.pod, names));
            }
            (counts.iter().sum(), counts)
        })
        .collect()
}

proptest! {
    #[test]
    fn counts_of_groups_follow_the_pods(steps in prop::collection::vec((0_u8..8, 0_u8..4, 0_u8..6), 1..80)) {
        let mut world = World::new();
        for (node, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
            world.zoned(node, zone);
        }
        for (name, app, kind) in steps {
            let (name, app) = (format!("p{name}"), format!("app{app}"));
            let spec = match kind {
                0 => json!({}),
                1 => away(json!([term(&app, "kubernetes.io/hostname")])),
                2 => near(json!([term("app0", "zone")])),
                3 => spread(json!({})),
                4 => {
                    world.remove(&format!("/core/pods/d/{name}"));
                    continue;
                }
                _ => {
                    for (pod, node) in world.bindings() {
                        let view = world.snapshot.pods().get(&ObjectKey::new("d", &pod)).unwrap();
                        let app = view.meta.labels.get("app").unwrap().to_owned();
                        world.labelled(&pod, &app, Some(&node), json!({}));
                    }
                    continue;
                }
            };
            world.labelled(&name, &app, None, spec);
            let _ = world.run();
            let groups = world.scheduler.cluster.groups();
            let counted: Vec<_> = (0..groups.len()).filter_map(|id| groups.get(id)).map(|group| {
                let mut counts = group.counts.clone();
                counts.resize(3, 0);
                (group.total, counts)
            }).collect();
            prop_assert_eq!(counted, recounted(&world));
        }
    }
}
