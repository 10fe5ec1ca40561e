//! Parts of objects that have a path of their own.

use bramble_api::{Handler, Status};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::response::{self, Body};
use super::{Call, account_token, body, logs, read, remove, scale, write};
use crate::objects::Part;

/// Answers a request for a part of an object.
pub(super) async fn handle(
    call: &Call<'_>,
    part: &str,
    method: &Method,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let Some(subresource) = call.resource.subresource(part) else {
        return Err(if part == "status" {
            Status::method_not_supported(call.resource, method.as_str())
        } else {
            Status::not_found_path()
        });
    };
    match (subresource.handler, method.as_str()) {
        (Handler::Status, "GET") => read::get(call).await,
        (Handler::Status, "PUT") => write::update(call, Part::Status, body).await,
        (Handler::Status, "PATCH") => write::patch(call, Part::Status, body).await,
        (Handler::Resize | Handler::EphemeralContainers, "GET") => read::get(call).await,
        (Handler::Resize, "PUT") => write::update(call, Part::Resize, body).await,
        (Handler::Resize, "PATCH") => write::patch(call, Part::Resize, body).await,
        (Handler::EphemeralContainers, "PUT") => {
            write::update(call, Part::EphemeralContainers, body).await
        }
        (Handler::EphemeralContainers, "PATCH") => {
            write::patch(call, Part::EphemeralContainers, body).await
        }
        (Handler::Scale, _) => scale::handle(call, method, body).await,
        (Handler::Log, "GET") => logs::handle(call).await,
        (Handler::Binding, "POST") => bind(call, body).await,
        (Handler::Eviction, "POST") => evict(call, body).await,
        (Handler::Token, "POST") => account_token::create(call, body).await,
        (Handler::Finalize, "PUT") => finalize(call, body).await,
        _ => Err(Status::method_not_supported(call.resource, method.as_str())),
    }
}

async fn bind(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Status> {
    let binding = required(call, body).await?;
    let target = |field: &str| {
        binding.get("target").and_then(|target| target.get(field)).and_then(Value::as_str)
    };
    if !matches!(target("kind"), None | Some("" | "Node")) {
        return Err(Status::bad_request("target.kind must be \"Node\""));
    }
    let node = target("name").filter(|name| !name.is_empty());
    let node = node.ok_or_else(|| Status::bad_request("target.name is required"))?;
    let uid = binding.pointer("/metadata/uid").and_then(Value::as_str).filter(|u| !u.is_empty());
    let options = write::options(call)?;
    call.api.objects.bind(call.namespace, call.name, uid, node, &options).await?;
    Ok(response::json(StatusCode::CREATED, &Status::success()))
}

async fn evict(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Status> {
    let eviction = required(call, body).await?;
    let name = eviction.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(call.name);
    if name != call.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = remove::delete_options(call, eviction.get("deleteOptions"))?;
    call.api.objects.evict(call.namespace, call.name, &options).await?;
    Ok(response::json(StatusCode::CREATED, &Status::success()))
}

async fn finalize(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Status> {
    let wanted = required(call, body).await?;
    let finalizers = wanted.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
    let options = write::options(call)?;
    let object = call.api.objects.finalize_namespace(call.name, &finalizers, &options).await?;
    Ok(response::json(StatusCode::OK, &object))
}

async fn required(call: &Call<'_>, body: Incoming) -> Result<Value, Status> {
    let bytes = body::read(body).await?;
    body::parse(call.headers, &bytes)?.ok_or_else(|| Status::bad_request("the request has no body"))
}
