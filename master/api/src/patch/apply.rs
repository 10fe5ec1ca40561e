//! Server-side apply: who set which field, and what follows when one manager changes or drops
//! its fields.
//!
//! Fields are owned as the table of fields says: objects field by field, lists with keys item
//! by item, sets value by value, all other lists as a whole. Defaults have no owner.

use serde_json::{Map, Value, json};

use super::field_set::{self, FieldSet, Path};
use super::{field_type, root_type};
use crate::object;
use crate::resource::Resource;
use crate::schema::{ListType, Type};
use crate::status::{Status, StatusCause};

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

/// Metadata that nobody owns: the name, and what the system writes.
const UNOWNED_METADATA: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
struct Manager {
    name: String,
    operation: String,
    subresource: String,
    api_version: String,
    time: String,
    fields: FieldSet,
}

impl Manager {
    fn is(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }

    fn read(entry: &Value) -> Self {
        let text = |key: &str| object::text(entry, &format!("/{key}")).to_owned();
        Self {
            name: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: text("time"),
            fields: field_set::from_fields_v1(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        }
    }

    fn write(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": field_set::to_fields_v1(&self.fields),
        });
        if let Some(entry) = entry.as_object_mut().filter(|_| !self.subresource.is_empty()) {
            entry.insert("subresource".to_owned(), self.subresource.clone().into());
        }
        entry
    }
}

/// Applies a manager's fields to an object, or creates it.
///
/// The result has its `managedFields` and must not go through [`track_update`]. It equals
/// `live` if nothing changes.
///
/// # Errors
/// Other managers own fields that would change, and `force` is not set; or `applied` carries
/// `managedFields`.
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
    let subresource = request.subresource.unwrap_or_default();
    let wanted = owned_fields(kind, request.applied);
    let empty = json!({});
    let before = live.unwrap_or(&empty);
    let mut managers = read_managers(before);
    let own = |manager: &Manager| manager.is(request.manager, "Apply", subresource);

    let mut conflicts = Vec::new();
    for manager in managers.iter_mut().filter(|manager| !own(manager)) {
        let differing: Vec<Path> = manager
            .fields
            .intersection(&wanted)
            .filter(|path| {
                // Owning an item of a list is shared; what is in it may clash.
                let item = path.last().is_some_and(|part| !part.starts_with("f:"));
                !item
                    && field_set::lookup(kind, before, path)
                        != field_set::lookup(kind, request.applied, path)
            })
            .cloned()
            .collect();
        if request.force {
            manager.fields.retain(|path| !differing.contains(path));
        } else if !differing.is_empty() {
            conflicts.push((manager.clone(), differing));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }

    let mut result = before.clone();
    merge(kind, &mut result, request.applied);
    let previous: FieldSet =
        managers.iter().filter(|manager| own(manager)).flat_map(|m| m.fields.clone()).collect();
    // An item comes before what is in it; once it is gone, its content is not found any more.
    for path in previous.difference(&wanted) {
        let others = managers.iter().filter(|manager| !own(manager)).flat_map(|m| m.fields.iter());
        let needed = others.chain(&wanted).any(|other| other.starts_with(path));
        // An item that stays for others keeps the fields that tell it apart.
        if !needed && !field_set::is_item_key(path) {
            field_set::remove(kind, &mut result, path);
        }
    }

    let unchanged = previous == wanted && without_managers(&result) == without_managers(before);
    let time = managers
        .iter()
        .find(|manager| own(manager))
        .filter(|_| unchanged)
        .map_or_else(|| request.now.to_owned(), |manager| manager.time.clone());
    managers.retain(|manager| !own(manager));
    managers.push(Manager {
        name: request.manager.to_owned(),
        operation: "Apply".to_owned(),
        subresource: subresource.to_owned(),
        api_version: resource.api_version(),
        time,
        fields: wanted,
    });
    if unchanged {
        return Ok(before.clone());
    }
    write_managers(&mut result, managers);
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
    let subresource = subresource.unwrap_or_default();
    let empty = json!({});
    let before = old.unwrap_or(&empty);
    // A list with one empty entry, or with none, is how a client says: forget them all.
    let reset = match new.pointer("/metadata/managedFields").and_then(Value::as_array) {
        Some(entries) => entries.is_empty() || entries.iter().all(|entry| entry == &json!({})),
        None => false,
    };
    let mut managers = if reset {
        Vec::new()
    } else if new.pointer("/metadata/managedFields").is_some() {
        read_managers(new)
    } else {
        read_managers(before)
    };
    let present = owned_fields(kind, new);
    let changed: FieldSet = present
        .iter()
        .filter(|path| {
            let item = path.last().is_some_and(|part| !part.starts_with("f:"));
            let (was, is) =
                (field_set::lookup(kind, before, path), field_set::lookup(kind, new, path));
            if item { was.is_none() } else { was != is }
        })
        .cloned()
        .collect();
    for other in &mut managers {
        let own = other.is(manager, "Update", subresource);
        other.fields.retain(|path| {
            let there = field_set::lookup(kind, new, path).is_some();
            let item = path.last().is_some_and(|part| !part.starts_with("f:"));
            there && (own || item || !changed.contains(path))
        });
    }
    if !changed.is_empty() && !reset {
        match managers.iter_mut().find(|one| one.is(manager, "Update", subresource)) {
            Some(own) => {
                own.fields.extend(changed);
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
    write_managers(new, managers);
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

fn read_managers(object: &Value) -> Vec<Manager> {
    object::items(object, "/metadata/managedFields").iter().map(Manager::read).collect()
}

fn write_managers(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    let Some(metadata) = object::child(object, "metadata") else { return };
    if managers.is_empty() {
        metadata.remove("managedFields");
    } else {
        let entries = managers.iter().map(Manager::write).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn owned_fields(kind: Type<'_>, object: &Value) -> FieldSet {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| !UNOWNED_METADATA.contains(&key.as_str()));
            if metadata.is_empty() {
                fields.remove("metadata");
            }
        }
    }
    let mut set = field_set::of_value(kind, &object);
    // The root itself is nobody's.
    set.remove(&Path::new());
    set
}

fn merge(kind: Type<'_>, live: &mut Value, applied: &Value) {
    match (kind, live, applied) {
        (Type::Message(message), Value::Object(fields), Value::Object(applied))
            if !message.atomic() =>
        {
            merge_fields(kind, fields, applied);
        }
        (Type::Map(_), Value::Object(fields), Value::Object(applied)) => {
            merge_fields(kind, fields, applied);
        }
        (
            Type::List(item_kind, list_type @ ListType::Map(_)),
            Value::Array(items),
            Value::Array(applied),
        ) => {
            for item in applied {
                let part = field_set::item_part(list_type, item);
                match items.iter_mut().find(|old| field_set::item_part(list_type, old) == part) {
                    Some(old) => merge(item_kind.kind(), old, item),
                    None => items.push(item.clone()),
                }
            }
        }
        (Type::List(_, ListType::Set), Value::Array(items), Value::Array(applied)) => {
            for item in applied {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        (_, live, applied) => *live = applied.clone(),
    }
}

fn merge_fields(kind: Type<'_>, fields: &mut Map<String, Value>, applied: &Map<String, Value>) {
    for (key, value) in applied {
        match fields.get_mut(key) {
            Some(old) => merge(field_type(kind, key), old, value),
            None => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

fn conflict(conflicts: &[(Manager, Vec<Path>)]) -> Status {
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    for (manager, paths) in conflicts {
        let subresource = match manager.subresource.as_str() {
            "" => String::new(),
            subresource => format!(" with subresource \"{subresource}\""),
        };
        let who = format!("\"{}\"{subresource} using {}", manager.name, manager.api_version);
        causes.extend(paths.iter().map(|path| StatusCause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {who}"),
            field: field_set::display(path),
        }));
        texts.push(match paths.as_slice() {
            [one] => format!("conflict with {who}: {}", field_set::display(one)),
            many => {
                let list: Vec<String> =
                    many.iter().map(|path| format!("\n- {}", field_set::display(path))).collect();
                format!("conflicts with {who}:{}", list.concat())
            }
        });
    }
    let count = causes.len();
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
}
