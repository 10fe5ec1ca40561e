//! Deleting: one object, or all that match.

use std::sync::Arc;

use bramble_api::Status;
use bramble_api::patch::bounds::shortened;
use bramble_api::status::FieldError;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::query::{invalid_options, parse_dry_run};
use super::response::{self, Body};
use super::{Call, body, read};
use crate::objects::{DeleteOptions, Propagation};

/// Kind of what says how to delete.
const OPTIONS: &str = "DeleteOptions";
/// Resources whose deletion is answered with the object also when it is gone at once, as upstream.
const ANSWERED: [(&str, &str); 7] = [
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
];

/// Deletes one object.
pub(super) async fn delete(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Status> {
    let bytes = body::read(body).await?;
    let options = delete_options(call, body::parse(call.headers, &bytes)?.as_ref())?;
    let (object, gone) =
        call.api.objects.delete(call.resource, call.namespace, call.name, &options).await?;
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or("");
    let told = !gone || ANSWERED.contains(&(&*call.resource.group, &*call.resource.plural));
    let value = if told { object } else { Status::deleted(call.resource, call.name, uid) };
    Ok(response::json(StatusCode::OK, &value))
}

/// Deletes all objects that match; those that are gone meanwhile are no error.
pub(super) async fn delete_collection(
    call: &Call<'_>,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let bytes = body::read(body).await?;
    let options = delete_options(call, body::parse(call.headers, &bytes)?.as_ref())?;
    let matching = read::list_options(call)?;
    let objects = &call.api.objects;
    let list = objects.list(call.resource, call.namespace, &matching).await?;
    let mut deleted = Vec::new();
    for object in &list.items {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        match objects.delete(call.resource, namespace.unwrap_or(""), name, &options).await {
            Ok((last, _)) => deleted.push(last),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let value = json!({
        "kind": call.resource.list_kind(),
        "apiVersion": call.resource.api_version(),
        "metadata": { "resourceVersion": objects.revision().to_string() },
        "items": deleted,
    });
    Ok(response::json(StatusCode::OK, &value))
}

/// Reads how to delete, from the body first and then from the query.
pub(super) fn delete_options(
    call: &Call<'_>,
    body: Option<&Value>,
) -> Result<DeleteOptions, Status> {
    let query = call.query;
    let field = |name: &str| body.and_then(|body| body.get(name));
    let text = |pointer: &str| {
        let value = body.and_then(|body| body.pointer(pointer)).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    let policy = text("/propagationPolicy").or_else(|| query.propagation_policy.clone());
    let orphan = field("orphanDependents").and_then(Value::as_bool).or(query.orphan_dependents);
    let propagation = match (policy.as_deref(), orphan) {
        (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
        (None, None) => None,
        (Some(other), None) => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::unsupported("propagationPolicy", shortened(other), &known);
            return Err(invalid_options(OPTIONS, error));
        }
        (Some(policy), Some(_)) => {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", shortened(policy), detail);
            return Err(invalid_options(OPTIONS, error));
        }
    };
    let mut dry_run = query.dry_run;
    for value in field("dryRun").and_then(Value::as_array).into_iter().flatten() {
        dry_run |= parse_dry_run(OPTIONS, value.as_str().unwrap_or(""))?;
    }
    Ok(DeleteOptions {
        grace_period_s: field("gracePeriodSeconds")
            .and_then(Value::as_i64)
            .or(query.grace_period_s),
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
        propagation,
        dry_run,
        user: Some(Arc::clone(call.user)),
    })
}
