//! What the index allows is what a plain reading of all roles and bindings allows.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Reads every binding and every rule for each question, and does nothing cleverly.
mod reference {
    use super::*;

    pub(super) fn allows(
        objects: &BTreeMap<String, Value>,
        user: &User,
        asked: &Attributes,
    ) -> bool {
        objects.iter().any(|(key, binding)| {
            let parts: Vec<&str> = key.split('/').collect();
            let (plural, namespace) = (parts[2], parts[3]);
            let here = match plural {
                "clusterrolebindings" => true,
                "rolebindings" => namespace == asked.namespace,
                _ => false,
            };
            let role = &binding["roleRef"];
            let role_key = match role["kind"].as_str() {
                Some("ClusterRole") => format!("/{GROUP}/clusterroles/_/{}", text(&role["name"])),
                Some("Role") if plural == "rolebindings" => {
                    format!("/{GROUP}/roles/{namespace}/{}", text(&role["name"]))
                }
                _ => return false,
            };
            here && items(&binding["subjects"]).any(|subject| is(subject, user))
                && objects
                    .get(&role_key)
                    .is_some_and(|role| items(&role["rules"]).any(|rule| matches(rule, asked)))
        })
    }

    fn is(subject: &Value, user: &User) -> bool {
        let name = text(&subject["name"]);
        match subject["kind"].as_str() {
            Some("User") => user.name == name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = text(&subject["namespace"]);
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    }

    fn matches(rule: &Value, asked: &Attributes) -> bool {
        let has = |field: &str, wanted: &str| items(&rule[field]).any(|it| text(it) == wanted);
        if !has("verbs", "*") && !has("verbs", &asked.verb) {
            return false;
        }
        if !asked.path.is_empty() {
            return items(&rule["nonResourceURLs"]).any(|it| {
                let mut pattern = text(it).to_owned();
                if pattern == asked.path {
                    return true;
                }
                if !pattern.ends_with('*') {
                    return false;
                }
                while pattern.ends_with('*') {
                    pattern.pop();
                }
                asked.path.starts_with(&pattern)
            });
        }
        let whole = if asked.subresource.is_empty() {
            asked.resource.clone()
        } else {
            format!("{}/{}", asked.resource, asked.subresource)
        };
        let any_of_part = format!("*/{}", asked.subresource);
        (has("apiGroups", "*") || has("apiGroups", &asked.group))
            && (has("resources", "*")
                || has("resources", &whole)
                || (!asked.subresource.is_empty() && has("resources", &any_of_part)))
            && (items(&rule["resourceNames"]).count() == 0 || has("resourceNames", &asked.name))
    }

    fn items(list: &Value) -> impl Iterator<Item = &Value> {
        list.as_array().into_iter().flatten()
    }

    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or("")
    }
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let word = proptest::sample::select(words).prop_map(str::to_owned);
    proptest::collection::vec(word, 0..3)
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

const VERBS: &[&str] = &["get", "list", "create", "*", "escalate"];
const GROUPS: &[&str] = &["", "apps", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "*/log", "*", "*/", "pods/", "/log", "*/*", "log"];
const NAMES: &[&str] = &["a", "b", "", "*"];
const PATHS: &[&str] = &["/a", "/a/*", "*", "/a*", "/", "//a", "/a/..", "/a/**", "a"];
const NAMESPACES: &[&str] = &["d", "e"];
const USERS: &[&str] = &["eve", "system:serviceaccount:d:a", "system:anonymous", "", "g"];
const OF_USERS: &[&str] = &["g", "system:authenticated", "eve"];

fn any_rule() -> impl Strategy<Value = Value> {
    (some_of(VERBS), some_of(GROUPS), some_of(RESOURCES), some_of(NAMES), some_of(PATHS)).prop_map(
        |(verbs, groups, resources, names, paths)| {
            json!({"verbs": verbs, "apiGroups": groups, "resources": resources,
                "resourceNames": names, "nonResourceURLs": paths})
        },
    )
}

fn any_role() -> impl Strategy<Value = (String, Value)> {
    let rules = proptest::collection::vec(any_rule(), 0..3);
    (any::<bool>(), one_of(NAMESPACES), one_of(&["r", "s"]), rules).prop_map(
        |(cluster, namespace, name, rules)| {
            let key = if cluster {
                format!("/{GROUP}/clusterroles/_/{name}")
            } else {
                format!("/{GROUP}/roles/{namespace}/{name}")
            };
            (key, json!({"metadata": {"name": name}, "rules": rules}))
        },
    )
}

fn any_subject() -> impl Strategy<Value = Value> {
    let kind = one_of(&["User", "Group", "ServiceAccount", "Robot"]);
    (kind, one_of(&["eve", "g", "a", "system:authenticated"]), one_of(NAMESPACES)).prop_map(
        |(kind, name, namespace)| match kind.as_str() {
            "ServiceAccount" => json!({"kind": kind, "name": name, "namespace": namespace}),
            _ => json!({"kind": kind, "name": name}),
        },
    )
}

fn any_binding() -> impl Strategy<Value = (String, Value)> {
    let subjects = proptest::collection::vec(any_subject(), 0..3);
    let role = (one_of(&["Role", "ClusterRole", "Rule"]), one_of(&["r", "s", "t"]));
    (any::<bool>(), one_of(NAMESPACES), one_of(&["x", "y"]), subjects, role).prop_map(
        |(cluster, namespace, name, subjects, (kind, role))| {
            let key = if cluster {
                format!("/{GROUP}/clusterrolebindings/_/{name}")
            } else {
                format!("/{GROUP}/rolebindings/{namespace}/{name}")
            };
            let role = json!({"kind": kind, "name": role, "apiGroup": GROUP});
            (key, json!({"subjects": subjects, "roleRef": role}))
        },
    )
}

fn any_question() -> impl Strategy<Value = Attributes> {
    let object = (
        one_of(&["get", "list", "create", "delete", "", "*"]),
        one_of(&["", "apps", "other"]),
        one_of(&["pods", "log", "", "*"]),
        one_of(&["", "log", "status", "*"]),
        one_of(&["", "d", "e", "*"]),
        one_of(&["", "a", "b", "*"]),
    )
        .prop_map(|(verb, group, resource, subresource, namespace, name)| Attributes {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            version: "v1".to_owned(),
            ..Attributes::default()
        });
    let path = (one_of(&["get", "post", "*"]), one_of(&["/", "/a", "/a/b", "/a/..", "//a", "/A"]))
        .prop_map(|(verb, path)| Attributes::of_path(&verb, &path));
    prop_oneof![3 => object, 1 => path]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn index_allows_what_a_plain_reading_allows(
        entries in proptest::collection::vec(prop_oneof![any_role(), any_binding()], 0..12),
        gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        name in one_of(USERS),
        groups in some_of(OF_USERS),
        questions in proptest::collection::vec(any_question(), 1..24),
    ) {
        let (mut index, mut objects) = (Rbac::default(), BTreeMap::new());
        for (key, object) in &entries {
            index.apply(key, Some(object.to_string().as_bytes()));
            objects.insert(key.clone(), object.clone());
        }
        for which in gone.iter().filter(|_| !entries.is_empty()) {
            let (key, _) = which.get(&entries);
            index.apply(key, None);
            objects.remove(key);
        }
        let user = User { name, groups, ..User::default() };
        // Nobody is no user, whatever a binding says.
        prop_assume!(!user.anonymous() || user.groups.is_empty());
        for asked in questions {
            let allowed = matches!(index.authorize(&user, &asked), Decision::Allow { .. });
            let expected = !user.anonymous() && reference::allows(&objects, &user, &asked);
            prop_assert_eq!(allowed, expected, "{:?} {:?} {:?}", user, asked, objects);
        }
    }
}

fn put(index: &mut Rbac, key: &str, object: &Value) {
    index.apply(&format!("/{GROUP}/{key}"), Some(object.to_string().as_bytes()));
}

fn asked(verb: &str, resource: &str, namespace: &str) -> Attributes {
    Attributes {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        ..Attributes::default()
    }
}

fn eve() -> User {
    User { name: "eve".to_owned(), ..User::default() }
}

#[test]
fn cluster_role_that_a_role_binding_names_holds_in_its_namespace_only() {
    let mut index = Rbac::default();
    let role = json!({"kind": "ClusterRole", "name": "view"});
    let subjects = json!([{"kind": "User", "name": "eve"}]);
    put(&mut index, "rolebindings/d/b", &json!({"subjects": subjects, "roleRef": role}));
    let missing = index.authorize(&eve(), &asked("get", "pods", "d"));
    let reason = "RBAC: clusterrole.rbac.authorization.k8s.io \"view\" not found".to_owned();
    assert_eq!(missing, Decision::NoOpinion { reason });
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    put(&mut index, "clusterroles/_/view", &json!({ "rules": rules }));
    let Decision::Allow { reason } = index.authorize(&eve(), &asked("get", "pods", "d")) else {
        panic!("it is not allowed");
    };
    assert_eq!(reason, r#"RBAC: allowed by RoleBinding "b/d" of ClusterRole "view" to User "eve""#);
    for namespace in ["", "e"] {
        let decision = index.authorize(&eve(), &asked("get", "pods", namespace));
        assert!(matches!(decision, Decision::NoOpinion { .. }), "{namespace}");
    }
    assert_eq!(index.rules_for(&eve(), "d").0.len(), 1);
    assert_eq!(index.rules_for(&eve(), "").0, []);
}

#[test]
fn aggregate_has_the_rules_of_those_that_it_selects_each_once() {
    let mut index = Rbac::default();
    let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
    let selector = json!([{"matchLabels": {"to": "all"}}]);
    let aggregate = |rules: Value| {
        json!({"metadata": {"labels": {"to": "all"}}, "rules": rules,
            "aggregationRule": {"clusterRoleSelectors": selector}})
    };
    put(&mut index, "clusterroles/_/all", &aggregate(json!([])));
    let labels = json!({"labels": {"to": "all"}});
    let rules = json!([rule("get"), rule("list")]);
    put(&mut index, "clusterroles/_/a", &json!({"metadata": labels, "rules": rules}));
    put(&mut index, "clusterroles/_/b", &json!({"metadata": labels, "rules": [rule("get")]}));
    put(&mut index, "clusterroles/_/c", &json!({"rules": [rule("delete")]}));
    let outdated = index.outdated_aggregates();
    let [(name, rules)] = outdated.as_slice() else { panic!("{outdated:?}") };
    assert_eq!(&**name, "all");
    assert_eq!(json!(rules), json!([rule("get"), rule("list")]));
    put(&mut index, "clusterroles/_/all", &aggregate(json!(rules)));
    assert_eq!(index.outdated_aggregates(), []);
}
