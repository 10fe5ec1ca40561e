//! The roles and bindings that every cluster has, and how they are put right.
//!
//! What they are stands in `default_roles.txt`. An administrator may add to them, and keeps one for
//! himself by setting its annotation [`AUTOUPDATE`] to `false`.

use serde_json::{Map, Value, json};

use super::rbac::GROUP;
use super::rule::{Rule, uncovered};

/// Says that a role or binding is put right at every start; any other value than `true`, or none,
/// says that it is not.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// Label of what is made here.
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// What the labels begin with that aggregation selects by.
const AGGREGATE_PREFIX: &str = "rbac.authorization.k8s.io/";

const TEXT: &str = include_str!("default_roles.txt");

/// Roles and bindings, roles before what binds them.
#[must_use]
pub fn all() -> Vec<Value> {
    let mut made: Vec<Value> = Vec::new();
    let mut namespace = "";
    for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
        let indented = line.starts_with(' ');
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            rule if indented => {
                let rules = made.last_mut().and_then(|role| role.get_mut("rules"));
                if let Some(rules) = rules.and_then(Value::as_array_mut) {
                    rules.push(read_rule(rule));
                }
            }
            ["namespaced", name] => namespace = name,
            ["role", name, marks @ ..] => made.push(role(namespace, name, marks)),
            ["bind", name, role, subjects @ ..] => {
                made.push(binding(namespace, name, role, subjects));
            }
            _ => {}
        }
    }
    made
}

fn read_rule(words: &[&str]) -> Value {
    let list = |text: &str| -> Vec<String> {
        let items = text.split(',').map(|item| if item == "core" { "" } else { item });
        items.map(str::to_owned).collect()
    };
    match words {
        [verbs, paths] => json!({ "verbs": list(verbs), "nonResourceURLs": list(paths) }),
        [verbs, groups, resources, names @ ..] => {
            let mut rule = json!({
                "verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources),
            });
            if let (Some(names), Some(fields)) = (names.first(), rule.as_object_mut()) {
                fields.insert("resourceNames".to_owned(), json!(list(names)));
            }
            rule
        }
        [] | [_] => Value::Null,
    }
}

fn metadata(namespace: &str, name: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("labels".to_owned(), json!({ (BOOTSTRAPPING.0): BOOTSTRAPPING.1 }));
    metadata.insert("annotations".to_owned(), json!({ (AUTOUPDATE): "true" }));
    metadata
}

fn kind(namespace: &str, of_cluster: &str, of_namespace: &str) -> String {
    if namespace.is_empty() { of_cluster } else { of_namespace }.to_owned()
}

fn role(namespace: &str, name: &str, marks: &[&str]) -> Value {
    let mut metadata = metadata(namespace, name);
    let mut selectors = Vec::new();
    for mark in marks {
        if let (Some(label), Some(labels)) =
            (mark.strip_prefix('+'), metadata.get_mut("labels").and_then(Value::as_object_mut))
        {
            labels.insert(format!("{AGGREGATE_PREFIX}{label}"), "true".into());
        } else if let Some(label) = mark.strip_prefix('<') {
            let label = format!("{AGGREGATE_PREFIX}{label}");
            selectors.push(json!({ "matchLabels": { (label): "true" } }));
        }
    }
    let mut role = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind(namespace, "ClusterRole", "Role"),
        "metadata": metadata,
        "rules": [],
    });
    if let Some(fields) = role.as_object_mut().filter(|_| !selectors.is_empty()) {
        let rule = json!({ "clusterRoleSelectors": selectors });
        fields.insert("aggregationRule".to_owned(), rule);
    }
    role
}

fn binding(namespace: &str, name: &str, role: &str, subjects: &[&str]) -> Value {
    let subject = |text: &&str| {
        let (kind, name) = text.split_once(':').unwrap_or(("", text));
        match kind {
            "account" => {
                let (namespace, name) = name.split_once('/').unwrap_or(("", name));
                json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace })
            }
            "group" => json!({ "apiGroup": GROUP, "kind": "Group", "name": name }),
            _ => json!({ "apiGroup": GROUP, "kind": "User", "name": name }),
        }
    };
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind(namespace, "ClusterRoleBinding", "RoleBinding"),
        "metadata": metadata(namespace, name),
        "roleRef": {
            "apiGroup": GROUP,
            "kind": kind(namespace, "ClusterRole", "Role"),
            "name": role,
        },
        "subjects": subjects.iter().map(subject).collect::<Vec<_>>(),
    })
}

/// What has to become of a role or binding that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Repair {
    /// Nothing.
    None,
    /// It becomes this.
    Update(Value),
    /// It is deleted and made anew: what it binds cannot be changed.
    Remake,
}

/// What has to become of `present`, so that it gives at least what `wanted` gives.
#[must_use]
pub fn repair(present: &Value, wanted: &Value) -> Repair {
    let annotation = present.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE));
    if annotation.and_then(Value::as_str) != Some("true") {
        return Repair::None;
    }
    let name = |object: &Value| {
        let part = |field: &str| object.pointer(&format!("/roleRef/{field}")).cloned();
        (part("kind"), part("name"))
    };
    if wanted.get("roleRef").is_some() && name(present) != name(wanted) {
        return Repair::Remake;
    }
    let mut new = present.clone();
    add_labels(&mut new, wanted);
    add_rules(&mut new, wanted);
    add_missing(&mut new, wanted, "/subjects");
    add_missing(&mut new, wanted, "/aggregationRule/clusterRoleSelectors");
    if new == *present { Repair::None } else { Repair::Update(new) }
}

fn add_labels(new: &mut Value, wanted: &Value) {
    let labels = wanted.pointer("/metadata/labels").and_then(Value::as_object);
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let present = metadata.entry("labels").or_insert_with(|| json!({}));
    if let (Some(present), Some(labels)) = (present.as_object_mut(), labels) {
        present.extend(labels.clone());
    }
}

/// Adds the single permissions that are missing. Aggregation fills in those of aggregates.
fn add_rules(new: &mut Value, wanted: &Value) {
    let rules = |object: &Value| -> Vec<Rule> {
        let rules = object.get("rules").cloned().unwrap_or_default();
        serde_json::from_value(rules).unwrap_or_default()
    };
    let wanted = rules(wanted);
    let missing = uncovered(&rules(new), &wanted).unwrap_or(wanted);
    if missing.is_empty() {
        return;
    }
    if let Some(fields) = new.as_object_mut() {
        let rules = fields.entry("rules").or_insert_with(|| json!([]));
        if let Some(rules) = rules.as_array_mut() {
            rules.extend(missing.iter().map(|rule| json!(rule)));
        }
    }
}

fn add_missing(new: &mut Value, wanted: &Value, pointer: &str) {
    let Some(wanted) = wanted.pointer(pointer).and_then(Value::as_array) else { return };
    if new.pointer(pointer).is_none()
        && let Some((parent, field)) = pointer.rsplit_once('/')
        && let Some(Value::Object(parent)) = new.pointer_mut(parent)
    {
        parent.insert(field.to_owned(), json!([]));
    }
    if let Some(Value::Array(present)) = new.pointer_mut(pointer) {
        let missing: Vec<Value> =
            wanted.iter().filter(|one| !present.contains(one)).cloned().collect();
        present.extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use bramble_api::decode::{self, FieldValidation};
    use bramble_api::{defaults, registry, validate};

    use super::*;
    use crate::access::attributes::Attributes;
    use crate::access::rbac::{Decision, Rbac};
    use crate::access::user::User;

    fn found(kind: &str, name: &str) -> Value {
        let named = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
        all().iter().find(named).cloned().unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn all_of_them_are_valid() {
        for mut object in all() {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let row = registry::by_kind(GROUP, &kind).unwrap();
            defaults::apply(row, &mut object);
            let decoded = decode::check(row, object.clone(), FieldValidation::Strict).unwrap();
            assert_eq!(validate::create(row, &decoded.object), [], "{object}");
        }
        assert!(all().len() > 40);
    }

    #[test]
    fn administrators_and_everybody_have_what_upstream_gives_them() {
        let mut index = Rbac::default();
        for object in all() {
            let row = registry::by_kind(GROUP, object["kind"].as_str().unwrap()).unwrap();
            let text = |pointer: &str| {
                object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned()
            };
            let key = row.key(&text("/metadata/namespace"), &text("/metadata/name"));
            index.apply(&key, Some(object.to_string().as_bytes()));
        }
        let allowed = |user: &User, asked: &Attributes| {
            matches!(index.authorize(user, asked), Decision::Allow { .. })
        };
        let user = |group: &str| User {
            name: "u".to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        let secrets = Attributes {
            verb: "delete".to_owned(),
            resource: "secrets".to_owned(),
            ..Attributes::default()
        };
        assert!(allowed(&user("system:masters"), &secrets));
        assert!(allowed(&user("system:masters"), &Attributes::of_path("post", "/anything")));
        assert!(!allowed(&user("system:authenticated"), &secrets));
        assert!(allowed(&user("system:authenticated"), &Attributes::of_path("get", "/apis/apps")));
        assert!(!allowed(&user("system:nodes"), &secrets));
        let aggregates: Vec<String> =
            index.outdated_aggregates().iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(aggregates, ["admin", "edit", "view"]);
    }

    #[test]
    fn what_is_missing_comes_back_and_what_was_added_stays() {
        let wanted = found("ClusterRole", "system:kube-dns");
        assert_eq!(repair(&wanted, &wanted), Repair::None);
        let mut present = wanted.clone();
        present["rules"][0]["verbs"] = json!(["list"]);
        let own = json!({"verbs": ["get"], "apiGroups": ["a"], "resources": ["b"]});
        present["rules"].as_array_mut().unwrap().push(own.clone());
        let Repair::Update(repaired) = repair(&present, &wanted) else { panic!("no repair") };
        assert_eq!(repair(&repaired, &wanted), Repair::None);
        assert!(repaired["rules"].as_array().unwrap().contains(&own));
        present["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(repair(&present, &wanted), Repair::None);
    }

    #[test]
    fn binding_gets_its_subjects_back_and_another_role_is_no_repair() {
        let wanted = found("ClusterRoleBinding", "system:discovery");
        let mut present = wanted.clone();
        present.as_object_mut().unwrap().remove("subjects");
        let Repair::Update(repaired) = repair(&present, &wanted) else { panic!("no repair") };
        assert_eq!(repaired["subjects"], wanted["subjects"]);
        present["roleRef"]["name"] = json!("cluster-admin");
        assert_eq!(repair(&present, &wanted), Repair::Remake);
    }
}
