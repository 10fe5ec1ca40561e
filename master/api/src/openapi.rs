//! OpenAPI v3 documents: the paths, kinds and query parameters, without schemas of objects.
//!
//! Clients look for two things: that a kind exists, and that writes take `fieldValidation`.
//! Strategic merge is not announced, so that `kubectl apply` merges by its own knowledge of the
//! kinds; it would need complete schemas here otherwise.

use serde_json::{Map, Value, json};

use crate::discovery;
use crate::resource::Resource;

/// `GET /openapi/v3`: where the documents are.
#[must_use]
pub fn index() -> Value {
    let mut paths = Map::new();
    for group in std::iter::once("").chain(discovery::groups()) {
        for version in discovery::versions(group) {
            let Some(document) = document(group, version) else { continue };
            let path = base(group, version);
            let path = path.trim_start_matches('/');
            // The hash lets clients keep a document for as long as it does not change.
            let hash = fingerprint(document.to_string().as_bytes());
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            paths.insert(path.to_owned(), json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// `GET /openapi/v3/api/v1` and the like; none if there is no such version.
#[must_use]
pub fn document(group: &str, version: &str) -> Option<Value> {
    let resources = discovery::of_version(group, version);
    if resources.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in resources {
        let list = if resource.namespaced {
            format!("{}/namespaces/{{namespace}}/{}", base(group, version), resource.plural)
        } else {
            format!("{}/{}", base(group, version), resource.plural)
        };
        paths.insert(list.clone(), collection(resource));
        paths.insert(format!("{list}/{{name}}"), single(resource));
        schemas.insert(schema_name(resource), schema(resource));
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// FNV-1a, 64 bits: enough to tell documents of the same program apart.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn schema_name(resource: &Resource) -> String {
    let package = match resource.group {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("io.k8s.api.{package}.{}.{}", resource.version, resource.kind)
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn schema(resource: &Resource) -> Value {
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
        "x-kubernetes-group-version-kind": [kind(resource)],
    })
}

fn collection(resource: &Resource) -> Value {
    let mut item = Map::new();
    item.insert("get".to_owned(), operation(resource, "list", &[]));
    if resource.verbs.contains(&"create") {
        item.insert("post".to_owned(), operation(resource, "post", &["application/json"]));
    }
    if resource.verbs.contains(&"deletecollection") {
        item.insert("delete".to_owned(), operation(resource, "deletecollection", &[]));
    }
    Value::Object(item)
}

fn single(resource: &Resource) -> Value {
    let patches = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    json!({
        "get": operation(resource, "get", &[]),
        "put": operation(resource, "put", &["application/json"]),
        "patch": operation(resource, "patch", &patches),
        "delete": operation(resource, "delete", &[]),
    })
}

fn operation(resource: &Resource, action: &str, bodies: &[&str]) -> Value {
    let reference = json!({"$ref": format!("#/components/schemas/{}", schema_name(resource))});
    let mut names = vec!["pretty"];
    if matches!(action, "post" | "put" | "patch") {
        names.extend(["dryRun", "fieldManager", "fieldValidation"]);
    }
    if action == "patch" {
        names.push("force");
    }
    let parameters: Vec<Value> = names
        .into_iter()
        .map(|name| {
            let kind = if name == "force" { "boolean" } else { "string" };
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    let mut operation = json!({
        "operationId": format!("{action}{}{}", resource.version, resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind(resource),
    });
    if let Some(fields) = operation.as_object_mut().filter(|_| !bodies.is_empty()) {
        let content: Map<String, Value> =
            bodies.iter().map(|body| ((*body).to_owned(), json!({"schema": reference}))).collect();
        fields.insert("requestBody".to_owned(), json!({"content": content, "required": true}));
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_names_documents_that_exist() {
        let index = index();
        let paths = index["paths"].as_object().unwrap();
        assert_eq!(
            paths.keys().collect::<Vec<_>>(),
            ["api/v1", "apis/apps/v1", "apis/coordination.k8s.io/v1", "apis/discovery.k8s.io/v1"]
        );
        assert_eq!(document("nothing", "v1"), None);
    }

    #[test]
    fn writes_take_field_validation_and_no_strategic_merge_is_announced() {
        let document = document("apps", "v1").unwrap();
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        let names: Vec<&str> = path["patch"]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert!(names.contains(&"fieldValidation"));
        assert!(!document.to_string().contains("strategic-merge-patch"));
    }
}
