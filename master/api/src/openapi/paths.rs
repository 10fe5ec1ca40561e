//! Paths of resources, with their operations and query parameters.
//!
//! Clients look for two things: that a kind exists, and that writes take `fieldValidation`.

use serde_json::{Map, Value, json};

use super::{Dialect, definitions};
use crate::resource::Resource;

/// What the paths of objects of a version start with.
pub(super) fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// Path items of these resources: collection and single object.
pub(super) fn items<'a>(
    dialect: Dialect,
    resources: &'a [&Resource],
) -> impl Iterator<Item = (String, Value)> + use<'a> {
    resources.iter().flat_map(move |resource| {
        let list = if resource.namespaced {
            let base = base(&resource.group, &resource.version);
            format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
        } else {
            format!("{}/{}", base(&resource.group, &resource.version), resource.plural)
        };
        let one = format!("{list}/{{name}}");
        let single = resource.question.is_none().then(|| (one, single(dialect, resource)));
        [(list, collection(dialect, resource))].into_iter().chain(single)
    })
}

fn collection(dialect: Dialect, resource: &Resource) -> Value {
    let mut item = Map::new();
    if resource.verbs.contains(&"list") {
        item.insert("get".to_owned(), operation(dialect, resource, "list", &[]));
    }
    if resource.verbs.contains(&"create") {
        let post = operation(dialect, resource, "post", &["application/json"]);
        item.insert("post".to_owned(), post);
    }
    if resource.verbs.contains(&"deletecollection") {
        let delete = operation(dialect, resource, "deletecollection", &[]);
        item.insert("delete".to_owned(), delete);
    }
    if resource.namespaced {
        item.insert("parameters".to_owned(), json!([in_path(dialect, "namespace")]));
    }
    Value::Object(item)
}

fn single(dialect: Dialect, resource: &Resource) -> Value {
    let patches = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    let names: &[&str] = if resource.namespaced { &["name", "namespace"] } else { &["name"] };
    let parameters: Vec<Value> = names.iter().map(|name| in_path(dialect, name)).collect();
    json!({
        "get": operation(dialect, resource, "get", &[]),
        "put": operation(dialect, resource, "put", &["application/json"]),
        "patch": operation(dialect, resource, "patch", &patches),
        "delete": operation(dialect, resource, "delete", &[]),
        "parameters": parameters,
    })
}

fn operation(dialect: Dialect, resource: &Resource, action: &str, bodies: &[&str]) -> Value {
    let mut names = vec!["pretty"];
    if matches!(action, "post" | "put" | "patch") {
        names.extend(["dryRun", "fieldManager", "fieldValidation"]);
    }
    if action == "patch" {
        names.push("force");
    }
    let mut parameters: Vec<Value> = names.iter().map(|name| in_query(dialect, name)).collect();
    let reference =
        definitions::of_objects(resource).map(|name| dialect.reference(&name)).unwrap_or_default();
    let mut operation = Map::new();
    match dialect {
        _ if bodies.is_empty() => {}
        Dialect::V2 => {
            operation.insert("consumes".to_owned(), json!(bodies));
            let body = json!({"name": "body", "in": "body", "required": true, "schema": reference});
            parameters.push(body);
        }
        Dialect::V3 => {
            let content: Map<String, Value> = bodies
                .iter()
                .map(|body| ((*body).to_owned(), json!({"schema": reference})))
                .collect();
            operation
                .insert("requestBody".to_owned(), json!({"content": content, "required": true}));
        }
    }
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    operation.extend([
        ("operationId".to_owned(), format!("{action}{}{}", resource.version, resource.kind).into()),
        ("parameters".to_owned(), Value::Array(parameters)),
        ("responses".to_owned(), json!({"200": {"description": "OK"}})),
        ("x-kubernetes-action".to_owned(), action.into()),
        ("x-kubernetes-group-version-kind".to_owned(), kind),
    ]);
    Value::Object(operation)
}

fn in_query(dialect: Dialect, name: &str) -> Value {
    let kind = if name == "force" { "boolean" } else { "string" };
    match dialect {
        Dialect::V2 => json!({"name": name, "in": "query", "type": kind, "uniqueItems": true}),
        Dialect::V3 => {
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        }
    }
}

fn in_path(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::V2 => json!({"name": name, "in": "path", "required": true, "type": "string"}),
        Dialect::V3 => json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": {"type": "string"},
        }),
    }
}
