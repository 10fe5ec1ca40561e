//! The schema of a custom resource in OpenAPI's words, as upstream publishes it.

use serde_json::{Map, Value, json};

use crate::object::{items, text, truth};
use crate::resource::Resource;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines in which version of its group the object is written. \
     Whoever does not know a version refuses its objects.";
const KIND: &str = "Kind is the name of what the object is, in CamelCase. It cannot be changed.";
const METADATA: &str = "Standard object's metadata: its name, its labels, and what the system \
     notes of it.";

/// Name of the definition: the parts of the group in the order of packages.
pub(crate) fn definition_name(resource: &Resource) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), resource.version, resource.kind)
}

/// The definition; `v2` drops what version 2 has no words for.
pub(crate) fn definition(resource: &Resource, schema: Value, v2: bool) -> Value {
    let reference = if v2 { "#/definitions" } else { "#/components/schemas" };
    let reference = json!({"$ref": format!("{reference}/{OBJECT_META}")});
    let open = truth(&schema, "/x-kubernetes-preserve-unknown-fields");
    let plain = v2 && open || !schema.is_object();
    let mut definition = if plain { json!({"type": "object"}) } else { schema };
    if v2 {
        lower(&mut definition);
    } else {
        raise(&mut definition);
    }
    whole_objects(&mut definition, &reference, v2);
    let Some(fields) = definition.as_object_mut() else { return definition };
    if !plain {
        put_meta(fields, &reference, v2);
    }
    let kind = json!([{
        "group": resource.group, "version": resource.version, "kind": resource.kind,
    }]);
    fields.insert("x-kubernetes-group-version-kind".to_owned(), kind);
    if !resource.fields.is_empty() {
        let selectable: Vec<Value> =
            resource.fields.iter().map(|field| json!({"fieldPath": field})).collect();
        fields.insert("x-kubernetes-selectable-fields".to_owned(), Value::Array(selectable));
    }
    definition
}

fn put_meta(fields: &mut Map<String, Value>, reference: &Value, v2: bool) {
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    for (name, description) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let property = json!({"type": "string", "description": description});
        properties.insert(name.to_owned(), property);
    }
    let mut metadata = if v2 { reference.clone() } else { json!({"allOf": [reference]}) };
    if let Some(fields) = metadata.as_object_mut() {
        fields.insert("description".to_owned(), METADATA.into());
        if !v2 {
            fields.insert("default".to_owned(), json!({}));
        }
    }
    properties.insert("metadata".to_owned(), metadata);
}

/// Whole objects within the object have the fields that all have.
fn whole_objects(schema: &mut Value, reference: &Value, v2: bool) {
    let embedded = truth(schema, "/x-kubernetes-embedded-resource");
    if let Some(fields) = schema.as_object_mut().filter(|_| embedded) {
        put_meta(fields, reference, v2);
    }
    each(schema, |below| whole_objects(below, reference, v2));
}

/// What of a schema is walked: its fields and items.
fn each(schema: &mut Value, mut change: impl FnMut(&mut Value)) {
    let Some(fields) = schema.as_object_mut() else { return };
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, below)| change(below));
    for key in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(key).filter(|it| it.is_object()) {
            change(below);
        }
    }
}

/// Version 3 says of either integer or text that it is one of them.
fn raise(schema: &mut Value) {
    let either = truth(schema, "/x-kubernetes-int-or-string");
    if let Some(fields) = schema.as_object_mut().filter(|_| either)
        && !fields.contains_key("anyOf")
        && !fields.contains_key("allOf")
    {
        fields.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    each(schema, raise);
}

/// What version 2, or kubectl where it reads it, cannot cope with is left out.
fn lower(schema: &mut Value) {
    let flag = |schema: &Value, key: &str| truth(schema, &format!("/{key}"));
    let (nullable, open) =
        (flag(schema, "nullable"), flag(schema, "x-kubernetes-preserve-unknown-fields"));
    let may_be_null: Vec<String> = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, below)| flag(below, "nullable"))
        .map(|(name, _)| name.clone())
        .collect();
    let null_values =
        schema.get("additionalProperties").is_some_and(|below| flag(below, "nullable"));
    let required: Vec<Value> = items(schema, "/required")
        .iter()
        .filter(|name| !name.as_str().is_some_and(|name| may_be_null.iter().any(|it| it == name)))
        .cloned()
        .collect();
    let array = text(schema, "/type") == "array";
    let object = text(schema, "/type") == "object";
    let Some(fields) = schema.as_object_mut() else { return };
    for key in ["allOf", "oneOf", "anyOf", "not", "nullable"] {
        fields.remove(key);
    }
    if nullable || open {
        fields.remove("items");
        fields.remove("properties");
    }
    if nullable || (array && !fields.contains_key("items")) || (open && object) {
        fields.remove("type");
    }
    if required.is_empty() || null_values {
        fields.remove("required");
    } else {
        fields.insert("required".to_owned(), Value::Array(required));
    }
    each(schema, lower);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_leaves_out_what_kubectl_cannot_read() {
        let mut schema = json!({"type": "object", "required": ["a", "n"],
            "oneOf": [{"required": ["a"]}], "properties": {
                "a": {"type": "string", "pattern": "^a"},
                "n": {"type": "object", "nullable": true, "properties": {"x": {"type": "string"}}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"y": {"type": "string"}}},
                "list": {"type": "array", "items": {"type": "string", "not": {"enum": ["x"]}}}}});
        lower(&mut schema);
        let expected = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string", "pattern": "^a"},
            "n": {},
            "open": {"x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "string"}}}});
        assert_eq!(schema, expected);
    }
}
