//! Checks that documents are complete, agree with each other, and say what the tables say.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::*;
use crate::protobuf::wire::{Reader, Scalar};
use crate::registry::{self, built_in};
use crate::resource::Resource;

/// Every version of every group.
fn versions() -> BTreeSet<(&'static str, &'static str)> {
    registry::all().iter().map(|resource| (&*resource.group, &*resource.version)).collect()
}

fn v3(group: &str) -> Value {
    v3_of(group, "v1")
}

fn v3_of(group: &str, version: &str) -> Value {
    serde_json::from_slice(&v3_json(built_in(), group, version).unwrap()).unwrap()
}

fn v2() -> Value {
    serde_json::from_slice(&v2_json(built_in())).unwrap()
}

/// Properties of a definition without what they are for.
fn properties(document: &Value, definition: &str) -> Value {
    let mut properties = document["components"]["schemas"][definition]["properties"].clone();
    for property in properties.as_object_mut().unwrap().values_mut() {
        let description = property.as_object_mut().unwrap().remove("description");
        assert!(description.is_none_or(|text| !text.as_str().unwrap().is_empty()));
        // With a description, a reference is the only part of a composition.
        if let Some(parts) = property["allOf"].as_array() {
            assert_eq!(parts.len(), 1);
            *property = parts[0].clone();
        }
    }
    properties
}

#[test]
fn the_index_names_documents_that_exist() {
    let index: Value = serde_json::from_slice(&v3_index(built_in())).unwrap();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.len(), versions().len());
    for path in ["api/v1", "apis/apps/v1", "apis/autoscaling/v2", "apis/discovery.k8s.io/v1"] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(v3_json(built_in(), "nothing", "v1"), None);
}

#[test]
fn writes_take_field_validation_and_no_strategic_merge_is_announced() {
    for document in [v2(), v3("apps")] {
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

#[test]
fn every_kind_has_a_definition_that_names_it() {
    let v2 = v2();
    for resource in registry::all() {
        let in_v3 = v3_of(&resource.group, &resource.version)["components"]["schemas"].take();
        for definitions in [&v2["definitions"], &in_v3] {
            let kind = json!([{
                "group": resource.group, "version": resource.version, "kind": resource.kind,
            }]);
            let definition = definitions
                .as_object()
                .unwrap()
                .values()
                .find(|definition| definition["x-kubernetes-group-version-kind"] == kind)
                .unwrap_or_else(|| panic!("no definition of {}", resource.kind));
            assert_eq!(definition["properties"]["kind"], json!({"type": "string"}));
        }
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(parts) => {
            for (key, part) in parts {
                match part.as_str().filter(|_| key == "$ref") {
                    Some(reference) => {
                        found.insert(reference);
                    }
                    None => references(part, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_to_a_definition_and_every_definition_is_used() {
    let mut documents = vec![(v2(), "#/definitions/", "/definitions")];
    for (group, version) in versions() {
        documents.push((v3_of(group, version), "#/components/schemas/", "/components/schemas"));
    }
    for (document, prefix, place) in documents {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let found: BTreeSet<&str> =
            found.iter().map(|reference| reference.strip_prefix(prefix).unwrap()).collect();
        let definitions = document.pointer(place).unwrap().as_object().unwrap();
        let defined: BTreeSet<&str> = definitions.keys().map(String::as_str).collect();
        assert_eq!(found, defined);
    }
}

#[test]
fn two_messages_never_share_a_name() {
    let mut seen = BTreeSet::new();
    for number in 0.. {
        let Some(message) = crate::schema::built_in().message(number) else { break };
        assert!(seen.insert(definitions::name(message)), "{message:?} is there twice");
    }
    assert!(seen.len() > 100);
}

#[test]
fn what_fields_are_for_is_told() {
    let core = v3("");
    let pod = &core["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
    assert!(pod["description"].as_str().unwrap().starts_with("Pod is a collection"));
    let spec = &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
    let node_name = spec["properties"]["nodeName"]["description"].as_str().unwrap();
    assert!(node_name.starts_with("NodeName indicates"));
    assert_eq!(spec["required"], json!(["containers"]));
    assert_eq!(spec["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(spec["properties"]["volumes"]["x-kubernetes-patch-merge-key"], "name");
}

#[test]
fn fields_have_upstreams_types() {
    let core = v3("");
    let spec = properties(&core, "io.k8s.api.core.v1.PodSpec");
    let container = json!({"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"});
    assert_eq!(spec["containers"]["items"], container);
    assert_eq!(spec["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(
        spec["nodeSelector"],
        json!({
            "type": "object",
            "additionalProperties": {"type": "string"},
            "x-kubernetes-map-type": "atomic",
        })
    );
    let container = properties(&core, "io.k8s.api.core.v1.Container");
    assert_eq!(container["image"], json!({"type": "string"}));
    let resources = properties(&core, "io.k8s.api.core.v1.ResourceRequirements");
    assert_eq!(
        resources["limits"]["additionalProperties"],
        json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"})
    );
    // Fields of an embedded message are the outer one's.
    let volume = properties(&core, "io.k8s.api.core.v1.Volume");
    assert!(volume["configMap"].is_object() && volume["name"].is_object());
    assert_eq!(volume.get(""), None);
    let deployment = properties(&v3("apps"), "io.k8s.api.apps.v1.Deployment").clone();
    assert_eq!(
        deployment["metadata"],
        json!({"$ref":
            "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"})
    );
}

/// Fields of a protobuf message: number and content, numbers as varints.
fn fields(bytes: &[u8]) -> Vec<(u32, Scalar<'_>)> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(|| reader.field().unwrap()).collect()
}

fn content(scalar: Scalar<'_>) -> &[u8] {
    let Scalar::Bytes(bytes) = scalar else { panic!("{scalar:?} has no content") };
    bytes
}

fn text(scalar: Scalar<'_>) -> String {
    String::from_utf8(content(scalar).to_vec()).unwrap()
}

/// Content of the first field with a number.
fn first(bytes: &[u8], number: u32) -> &[u8] {
    let found = fields(bytes).into_iter().find(|(found, _)| *found == number);
    content(found.unwrap_or_else(|| panic!("no field {number}")).1)
}

/// Entries of a map: name with number 1, value with number 2.
fn entries(bytes: &[u8], number: u32) -> Vec<(String, &[u8])> {
    let all = fields(bytes).into_iter().filter(|(found, _)| *found == number);
    all.map(|(_, entry)| {
        let entry = content(entry);
        (String::from_utf8(first(entry, 1).to_vec()).unwrap(), first(entry, 2))
    })
    .collect()
}

/// Gnostic's `Schema` as JSON, by upstream's numbers.
fn schema(bytes: &[u8]) -> Value {
    let mut parts = Map::new();
    for (name, any) in entries(bytes, 31) {
        parts.insert(name, serde_json::from_slice(first(any, 2)).unwrap());
    }
    let mut required = Vec::new();
    for (number, scalar) in fields(bytes) {
        let (key, value) = match number {
            1 => ("$ref", text(scalar).into()),
            2 => ("format", text(scalar).into()),
            4 => ("description", text(scalar).into()),
            19 => {
                required.push(Value::from(text(scalar)));
                continue;
            }
            21 => ("additionalProperties", schema(first(content(scalar), 1))),
            22 => ("type", text(Scalar::Bytes(first(content(scalar), 1))).into()),
            23 => ("items", schema(first(content(scalar), 1))),
            25 => ("properties", named_schemas(content(scalar))),
            31 => continue,
            other => panic!("unexpected field {other}"),
        };
        parts.insert(key.to_owned(), value);
    }
    if !required.is_empty() {
        parts.insert("required".to_owned(), required.into());
    }
    Value::Object(parts)
}

fn named_schemas(bytes: &[u8]) -> Value {
    let entries = entries(bytes, 1).into_iter();
    Value::Object(entries.map(|(name, bytes)| (name, schema(bytes))).collect())
}

#[test]
fn protobuf_has_the_definitions_of_json() {
    let document = v2_protobuf(built_in());
    assert_eq!(first(&document, 1), b"2.0");
    assert_eq!(first(first(&document, 2), 1), b"Kubernetes");
    let found = named_schemas(first(&document, 9));
    assert_eq!(found, v2()["definitions"]);
}

#[test]
fn protobuf_has_the_paths_of_json() {
    let document = v2_protobuf(built_in());
    let found = entries(first(&document, 8), 2);
    let expected = v2();
    let expected = expected["paths"].as_object().unwrap();
    assert_eq!(found.len(), expected.len());
    let (_, item) = found
        .iter()
        .find(|(name, _)| name == "/api/v1/namespaces/{namespace}/pods/{name}")
        .unwrap();
    assert!(expected["/api/v1/namespaces/{namespace}/pods/{name}"].is_object());
    let patch = first(item, 8);
    assert_eq!(first(patch, 5), b"patchv1Pod");
    assert_eq!(first(patch, 7), b"application/apply-patch+yaml");
    let (name, any) = &entries(patch, 13)[1];
    assert_eq!(name, "x-kubernetes-group-version-kind");
    let kind: Value = serde_json::from_slice(first(any, 2)).unwrap();
    assert_eq!(kind, json!({"group": "", "version": "v1", "kind": "Pod"}));
    // Query parameters, then the body.
    let parameters: Vec<&[u8]> = fields(patch)
        .into_iter()
        .filter(|(number, _)| *number == 8)
        .map(|(_, scalar)| first(content(scalar), 1))
        .collect();
    assert_eq!(parameters.len(), 6);
    assert_eq!(first(first(first(parameters[3], 2), 3), 4), b"fieldValidation");
    let body = schema(first(first(parameters[5], 1), 5));
    assert_eq!(body, json!({"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}));
    // Parameters of the path itself.
    let in_path = first(first(first(first(item, 9), 1), 2), 4);
    assert_eq!(first(in_path, 4), b"name");
    let response = first(entries(first(patch, 9), 1)[0].1, 1);
    assert_eq!(first(response, 1), b"OK");
}

#[test]
fn documents_stay_small() {
    let of_all: usize = versions()
        .iter()
        .map(|(group, version)| v3_json(built_in(), group, version).unwrap().len())
        .sum();
    // They are built for each request: 3 MiB is what such a request may take; upstream's document
    // of version 2 has 2.2 MB.
    for size in [v2_json(built_in()).len(), v2_protobuf(built_in()).len(), of_all] {
        assert!(size < 3 << 20, "{size} bytes");
    }
    // A question is asked of a collection; of all else there is also the single object.
    let paths = |kind: &Arc<Resource>| if kind.question.is_some() { 1 } else { 2 };
    let expected: usize = registry::all().iter().map(paths).sum();
    assert_eq!(expected, v2()["paths"].as_object().unwrap().len());
}
