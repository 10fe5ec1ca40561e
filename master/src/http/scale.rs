//! The `scale` subresource: how many replicas there are to be, in one form for all kinds.

use bramble_api::selector::Selector;
use bramble_api::status::FieldError;
use bramble_api::{Resource, Status, patch};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::response::{self, Body};
use super::{Call, body, write};
use crate::objects::{Part, Patch};

/// Reads or changes the scale of an object.
pub(super) async fn handle(
    call: &Call<'_>,
    method: &Method,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let objects = &call.api.objects;
    let wish = match method.as_str() {
        "GET" => {
            let object = objects.get(call.resource, call.namespace, call.name).await?;
            return Ok(response::json(StatusCode::OK, &scale_of(call.resource, &object)));
        }
        "PUT" => {
            let bytes = body::read(body).await?;
            let whole = body::parse(call.headers, &bytes)?
                .ok_or_else(|| Status::bad_request("the request has no body"))?;
            Wish::Whole(whole)
        }
        "PATCH" => Wish::Patch(write::read_patch(call.headers, call.query, body).await?.0),
        _ => return Err(Status::method_not_supported(call.resource, method.as_str())),
    };
    // Decided on the state that is replaced, so that a resource version means what it says.
    let change = |object: &mut Value| {
        let present = scale_of(call.resource, object);
        let wanted = match &wish {
            Wish::Whole(scale) => scale.clone(),
            Wish::Patch(patch) => patched(&present, patch)?,
        };
        let replicas = wanted_replicas(call, &present, &wanted)?;
        set_at(object, &call.resource.scale().replicas, Value::from(replicas));
        Ok(())
    };
    let options = write::options(call)?;
    let changed = objects
        .modify(call.resource, call.namespace, call.name, Part::Main, &options, &change)
        .await?;
    Ok(response::json(StatusCode::OK, &scale_of(call.resource, &changed)))
}

/// What a client wants of a scale.
enum Wish {
    Whole(Value),
    Patch(Patch),
}

/// Number of replicas that a scale asks for.
fn wanted_replicas(call: &Call<'_>, present: &Value, wanted: &Value) -> Result<i64, Status> {
    let version = |scale: &Value| scale.pointer("/metadata/resourceVersion").cloned();
    if version(wanted).is_some_and(|asked| asked != "" && Some(asked) != version(present)) {
        return Err(Status::conflict_modified(call.resource, call.name));
    }
    let replicas = wanted.pointer("/spec/replicas").map_or(Some(0), Value::as_i64);
    let replicas = replicas.filter(|count| i32::try_from(*count).is_ok());
    let replicas = replicas.ok_or_else(|| {
        Status::bad_request("spec.replicas must be a number that fits into 32 bits")
    })?;
    if replicas < 0 {
        let detail = "must be greater than or equal to 0";
        let error = FieldError::invalid("spec.replicas", replicas, detail);
        return Err(Status::invalid_kind("autoscaling", "Scale", call.name, &[error]));
    }
    Ok(replicas)
}

fn patched(scale: &Value, patch: &Patch) -> Result<Value, Status> {
    match patch {
        Patch::Json(operations) => patch::json::apply(scale, operations),
        // A scale has no lists: all of these mean the same.
        Patch::Merge(fields) | Patch::Strategic(fields) | Patch::Apply { applied: fields, .. } => {
            let mut scale = scale.clone();
            patch::merge::apply(&mut scale, fields);
            Ok(scale)
        }
    }
}

/// Sets a value, and makes the objects on the way to it.
fn set_at(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(fields) = place.as_object_mut() else { return };
        place = fields.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

fn scale_of(resource: &Resource, object: &Value) -> Value {
    let places = resource.scale();
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get("metadata").and_then(|meta| meta.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let selector = places.selector.and_then(|pointer| object.pointer(&pointer));
    let selector = match selector.and_then(Value::as_str) {
        Some(text) if places.written => text.to_owned(),
        Some(_) | None => selector_text(selector),
    };
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": count(&places.replicas) },
        "status": {
            "replicas": count(&places.present),
            "selector": selector,
        },
    })
}

/// Writes a selector in the form that list requests take.
fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector.and_then(Value::as_object) else {
        return String::new();
    };
    let structured =
        selector.contains_key("matchLabels") || selector.contains_key("matchExpressions");
    let labels = match selector.get("matchLabels").and_then(Value::as_object) {
        Some(labels) => Some(labels),
        // A replication controller's selector is the map itself.
        None => (!structured).then_some(selector),
    };
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut terms: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let field = |name: &str| expression.get(name).map(text).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<String> = values.into_iter().flatten().map(text).collect();
        let (key, values) = (field("key"), values.join(","));
        terms.push(match field("operator").as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    let text = terms.join(",");
    debug_assert!(Selector::parse(&text).is_ok(), "a selector that we wrote cannot be read");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_lists_take_them() {
        let check = |selector, expected: &str| {
            assert_eq!(super::selector_text(Some(&selector)), expected);
        };
        check(json!({"matchLabels": {"a": "b", "c": "d"}}), "a=b,c=d");
        check(json!({"a": "b"}), "a=b");
        check(
            json!({"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["x", "y"]},
                {"key": "b", "operator": "Exists"},
                {"key": "c", "operator": "DoesNotExist"},
            ]}),
            "a in (x,y),b,!c",
        );
        assert_eq!(super::selector_text(None), "");
    }

    #[test]
    fn replicas_are_set_where_they_belong() {
        let mut object = json!({"spec": {"a": 1}});
        super::set_at(&mut object, "/spec/deep/replicas", json!(3));
        assert_eq!(object, json!({"spec": {"a": 1, "deep": {"replicas": 3}}}));
        super::set_at(&mut object, "/spec/a/b", json!(3));
        assert_eq!(object["spec"]["a"], json!(1), "what is no object is left alone");
    }
}
