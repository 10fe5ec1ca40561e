//! A definition goes the whole way: what it says is served, checked, printed and published.

use serde_json::json;

use super::*;
use crate::decode::{self, FieldValidation};
use crate::patch::apply::{Request, apply};
use crate::registry::{Registry, built_in};
use crate::{defaults, discovery, openapi, strategy, table, validate};

fn defined(versions: Value) -> Value {
    let names = json!({"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList",
        "shortNames": ["fo"], "categories": ["all"]});
    let mut definition = json!({"apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com", "generation": 1},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
            "conversion": {"strategy": "None"}, "versions": versions},
        "status": {"acceptedNames": {"kind": "", "plural": ""}, "storedVersions": ["v1"]}});
    let now = "2026-01-01T00:00:00Z";
    definition["status"] = lifecycle::status(&definition, &[], built_in(), now).unwrap();
    definition
}

fn version(name: &str, storage: bool) -> Value {
    json!({"name": name, "served": true, "storage": storage,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.colour"}],
        "additionalPrinterColumns": [
            {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
        "schema": {"openAPIV3Schema": {"type": "object", "description": "Foo is for tests.",
            "properties": {
                "spec": {"type": "object", "required": ["colour"], "properties": {
                    "colour": {"type": "string", "enum": ["red", "blue"]},
                    "replicas": {"type": "integer", "default": 1, "minimum": 0},
                    "port": {"x-kubernetes-int-or-string": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "parts": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "size": {"type": "integer"}}}}}},
                "status": {"type": "object", "properties": {
                    "replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}}})
}

fn foo(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Foo",
        "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
}

fn v1() -> Arc<Resource> {
    resources(&defined(json!([version("v1", true)]))).remove(0)
}

#[test]
fn versions_are_served_the_kept_one_first() {
    let mut unserved = version("v3", false);
    unserved["served"] = json!(false);
    let made = resources(&defined(json!([version("v2", false), version("v1", true), unserved])));
    let names: Vec<&str> = made.iter().map(|resource| &*resource.version).collect();
    assert_eq!(names, ["v1", "v2"]);
    let registry = Registry::with(made);
    let kept = registry.kept("example.com", "foos").unwrap();
    assert_eq!((&*kept.version, kept.converted()), ("v1", false));
    assert_eq!(kept.key("n", "a"), "/example.com/foos/n/a");
    let second = registry.find("example.com", "v2", "foos").unwrap();
    assert_eq!((second.prefix(), second.converted()), (kept.prefix(), true));
    let mut object = foo(json!({"colour": "red"}));
    second.read(&mut object);
    assert_eq!(object["apiVersion"], "example.com/v2");
    assert_eq!(object["spec"]["replicas"], 1, "what is read has its defaults");
    second.write(&mut object);
    assert_eq!(object["apiVersion"], "example.com/v1");

    let list = discovery::api_resources(&registry, "example.com", "v1").unwrap();
    let rows: Vec<_> =
        list["resources"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(rows, ["foos", "foos/status", "foos/scale"]);
    assert_eq!(list["resources"][1]["kind"], "Foo");
    assert_eq!(list["resources"][2]["group"], "autoscaling");
    let group = discovery::api_group(&registry, "example.com").unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let mut ending = defined(json!([version("v1", true)]));
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(!resources(&ending)[0].verbs.contains(&"create"));
}

#[test]
fn objects_are_pruned_filled_in_and_judged() {
    let foos = v1();
    let sent = foo(json!({"colour": "red", "port": "http", "free": {"x": [1]}, "more": 1}));
    let refused = decode::check(&foos, sent.clone(), FieldValidation::Strict).unwrap_err();
    assert!(refused.message.ends_with("unknown field \"spec.more\""), "{}", refused.message);
    let decoded = decode::check(&foos, sent, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings, ["unknown field \"spec.more\""]);
    let mut object = decoded.object;
    object["status"] = json!({"replicas": 5});
    strategy::prepare_create(&foos, &mut object);
    defaults::apply(&foos, &mut object);
    assert_eq!(object.get("status"), None, "who creates it says nothing of its status");
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(
        object["spec"],
        json!({"colour": "red", "port": "http", "free": {"x": [1]}, "replicas": 1})
    );
    assert!(validate::create(&foos, &object).is_empty());
    let mut bad = object.clone();
    bad["spec"] = json!({"colour": "green", "replicas": -1});
    let wrong: Vec<String> =
        validate::create(&foos, &bad).iter().map(ToString::to_string).collect();
    assert_eq!(
        wrong,
        [
            "spec.colour: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
            "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or \
             equal to 0",
        ]
    );
    let mut stranger = object.clone();
    stranger["metadata"]["labels"] = json!({"a": 1});
    assert_eq!(decode::check(&foos, stranger, FieldValidation::Warn).unwrap_err().code, 400);
}

#[test]
fn without_a_status_of_its_own_all_of_an_object_counts() {
    let mut plain = version("v1", true);
    plain["subresources"] = json!({});
    let foos = resources(&defined(json!([plain]))).remove(0);
    let mut old = foo(json!({"colour": "red"}));
    old["metadata"]["generation"] = json!(3);
    old["status"] = json!({"replicas": 1});
    let mut new = old.clone();
    new["status"]["replicas"] = json!(2);
    strategy::prepare_update(&foos, &old, &mut new, None);
    assert_eq!(
        (&new["metadata"]["generation"], &new["status"]["replicas"]),
        (&json!(4), &json!(2))
    );
    let mut new = old.clone();
    new["status"]["replicas"] = json!(2);
    strategy::prepare_update(&v1(), &old, &mut new, None);
    assert_eq!(new, old, "with one, it is left alone");
}

#[test]
fn apply_merges_by_the_keys_of_the_schema() {
    let foos = v1();
    let one = foo(json!({"colour": "red", "parts": [{"name": "a", "size": 1}]}));
    let request = |applied, manager| Request {
        applied,
        manager,
        force: false,
        subresource: None,
        now: "2026-01-01T00:00:00Z",
    };
    let first = apply(&foos, None, &request(&one, "one")).unwrap();
    let two = foo(json!({"parts": [{"name": "b", "size": 2}], "free": {"k": {"l": 1}}}));
    let both = apply(&foos, Some(&first), &request(&two, "two")).unwrap();
    let parts = json!([{"name": "a", "size": 1}, {"name": "b", "size": 2}]);
    assert_eq!(both["spec"]["parts"], parts);
    let owned = &both["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"];
    assert_eq!(owned["f:free"], json!({"f:k": {"f:l": {}}}));
    let clash = foo(json!({"parts": [{"name": "a", "size": 3}]}));
    let refused = apply(&foos, Some(&both), &request(&clash, "two")).unwrap_err();
    assert_eq!(refused.code, 409, "{}", refused.message);
    let unknown = foo(json!({"nothing": 1}));
    let refused = apply(&foos, Some(&both), &request(&unknown, "two")).unwrap_err();
    assert!(refused.message.contains(".spec.nothing: field not declared in schema"));
}

#[test]
fn columns_are_those_of_the_definition() {
    let mut object = foo(json!({"colour": "blue"}));
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let now = crate::timestamp::parse("2026-01-01T00:00:05Z").unwrap();
    let include = table::IncludeObject::None;
    let table = table::table(&v1(), &[object], &json!({}), include, true, now);
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].clone())
        .collect();
    assert_eq!(names, ["Name", "Colour", "Age"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "blue", "5s"]));
}

#[test]
fn schemas_are_published_in_both_versions_and_go_with_their_definition() {
    let registry = Registry::with(resources(&defined(json!([version("v1", true)]))));
    let v2: Value = serde_json::from_slice(&openapi::v2_json(&registry)).unwrap();
    let found = &v2["definitions"]["com.example.v1.Foo"];
    assert_eq!(found["description"], "Foo is for tests.");
    assert_eq!(found["properties"]["spec"]["required"], json!(["colour"]));
    assert_eq!(found["x-kubernetes-group-version-kind"][0]["kind"], "Foo");
    let meta = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(found["properties"]["metadata"]["$ref"], meta);
    assert!(v2["definitions"]["com.example.v1.FooList"].is_object());
    let path = &v2["paths"]["/apis/example.com/v1/namespaces/{namespace}/foos/{name}"];
    let body = path["put"]["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(body["schema"]["$ref"], "#/definitions/com.example.v1.Foo");
    assert!(openapi::v2_protobuf(&registry).len() > openapi::v2_protobuf(built_in()).len());

    let v3 = openapi::v3_json(&registry, "example.com", "v1").unwrap();
    let v3: Value = serde_json::from_slice(&v3).unwrap();
    let found = &v3["components"]["schemas"]["com.example.v1.Foo"]["properties"];
    assert_eq!(found["spec"]["properties"]["port"]["anyOf"][1]["type"], "string");
    assert!(found["metadata"]["allOf"][0]["$ref"].as_str().unwrap().ends_with("ObjectMeta"));
    assert_eq!(openapi::v3_json(built_in(), "example.com", "v1"), None);
}
