//! Server-side apply: who set which field, and what follows when one manager changes or drops
//! its fields.
//!
//! Fields are owned as the table of fields says: objects field by field, lists with keys item
//! by item, sets value by value, all other lists as a whole. Defaults have no owner, nor has what
//! a write does not reach: the status of an object that is written as a whole.

use serde_json::{Value, json};

use super::field_set::FieldSet;
use super::managers::{self, Manager};
use super::tree::{Scope, Tree};
use super::{overlay, root_type, typed};
use crate::object;
use crate::resource::Resource;
use crate::status::{Status, StatusCause};

/// Most conflicts that an answer names.
const CONFLICTS_MAX: usize = 100;

/// An apply request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the manager wants; only its own fields.
    pub applied: &'a Value,
    /// Name of the manager: the query parameter `fieldManager`.
    pub manager: &'a str,
    /// Takes fields from other managers.
    pub force: bool,
    /// Subresource that is written, if any.
    pub subresource: Option<&'a str>,
    /// Time of the request, RFC 3339.
    pub now: &'a str,
}

/// Applies a manager's fields to an object, or creates it.
///
/// The result has its `managedFields` and must not go through [`track_update`]. It equals
/// `live` if nothing changes.
///
/// # Errors
/// Other managers own fields that would change, and `force` is not set; or `applied` carries
/// `managedFields`, fields that do not exist or two items of the same name.
pub fn apply(
    resource: &Resource,
    live: Option<&Value>,
    request: &Request<'_>,
) -> Result<Value, Status> {
    if !object::items(request.applied, "/metadata/managedFields").is_empty() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    if request.manager.is_empty() {
        return Err(Status::bad_request("fieldManager is required for apply patch"));
    }
    let kind = root_type(resource);
    let problems = typed::problems(kind, request.applied);
    if !problems.is_empty() {
        return Err(not_typed(resource, request.applied, &problems));
    }
    let scope = scope(resource, request.subresource);
    let subresource = request.subresource.unwrap_or_default();
    let empty = json!({});
    let before = live.unwrap_or(&empty);
    let (present, applied) = (Tree::of(kind, before), Tree::of(kind, request.applied));
    let wanted = applied.owned(scope);
    let changing = applied.changed(&present, scope);
    let mut managers = managers::read(before);
    let own = |manager: &Manager<'_>| manager.is(request.manager, "Apply", subresource);

    let mut conflicts = Vec::new();
    for manager in managers.iter_mut().filter(|manager| !own(manager)) {
        let differing = manager.fields.intersection(&changing).without_items();
        if request.force {
            manager.fields.subtract(&differing);
        } else if !differing.is_empty() {
            conflicts.push((who(manager), differing));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }

    let mut result = before.clone();
    overlay::merge(kind, &mut result, request.applied);
    let (mut previous, mut kept) = (FieldSet::default(), wanted.clone());
    for manager in &managers {
        if own(manager) { &mut previous } else { &mut kept }.add(&manager.fields);
    }
    overlay::prune(kind, &mut result, &previous, Some(&kept));

    let unchanged = previous == wanted && same_content(&result, before);
    if unchanged {
        return Ok(before.clone());
    }
    managers.retain(|manager| !own(manager));
    managers.push(Manager {
        name: request.manager.to_owned(),
        operation: "Apply".to_owned(),
        subresource: subresource.to_owned(),
        api_version: resource.api_version(),
        time: request.now.to_owned(),
        fields: wanted,
    });
    managers::store(&mut result, managers::write(managers));
    Ok(result)
}

/// Notes in `managedFields` who made an ordinary write (create, update, or another patch).
pub fn track_update(
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: Option<&str>,
    now: &str,
) {
    let kind = root_type(resource);
    let scope = scope(resource, subresource);
    let subresource = subresource.unwrap_or_default();
    let empty = json!({});
    let before = old.unwrap_or(&empty);
    let sent = object::items(new, "/metadata/managedFields");
    // A list with one empty entry is how a client says: forget them all. An empty list is what a
    // client writes that knows nothing of managers, and changes nothing.
    let reset = matches!(sent, [only] if only == &empty);
    let mut managers = match sent {
        _ if reset => Vec::new(),
        [] => managers::read(before),
        [_, ..] => managers::read(new),
    };
    let (was, is) = (Tree::of(kind, before), Tree::of(kind, new));
    let changed = is.changed(&was, scope);
    for other in &mut managers {
        let own = other.is(manager, "Update", subresource);
        is.keep_present(&mut other.fields, (!own).then_some(&changed));
    }
    if !changed.is_empty() && !reset {
        match managers.iter_mut().find(|one| one.is(manager, "Update", subresource)) {
            Some(own) => {
                own.fields.add(&changed);
                now.clone_into(&mut own.time);
                own.api_version = resource.api_version();
            }
            None => managers.push(Manager {
                name: manager.to_owned(),
                operation: "Update".to_owned(),
                subresource: subresource.to_owned(),
                api_version: resource.api_version(),
                time: now.to_owned(),
                fields: changed,
            }),
        }
    }
    let entries = managers::write(managers);
    managers::store(new, entries);
}

fn scope(resource: &Resource, subresource: Option<&str>) -> Scope {
    match subresource {
        Some("status") => Scope::Status,
        _ if resource.has_status() => Scope::Main,
        _ => Scope::Whole,
    }
}

/// Whether two states differ in nothing but who owns what.
fn same_content(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let without_managers = |metadata: Option<&Value>| {
        let mut metadata = metadata.cloned().unwrap_or_default();
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("managedFields");
        }
        metadata
    };
    a.len() == b.len()
        && a.iter().all(|(key, value)| {
            if key == "metadata" {
                without_managers(Some(value)) == without_managers(b.get(key))
            } else {
                b.get(key) == Some(value)
            }
        })
}

/// Upstream's answer to what it cannot read: an error without a reason.
fn not_typed(resource: &Resource, applied: &Value, problems: &[String]) -> Status {
    let (namespace, name) =
        (object::text(applied, "/metadata/namespace"), object::text(applied, "/metadata/name"));
    let list = match problems {
        [one] => one.clone(),
        many => {
            let lines: Vec<String> = many.iter().map(|one| format!("\n  {one}")).collect();
            format!("errors:{}", lines.concat())
        }
    };
    Status::unreadable(format!(
        "failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {list}",
        resource.api_version(),
        resource.kind
    ))
}

fn who(manager: &Manager<'_>) -> String {
    let subresource = match manager.subresource.as_str() {
        "" => String::new(),
        subresource => format!(" with subresource \"{subresource}\""),
    };
    format!("\"{}\"{subresource} using {}", manager.name, manager.api_version)
}

fn conflict(conflicts: &[(String, FieldSet<'_>)]) -> Status {
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    let mut count = 0;
    for (who, fields) in conflicts {
        count += fields.len();
        let paths = fields.display(CONFLICTS_MAX.saturating_sub(causes.len()));
        causes.extend(paths.iter().map(|path| StatusCause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {who}"),
            field: path.clone(),
        }));
        match paths.as_slice() {
            [] => {}
            [one] => texts.push(format!("conflict with {who}: {one}")),
            many => {
                let list: Vec<String> = many.iter().map(|path| format!("\n- {path}")).collect();
                texts.push(format!("conflicts with {who}:{}", list.concat()));
            }
        }
    }
    let plural = if count == 1 { "" } else { "s" };
    let message = format!("Apply failed with {count} conflict{plural}: {}", texts.join("\n"));
    Status::apply_conflict(causes, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn request<'a>(applied: &'a Value, manager: &'a str, force: bool) -> Request<'a> {
        Request { applied, manager, force, subresource: None, now: NOW }
    }

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec})
    }

    fn deployments() -> &'static Resource {
        registry::by_kind("apps", "Deployment").unwrap()
    }

    #[test]
    fn a_new_object_is_owned_by_its_creator() {
        let applied = deployment(json!({"replicas": 1, "template": {"spec": {"containers":
            [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}));
        let result = apply(deployments(), None, &request(&applied, "me", false)).unwrap();
        assert_eq!(
            result["metadata"]["managedFields"],
            json!([{"manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": NOW,
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {},
                    "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                                {".": {}, "f:containerPort": {}}}}}}}}}}])
        );
        let again = apply(deployments(), Some(&result), &request(&applied, "me", false)).unwrap();
        assert_eq!(again, result);
    }

    #[test]
    fn fields_that_are_no_longer_applied_go_unless_others_own_them() {
        let first = deployment(json!({"replicas": 1, "paused": true, "minReadySeconds": 3}));
        let live = apply(deployments(), None, &request(&first, "me", false)).unwrap();
        let shared = deployment(json!({"paused": true}));
        let live = apply(deployments(), Some(&live), &request(&shared, "you", false)).unwrap();
        let second = deployment(json!({"replicas": 2}));
        let live = apply(deployments(), Some(&live), &request(&second, "me", false)).unwrap();
        assert_eq!(live["spec"], json!({"replicas": 2, "paused": true}));
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_unless_forced() {
        let mut live = deployment(json!({"replicas": 1}));
        track_update(deployments(), None, &mut live, "kubectl-scale", None, NOW);
        let applied = deployment(json!({"replicas": 2}));
        let status =
            apply(deployments(), Some(&live), &request(&applied, "me", false)).unwrap_err();
        assert_eq!(status.code, 409);
        assert_eq!(
            status.message,
            "Apply failed with 1 conflict: conflict with \"kubectl-scale\" using apps/v1: \
             .spec.replicas"
        );
        let same = deployment(json!({"replicas": 1}));
        assert!(apply(deployments(), Some(&live), &request(&same, "me", false)).is_ok());
        let forced = apply(deployments(), Some(&live), &request(&applied, "me", true)).unwrap();
        assert_eq!(forced["spec"]["replicas"], json!(2));
        let managers = forced["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(managers.len(), 1);
    }

    #[test]
    fn an_update_takes_over_what_it_changes() {
        let applied = deployment(json!({"replicas": 1, "paused": true}));
        let live = apply(deployments(), None, &request(&applied, "me", false)).unwrap();
        let mut new = live.clone();
        new["spec"]["replicas"] = json!(5);
        track_update(deployments(), Some(&live), &mut new, "you", None, NOW);
        let fields = |index: usize| new["metadata"]["managedFields"][index]["fieldsV1"].clone();
        assert_eq!(fields(0), json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(fields(1), json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn items_of_lists_are_removed_by_their_owner() {
        let containers = |names: &[&str]| {
            let list: Vec<Value> =
                names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
            deployment(json!({"template": {"spec": {"containers": list}}}))
        };
        let live =
            apply(deployments(), None, &request(&containers(&["a", "b"]), "me", false)).unwrap();
        let live =
            apply(deployments(), Some(&live), &request(&containers(&["b"]), "me", false)).unwrap();
        assert_eq!(
            live["spec"]["template"]["spec"]["containers"],
            json!([{"name": "b", "image": "i"}])
        );
    }

    fn fields_of(object: &Value, index: usize) -> Value {
        object["metadata"]["managedFields"][index]["fieldsV1"].clone()
    }

    #[test]
    fn the_status_of_a_created_object_has_no_owner() {
        let mut new = deployment(json!({"replicas": 1}));
        new["status"] = json!({"replicas": 0});
        track_update(deployments(), None, &mut new, "kubectl", None, NOW);
        assert_eq!(fields_of(&new, 0), json!({"f:spec": {"f:replicas": {}}}));
        let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a"}, "status": {"replicas": 3}});
        let request = Request { subresource: Some("status"), ..request(&applied, "ctl", false) };
        let result = apply(deployments(), Some(&new), &request).unwrap();
        assert_eq!(fields_of(&result, 1), json!({"f:status": {"f:replicas": {}}}));
    }

    #[test]
    fn an_empty_list_of_managers_forgets_nobody_and_one_empty_entry_all() {
        let applied = deployment(json!({"replicas": 1}));
        let live = apply(deployments(), None, &request(&applied, "me", false)).unwrap();
        let mut new = live.clone();
        new["metadata"]["managedFields"] = json!([]);
        track_update(deployments(), Some(&live), &mut new, "you", None, NOW);
        assert_eq!(new, live);
        new["metadata"]["managedFields"] = json!([{}]);
        track_update(deployments(), Some(&live), &mut new, "you", None, NOW);
        assert_eq!(new["metadata"].get("managedFields"), None);
    }

    #[test]
    fn what_does_not_fit_the_schema_is_refused() {
        let check = |spec: Value, expected: &str| {
            let applied = deployment(spec);
            let status = apply(deployments(), None, &request(&applied, "me", true)).unwrap_err();
            assert_eq!((status.code, status.reason), (500, ""));
            let start = "failed to create typed patch object (/a; apps/v1, Kind=Deployment): ";
            assert_eq!(status.message.strip_prefix(start), Some(expected));
        };
        check(json!({"foo": 1}), ".spec.foo: field not declared in schema");
        check(
            json!({"template": {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}}),
            ".spec.template.spec.containers: duplicate entries for key [name=\"c\"]",
        );
        check(
            json!({"template": {"spec": {"containers": [{"image": "c"}]}}}),
            ".spec.template.spec.containers: element 0: associative list with keys has an element \
             that omits key field \"name\" (and doesn't have default value)",
        );
    }

    #[test]
    fn applied_items_come_in_the_applied_order() {
        let containers = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            deployment(json!({"template": {"spec": {"containers": list}}}))
        };
        let check = |live: &[&str], applied: &[&str], expected: &[&str]| {
            let live =
                apply(deployments(), None, &request(&containers(live), "you", false)).unwrap();
            let applied = containers(applied);
            let result = apply(deployments(), Some(&live), &request(&applied, "me", false));
            let result = result.unwrap();
            let names: Vec<&str> = result["spec"]["template"]["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|container| container["name"].as_str().unwrap())
                .collect();
            assert_eq!(names, expected, "{live} {applied}");
        };
        check(&["a", "b"], &["b", "a"], &["b", "a"]);
        check(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
        check(&["a", "x", "b"], &["a", "n", "b"], &["a", "x", "n", "b"]);
        check(&[], &["b", "a"], &["b", "a"]);
    }

    #[test]
    fn the_oldest_of_many_managers_are_remembered_together() {
        let mut live = deployment(json!({"template": {"metadata": {"labels": {}}}}));
        for number in 0..30 {
            let mut new = live.clone();
            new["spec"]["template"]["metadata"]["labels"][format!("l{number}")] = json!("x");
            let now = format!("2026-01-01T00:00:{number:02}Z");
            let name = format!("m{number}");
            track_update(deployments(), Some(&live), &mut new, &name, None, &now);
            live = new;
        }
        let managers = live["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(managers.len(), 10);
        assert_eq!(managers[0]["manager"], json!("ancient-changes"));
        let labels = &managers[0]["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]["f:labels"];
        assert_eq!(labels.as_object().unwrap().len(), 21);
    }
}
